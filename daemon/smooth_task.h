/* smooth_task.h: smoothing one matrix, or the slices of one convolution, on the way to a compute
 * worker and back.
 *
 *   smooth  task                              fd: model file
 *   reply   a result record (prune_task.h)    fd: the tensor's bytes, smoothed; where the outcome
 *                                                 has a reason, as they were
 */
#ifndef SPECTRALD_SMOOTH_TASK_H
#define SPECTRALD_SMOOTH_TASK_H

#include "compute/smooth.h"
#include "daemon/wire.h"

/* The short side of a matrix that is smoothed: eigenvectors take 8 to 16 bytes times its square. */
#define SMOOTH_N_MAX 16384

struct smooth_task {
    struct wire_matrix m;
    struct smooth_options opt; /* the seed is the worker's: the beginning of the bytes' digest */
};

struct smooth_outcome {
    enum smooth_reason reason; /* then nothing but rank counts */
    enum truncation how;
    uint64_t k;    /* of all slices */
    uint64_t kept; /* singular values, of all slices; some of them may be zero */
    uint64_t rank; /* before */
    double norm;   /* |W|_F */
    double stated; /* |W - W_k|_F / |W|_F, from the eigenvalues */
    double change; /* the same with W_k as stored: rounded to its dtype */
};

/* For the scheduler. */
double smooth_task_flops(const struct smooth_task *t);
double smooth_task_bytes(const struct smooth_task *t);

void smooth_task_put(struct buf *b, const struct smooth_task *t);
/* ERR_INTERNAL when it cannot be done. */
int smooth_task_get(struct reader *r, struct smooth_task *out, struct err *err);

void smooth_outcome_put(struct buf *b, const struct smooth_outcome *o);
/* From a worker: hostile. False when it is no outcome of this matrix. */
bool smooth_outcome_get(struct reader *r, const struct wire_matrix *m, struct smooth_outcome *out);

struct wire_reply; /* daemon/worker.h */

/* The worker's side. */
int role_smooth(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                struct err *err);

#endif
