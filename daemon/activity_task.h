/* activity_task.h: how active the weights of one matrix are, on the way to a compute worker and
 * back.
 *
 *   activity  matrix, u8 transposed, u32 dtype, u64 offset, u64 count, f64 limit
 *                                                   fd: model file, statistics file
 *   reply     f64 sum, u64 above, u64 n_nonfinite
 *
 * The matrix is the stored one, transposed where its rows are inputs; the range has the sums of
 * squares of its inputs.
 */
#ifndef SPECTRALD_ACTIVITY_TASK_H
#define SPECTRALD_ACTIVITY_TASK_H

#include "daemon/wire.h"
#include "models/dtype.h"

struct activity_task {
    struct wire_matrix m; /* one slice, row-major */
    bool transposed;
    enum dtype dtype; /* of the statistic */
    uint64_t offset, count;
    double limit; /* scores above it are counted */
};

struct activity {
    double sum; /* of the scores */
    uint64_t above;
};

void activity_task_put(struct buf *b, const struct activity_task *t);

/* From a worker: hostile. ERR_INVALID: weights or statistics are not finite. ERR_CRASHED. */
int activity_parse(const struct activity_task *t, const void *bytes, size_t len,
                   struct activity *out, struct err *err);

struct wire_reply; /* daemon/worker.h */

/* The worker's side. */
int role_activity(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                  struct err *err);

#endif
