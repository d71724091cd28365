/* decode_task.h: making one matrix of a sparse-bitmask checkpoint dense, on the way to a compute
 * worker and back.
 *
 *   decode  task                      fd: files of values, mask, offsets (compute/bitmask.h)
 *   reply   a record (prune_task.h)   fd: the matrix, dense
 */
#ifndef SPECTRALD_DECODE_TASK_H
#define SPECTRALD_DECODE_TASK_H

#include "daemon/wire.h"

enum decode_part { DECODE_VALUES = 0, DECODE_MASK, DECODE_OFFSETS, DECODE_PARTS };

struct decode_task {
    uint64_t rows, cols, element;  /* bytes of one */
    uint64_t n_values;             /* at most rows * cols */
    uint64_t offset[DECODE_PARTS]; /* of the first byte, in its file */
};

/* Bytes of the result. */
uint64_t decode_task_size(const struct decode_task *t);
double decode_task_bytes(const struct decode_task *t); /* memory, for the scheduler */

void decode_task_put(struct buf *b, const struct decode_task *t);
/* ERR_INTERNAL when it cannot be done. */
int decode_task_get(struct reader *r, struct decode_task *out, struct err *err);

struct wire_reply; /* daemon/worker.h */

/* The worker's side. ERR_FORMAT when mask, offsets and values do not agree. */
int role_decode(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                struct err *err);

#endif
