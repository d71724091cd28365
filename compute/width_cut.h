/* width_cut.h: which neurons of a feed-forward part go, when it is made narrower.
 *
 * Neuron j is row j of `up` (and of `gate`) and column j of `down`; x_j is its activation, the
 * input of `down`. Scores are >= 0, and the lowest go.
 *
 *   magnitude  |up_j| |gate_j| |down_j|, of Euclidean norms: how far the neuron's output can go
 *   wanda      |down_j|^2 sum of x_j^2: Wanda's score (arXiv 2306.11695), squared and summed over
 *              the column
 *   wifv       |down_j|^2 var(x_j): FLAP (AAAI 2024, CASIA-IVA-Lab/FLAP at 3bb57db, lib/prune.py):
 *              what cannot be made up for by a constant
 *
 * The width that stays is the same in every block, because stock loaders know only one.
 */
#ifndef SPECTRALD_WIDTH_CUT_H
#define SPECTRALD_WIDTH_CUT_H

#include "common/err.h"

/* Sums of squares of a block of rows x cols weights, added to sum[rows] or, `by_columns`, to
 * sum[cols]. */
void width_cut_squares(const float *w, size_t rows, size_t cols, bool by_columns, double *sum);

/* Scores of n neurons from the sums of squares of their weights. `gate` may be NULL. */
void width_cut_magnitude(const double *gate, const double *up, const double *down, size_t n,
                         double *score);
/* sumsq[j]: sum of x_j^2. ERR_INVALID: not finite, or negative. */
int width_cut_wanda(const double *sumsq, const double *down, size_t n, double *score,
                    struct err *err);
/* sum[j]: sum of x_j over so many tokens, >= 1. Rounding below 0 counts as 0. */
int width_cut_wifv(const double *sumsq, const double *sum, double tokens, const double *down,
                   size_t n, double *score, struct err *err);

/* The multiple that suits a width when none is asked for: 64, or the largest lower power of two
 * that divides it, at least eight times. */
uint64_t width_cut_multiple(uint64_t of);

/* How wide a part of `of` neurons stays when a share `sparsity`, 0 ... 1, is to go: the nearest
 * multiple (of two the larger, and at least one), or the whole width where that is nearer. */
uint64_t width_cut_kept(uint64_t of, double sparsity, uint64_t multiple);

#endif
