/* alps.h: pruning with correction of the weights that stay, by an ADMM whose penalty grows until
 * the mask settles, and conjugate gradients on that mask.
 *
 * ALPS (NeurIPS 2024, arXiv 2406.07831; mazumder-lab/ALPS at 8af9e6b, alps.py). H is damped, inputs
 * are scaled to norm 1, one eigendecomposition serves every penalty rho. It begins at 0.1; every 3
 * iterations it grows by 1.3, 1.2 or 1.1, as the mask changed by more than 10 %, 0.5 % or not at
 * all to speak of, and where it has not grown yet and the mask is still, it was too large: a fifth
 * of it is tried, from the start. It ends when the mask stays as it is, or from 30 iterations on
 * changes by less than 0.03 %, or after 300. Then 10 steps of conjugate gradients on the weights
 * that stay, each row by itself, to a residual of 1e-4.
 *
 * Where it differs from upstream: exactly floor(rows * cols * sparsity) weights go; also per row.
 */
#ifndef SPECTRALD_ALPS_H
#define SPECTRALD_ALPS_H

#include "compute/correct.h"

#define ALPS_DAMPING    0.01
#define ALPS_ITERATIONS 300
#define ALPS_POLISH     10

/* As admm(). Needs 16 bytes for each weight, and 20 cols^2 for the eigendecomposition. ERR_NUMERIC:
 * not positive definite with its damping, or the decomposition does not converge. */
int alps(float *w, size_t rows, size_t cols, double *gram, double scale, double damping,
         const struct prune_options *opt, uint8_t *mask, struct correct_result *out,
         struct err *err);

#endif
