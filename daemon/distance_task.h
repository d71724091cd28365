/* distance_task.h: how far apart two tensors of one shape are, on the way to a compute worker and
 * back; and what the cache keeps of it.
 *
 *   distance  task                        fd: the file of the first tensor, that of the second
 *   reply     a result record
 */
#ifndef SPECTRALD_DISTANCE_TASK_H
#define SPECTRALD_DISTANCE_TASK_H

#include "common/digest.h"
#include "daemon/wire.h"

struct distance_task {
    struct wire_matrix a, b; /* of one shape; dtypes may differ */
    bool cka;
};

/* compute/matrix_distance.h has the formulas; of several slices, means where it says so. */
struct distance_result {
    double raw;            /* |A - B|_F of the whole tensors */
    double euclidean;      /* mean over slices of |A_s - B_s|_F; the same for one slice */
    double norm_a, norm_b; /* |A|_F, |B|_F of the whole tensors */
    double cosine;         /* <A, B> / (|A| |B|) of the whole tensors; NaN when either is 0 */
    bool has_cka;          /* it was asked for */
    double cka;            /* mean over the slices that have one; NaN when none has */
};

/* For the scheduler. */
double distance_task_flops(const struct distance_task *t);
double distance_task_bytes(const struct distance_task *t);

void distance_task_put(struct buf *b, const struct distance_task *t);
/* ERR_INTERNAL when it cannot be done. Reads to the end. */
int distance_task_get(struct reader *r, struct distance_task *out, struct err *err);

void distance_result_put(struct buf *b, const struct distance_result *v);
/* Treats it as hostile: false when it is none. Reads to the end. */
bool distance_result_get(struct reader *r, struct distance_result *out);

/* The same distance, seen from the other side. */
struct distance_result distance_result_turned(const struct distance_result *v);

struct wire_reply; /* daemon/worker.h */

/* The worker's side. */
int role_distance(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                  struct err *err);

#endif
