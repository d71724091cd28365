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

/* Factor H = scale * gram + damping * mean(diagonal): tries `damping`, then 0.03, 0.1, 0.3, as far
 * as these are larger. gram: n x n, symmetric, finite, destroyed: after success it holds U as n * n
 * *floats*, row-major, with zeros below the diagonal, in its first half.
 * ERR_INVALID: a negative or no positive diagonal element. ERR_NUMERIC: not positive definite
 * however much is added. O(2/3 n^3). */
int sparsegpt_factor(double *gram, size_t n, double scale, double damping,
                     struct sparsegpt_factor_info *out, struct err *err);

struct sparsegpt_options {
    double sparsity;    /* 0 ... 1: floor(rows * cols * sparsity) weights go, evenly over blocks */
    unsigned m, pruned; /* N:M: `pruned` of every m in a row instead; m = 0: no */
    size_t block;       /* columns; a multiple of m; 0 = SPARSEGPT_BLOCK */
};

/* Prune w (rows x cols, row-major, finite), in place; what went is exactly 0, and has its bit set
 * in mask (rows x prune_mask_bytes(cols), zero before). u: as sparsegpt_factor() leaves it. *error
 * = 1/2 tr(D H D^T). ERR_NOMEM; ERR_INVALID: options. */
int sparsegpt(float *w, size_t rows, size_t cols, const float *u,
              const struct sparsegpt_options *opt, uint8_t *mask, double *error, struct err *err);

#endif
