/* admm.h: pruning with correction of the weights that stay, by ADMM.
 *
 * ADMM-Grad (Boza, TMLR 2024, arXiv 2401.02938; fmfi-compbio/admm-pruning at 8039208, lib/admm.py):
 * inputs are scaled to norm 1, 0.1 times the mean of the diagonal is added, and 20 iterations with
 * rho = 1 go to and fro between weights that give the old outputs and weights that are sparse. In
 * the first 15 the mask is chosen anew, the lowest magnitudes each time, more of them from step to
 * step: the part 1 - (1 - t / 15)^3 of those that go in the end; then it stays.
 *
 * Where it differs from upstream: the schedule is that of the paper whatever the selection, where
 * upstream's branch for whole tensors, its default, takes the final count in every iteration;
 * exactly the number asked for goes, and any N:M, of which as many go as the schedule has, rounded
 * down.
 */
#ifndef SPECTRALD_ADMM_H
#define SPECTRALD_ADMM_H

#include "compute/correct.h"

#define ADMM_ITERATIONS 20
#define ADMM_SCHEDULE   15
#define ADMM_DAMPING    0.1

/* Prune w (rows x cols, row-major, finite) in place, by opt->selection, ->sparsity, ->exact, ->m
 * and
 * ->pruned; what went is exactly 0 and has its bit set in mask (rows x prune_mask_bytes(cols)).
 * H = scale * gram; gram: cols x cols, symmetric, finite, destroyed. Needs 16 bytes for each weight
 * and 4 cols^2. ERR_NOMEM; ERR_INVALID: a negative or no positive diagonal element; ERR_NUMERIC:
 * not positive semidefinite. */
int admm(float *w, size_t rows, size_t cols, double *gram, double scale,
         const struct prune_options *opt, uint8_t *mask, struct correct_result *out,
         struct err *err);

#endif
