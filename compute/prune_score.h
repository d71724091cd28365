/* prune_score.h: how much a weight counts; what counts least is pruned (prune_select.h).
 *
 * All take one row of n weights, finite, and write n scores, finite and >= 0. They may be computed
 * in place (score == w).
 */
#ifndef SPECTRALD_PRUNE_SCORE_H
#define SPECTRALD_PRUNE_SCORE_H

#include "common/base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* |w| */
void prune_score_magnitude(const float *w, size_t n, float *score);

/* |w_j| a_j. Wanda (arXiv 2306.11695): a_j = sqrt(q_j), q_j the sum of the squares of input j;
 * within a row only ratios of q matter. */
void prune_score_wanda(const float *w, const float *activity, size_t n, float *score);

/* (|w_j| / row + |w_j| / column_j) a_j. RIA (ICLR 2024, lib/prune.py at 7bc55b0): row and column
 * are the sums of |w|, a_j = q_j^(1/4) by default. Sums of 0 give 0. */
void prune_score_ria(const float *w, const float *activity, const float *column, double row,
                     size_t n, float *score);

/* sum += |w|: the columns' sums for RIA; returns the row's. */
double prune_add_magnitudes(const float *w, size_t n, double *column);

/* What owl and dlp (allocate.h) know of a block: *sum += the scores |w_i| a_i, *above += how many
 * exceed `limit`. a_i is activity[i * stride]: stride 0 = the same for all. */
void prune_outliers(const float *w, const float *activity, size_t stride, size_t n, double limit,
                    double *sum, uint64_t *above);

/* Each score becomes the share of the row's sum that it and those below it have. Pruning the lowest
 * of a whole matrix by it is Wanda's variant (locuslab/wanda --use_variant), which gives every row
 * the same share of its score to lose; upstream bisects for that share to within 0.001 of the
 * target. order: 3 n elements of scratch. */
void prune_score_share(float *score, size_t n, uint32_t *order);

/* Indices of score[n] in ascending order, equal ones in order of position: a stable sort, O(n).
 * scratch: 2 n elements. */
void prune_order(const float *score, size_t n, uint32_t *order, uint32_t *scratch);

/* How many of each row go: floor(cols * sparsity), as the reference tools do; with `exact`
 * floor(rows * cols * sparsity) in all, the remainder spread evenly over the rows. */
size_t prune_row_count(size_t row, size_t rows, size_t cols, double sparsity, bool exact);

#endif
