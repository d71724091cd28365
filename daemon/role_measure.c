/* role_measure.c: a compute worker measures a layer from its spectrum. */
#include "daemon/measure_task.h"

#include "common/fdio.h"
#include "daemon/records.h"
#include "daemon/worker.h"

#include <stdlib.h>
#include <sys/mman.h>

static int measure_all(const struct measure_task *t, const struct spectrum_record *rec,
                       struct buf *out, struct err *err)
{
    struct layer_spectrum s = {.n_slices = rec->n_slices,
                               .n_per_slice = rec->n_per_slice,
                               .n_long = rec->n_long,
                               .scale = t->scale,
                               .lambda = rec->lambda};
    size_t n = (size_t)(rec->n_slices * rec->n_per_slice);
    AUTO(freep) double *pool = malloc(n * sizeof *pool);
    struct measure_input in = {.lambda = pool,
                               .n = n,
                               .n_long = rec->n_long,
                               .n_short = rec->n_per_slice,
                               .fit = &t->fit,
                               .opt = t->opt};
    int r = 0;

    if (!pool)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", n);
    measure_pool(&s, pool);
    for (unsigned m = 0; r == 0 && m < MEASURE_COUNT; m++) {
        struct measure_result v;

        if (!(t->wanted & 1u << m))
            continue;
        r = measure_spectrum((enum measure)m, &in, &v, err);
        if (r == 0)
            measure_result_put(out, (enum measure)m, &v);
    }
    return r;
}

int role_measure(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                 struct err *err)
{
    struct spectrum_record rec;
    struct measure_task t;
    const void *map = NULL;
    size_t len = 0;
    int rc = measure_task_get(r, &t, err);

    if (rc == 0 && m->n_fds != 1)
        rc = err_set(err, ERR_INTERNAL, "a compute worker got a task it cannot do");
    if (rc == 0)
        rc = memfd_sealed_size(m->fd[0], &len, err);
    if (rc == 0)
        rc = memfd_map_sealed(m->fd[0], len, &map, err);
    if (rc < 0)
        return rc;
    rc = spectrum_record_parse(map, len, &rec, err);
    if (rc == 0 && rec.n_nonfinite)
        rc = err_set(err, ERR_INTERNAL, "a compute worker got no spectrum to measure");
    if (rc == 0)
        rc = measure_all(&t, &rec, &reply->body, err);
    (void)munmap((void *)(uintptr_t)map, len);
    return rc;
}
