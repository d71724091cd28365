/* dsnot.h: a mask is improved, weights are not: Dynamic Sparse no Training.
 *
 * DSnoT (ICLR 2024, arXiv 2310.08915; zyxxmu/DSnoT at 4c029df, lib/prune.py). What pruning takes
 * from output i is expected to be E_i, the sum of m_ij = w_ij s_j over what was pruned, s_j the
 * mean sum of input j over a sequence. While |E_i| is above a threshold, a pruned weight comes
 * back: of those whose return makes |E_i| smaller, the one with the largest |m_ij| / var_j; and
 * another goes for it: of those that stayed and whose loss makes |E_i| smaller too, the one with
 * the lowest score; with N:M the one with the lowest score in the same group, where that makes
 * |E_i| smaller in all. It ends when E_i would change its sign. A weight moves once. Counts stay as
 * they were.
 *
 * Where it differs from upstream: there E_i may change its sign by default and a row goes to and
 * fro until its 50 cycles are over, which in rows of a few hundred weights ruins the mask
 * (upstream's --without_same_sign False ends as it does here); var_j is that of all tokens, where
 * upstream averages variances of batches; all matrices are refined, where upstream by default
 * leaves those of MLPs as they are.
 */
#ifndef SPECTRALD_DSNOT_H
#define SPECTRALD_DSNOT_H

#include "common/base.h"

#include <stddef.h>
#include <stdint.h>

#define DSNOT_CYCLES    50
#define DSNOT_THRESHOLD 0.1

struct dsnot_input {
    const double *mean;     /* s_j; finite */
    const double *variance; /* var_j >= 0; finite */
};

struct dsnot_result {
    uint64_t swaps;
    double before, after; /* the sum of |E_i| over rows */
};

/* One row of n weights (finite) and their scores (prune_score.h), and its mask (prune_select.h).
 * m: groups of N:M; 0 = none. *out is added to. */
void dsnot_row(const float *w, const float *score, size_t n, const struct dsnot_input *in,
               unsigned m, uint8_t *mask, struct dsnot_result *out);

#endif
