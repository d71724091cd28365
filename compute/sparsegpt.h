/* sparsegpt.h: pruning with correction of the weights that stay.
 *
 * SparseGPT (arXiv 2301.00774; IST-DASLab/sparsegpt at 147d215, sparsegpt.py): columns in turn;
 * what pruning a weight changes in the layer's outputs is made up for by the weights to its right.
 * The inputs enter through H = 2/n X X^T alone. With H^-1 = U^T U, U upper triangular, weight w_rc
 * has the score (w / U_cc)^2, within blocks of columns; the sum of the scores of what went, over 2,
 * is exactly 1/2 tr(D H D^T), D the change of the weights and H with its damping.
 *
 * Where it differs from upstream: U comes from one factorisation, H = V V^T with V upper triangular
 * and U = V^-1, in double; exactly the number asked for goes, not all ties; a column whose input
 * was always zero is not zeroed whole: its weights are the first to go.
 */
#ifndef SPECTRALD_SPARSEGPT_H
#define SPECTRALD_SPARSEGPT_H

#include "common/err.h"

#define SPARSEGPT_BLOCK   128
#define SPARSEGPT_DAMPING 0.01

struct sparsegpt_factor_info {
    double damping; /* what was needed: a rung of the ladder */
    double shift;   /* lambda, what was added to the diagonal of H */
    size_t n_dead;  /* columns that were never active */
};

/* Upper triangles, n x n, are packed: that many elements, (i, j) with i <= j at a place of its own.
 */
size_t sparsegpt_packed(size_t n);
size_t sparsegpt_place(size_t n, size_t i, size_t j);

/* Write the upper triangle of the Gram matrix, finite, packed. 0, or an error that ends it all. */
typedef int sparsegpt_read(void *arg, double *gram, struct err *err);

/* Factor H = scale * gram + damping * mean(diagonal): tries `damping`, then 0.03, 0.1, 0.3, as far
 * as these are larger; `gram` is called anew for each. *u: packed, the caller frees it. At its peak
 * it holds one packed triangle of doubles. ERR_NOMEM. ERR_INVALID: a negative or no positive
 * diagonal element. ERR_NUMERIC: not positive definite however much is added. O(2/3 n^3). */
int sparsegpt_factor(size_t n, sparsegpt_read *gram, void *arg, double scale, double damping,
                     float **u, struct sparsegpt_factor_info *out, struct err *err);

struct sparsegpt_options {
    double sparsity;    /* 0 ... 1: floor(rows * cols * sparsity) weights go, evenly over blocks */
    unsigned m, pruned; /* N:M: `pruned` of every m in a row instead; m = 0: no */
    size_t block;       /* columns; a multiple of m; 0 = SPARSEGPT_BLOCK */
};

/* Prune w (rows x cols, row-major, finite), in place; what went is exactly 0, and has its bit set
 * in mask (rows x prune_mask_bytes(cols), zero before). u: of sparsegpt_factor(). *error = 1/2 tr(D
 * H D^T). Needs 14 bytes for each weight of a block, and 4 cols * block. ERR_NOMEM; ERR_INVALID:
 * options. */
int sparsegpt(float *w, size_t rows, size_t cols, const float *u,
              const struct sparsegpt_options *opt, uint8_t *mask, double *error, struct err *err);

#endif
