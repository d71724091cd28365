/* truncated_svd.h: the best approximation of a matrix of rank k, or what is left without its k
 * largest singular values, read block by block and never held whole.
 *
 * W_k = W V V', V the eigenvectors of W'W of the k largest eigenvalues, or W - W V V' with those of
 * the others, whichever are fewer: exact (Eckart, Young, Mirsky), not randomised. WeightWatcher's
 * SVDSmoothing (0.7.5.5: keep k, through a randomised SVD) and SVDSharpness (remove k).
 */
#ifndef SPECTRALD_TRUNCATED_SVD_H
#define SPECTRALD_TRUNCATED_SVD_H

#include "compute/matrix.h"

/* Part of every cache key: raise it when any result may differ in a bit. */
#define TRUNCATED_SVD_VERSION 1

enum truncation {
    TRUNCATE_KEEP = 0,   /* keep the k largest singular values */
    TRUNCATE_REMOVE = 1, /* set the k largest to zero */
};

struct truncated_svd;

struct truncated_info {
    size_t kept;         /* singular values kept */
    double norm;         /* |W|_F */
    double change;       /* |W - result|_F, from the eigenvalues */
    double change_bound; /* `change` is exact to this; rounding the result adds its own */
};

/* Prepare: gram_vectors.h's cost and errors; keeps 8 n_short min(k, n_short - k) bytes and borrows
 * *src, which is read once here and again by the result. ERR_INVALID: not 0 < k <= n_short. The
 * caller frees *out. */
int truncated_svd_new(const struct matrix_source *src, enum truncation how, size_t k,
                      struct truncated_svd **out, struct truncated_info *info, struct err *err);
void truncated_svd_free(struct truncated_svd *t); /* NULL is fine */

/* The result, line for line as in the original; 4 n_short min(k, n_short - k) flops a line. `t`
 * must outlive it. May be read by one thread at a time. */
struct matrix_source truncated_svd_source(struct truncated_svd *t);

#endif
