/* squares_task.h: sums of squares of one matrix's rows or columns, on the way to a compute worker
 * and back.
 *
 *   squares   matrix, u8 by_columns                  fd: model file
 *   reply     u64 n_nonfinite                        fd: f64 sums, one for each row or column
 *
 * The matrix is the stored one, row-major.
 */
#ifndef SPECTRALD_SQUARES_TASK_H
#define SPECTRALD_SQUARES_TASK_H

#include "daemon/wire.h"

#define SQUARES_MAX (1u << 24) /* sums */

struct squares_task {
    struct wire_matrix m; /* one slice */
    bool by_columns;
};

/* How many sums there are. */
uint64_t squares_count(const struct squares_task *t);

void squares_task_put(struct buf *b, const struct squares_task *t);

/* From a worker: hostile. The sums of a received memory file, to be freed. ERR_INVALID: weights are
 * not finite. ERR_CRASHED. */
int squares_parse(const struct squares_task *t, const void *bytes, size_t len, int fd, double **out,
                  struct err *err);

struct wire_reply; /* daemon/worker.h */

/* The worker's side. */
int role_squares(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                 struct err *err);

#endif
