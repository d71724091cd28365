/* fuzz_records.c: a spectrum, a row of values, what came of pruning, and a message, as a worker
 * that went bad might send them. */
#include <stdlib.h>
#include <string.h>

#include "daemon/activity_task.h"
#include "daemon/distance_task.h"
#include "daemon/prune_task.h"
#include "daemon/records.h"
#include "daemon/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spectrum_record rec;
    struct layer_values values;
    struct wire_matrix m;
    struct reader r;
    struct prune_task prune = {.m = {.rows = 8, .cols = 8}};
    struct prune_outcome outcome;
    struct activity_task activity = {.m = {.rows = 8, .cols = 8}};
    struct activity found;
    struct distance_task distance;
    struct distance_result far;
    uint8_t *aligned = malloc(size + 1); /* what mmap gives is aligned as well */

    if (!aligned)
        return 0;
    memcpy(aligned, data, size);
    if (spectrum_record_parse(aligned, size, &rec, NULL) == 0)
        for (uint64_t i = 0; i < rec.n_slices * rec.n_per_slice && rec.n_nonfinite == 0; i++)
            ASSERT(rec.lambda[i] >= 0);
    (void)values_record_parse(aligned, size, &values, NULL);
    reader_init(&r, aligned, size);
    (void)wire_get_matrix(&r, &m, NULL);
    (void)prune_outcome_parse(&prune, aligned, size, &outcome, NULL);
    (void)activity_parse(&activity, aligned, size, &found, NULL);
    reader_init(&r, aligned, size);
    if (prune_task_get(&r, &prune, NULL) == 0)
        ASSERT(prune.m.rows > 0 && prune_task_flops(&prune) > 0);
    reader_init(&r, aligned, size);
    if (distance_task_get(&r, &distance, NULL) == 0)
        ASSERT(distance_task_flops(&distance) > 0);
    reader_init(&r, aligned, size);
    if (distance_result_get(&r, &far))
        ASSERT(far.raw >= 0 && far.norm_a >= 0 && far.norm_b >= 0);
    free(aligned);
    return 0;
}
