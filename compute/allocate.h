/* allocate.h: how sparse each tensor of a model becomes when the whole shall reach a target.
 *
 * With d_l the number of weights of tensor l and S the target, every plan keeps
 *
 *     sum_l d_l s_l = S sum_l d_l      and      min_l <= s_l <= max_l
 *
 * A method gives a line s_l(t) = a_l + b_l t for each tensor, cut off at its limits; t is the one
 * number for which the sum holds (water-filling), so limits never make a plan miss its target. A
 * target is infeasible exactly when it lies outside [sum d min, sum d max] / sum d.
 *
 *   uniform: s_l = t.
 *
 *   uniform_plus: the same; the first convolution stays dense and the last tensor keeps at least
 *   20 % (Gale, Elsen, Hooker, arXiv 1902.09574).
 *
 *   er, erk: 1 - s_l proportional to (n_in + n_out [+ k_h + k_w]) / (n_in n_out [k_h k_w])
 *   (Mocanu et al. 2018; Evci et al., arXiv 1911.11134).
 *
 *   atp: s_l = S + beta (i - (L - 1) / 2), i = 0 ... L-1 the block's depth (ATP, ICML 2025).
 *
 *   alphapruning: r_l = 1 - epsilon + 2 epsilon (q_l - q_min) / (q_max - q_min), s_l = t r_l; in
 *   additive mode s_l = S - epsilon + 2 epsilon (...) + t (arXiv 2410.10912, lib/prune.py). A
 *   larger metric q means more sparsity; low_rank the reverse.
 *
 *   owl: 1 - s_l = 1 - S + x_l - mean x, x_l = width (D_l - D_min) / (D_max - D_min), D_l a block's
 *   share of outliers (arXiv 2310.05175); width = 2 Lambda.
 *
 *   dlp: the same with the order of a block's mean score reversed (arXiv 2505.23807);
 *   width = 2 alpha.
 *
 * owl, dlp and atp are defined over blocks of equal size; where sizes differ, all are moved by the
 * one number that makes the sum hold.
 */
#ifndef SPECTRALD_ALLOCATE_H
#define SPECTRALD_ALLOCATE_H

#include "common/err.h"

enum allocate_method {
    ALLOCATE_ALPHAPRUNING = 0,
    ALLOCATE_UNIFORM,
    ALLOCATE_UNIFORM_PLUS,
    ALLOCATE_ER,
    ALLOCATE_ERK,
    ALLOCATE_ATP,
    ALLOCATE_OWL,
    ALLOCATE_DLP,
    ALLOCATE_GLOBAL_MAGNITUDE, /* these two by allocate_magnitude.h, not here */
    ALLOCATE_LAMP,
    ALLOCATE_METHOD_COUNT
};

/* Whose metric decides. */
enum allocate_mapping {
    ALLOCATE_BLOCK_WISE = 0, /* the mean of the block's tensors, for all of them */
    ALLOCATE_PER_MATRIX,     /* each tensor's own */
    ALLOCATE_MIXED,          /* block_wise; then a map with inner_epsilon over the tensors of each
                              * block, around the block's ratio. The paper names such a mapping
                              * without defining it: this reading is ours */
};

struct allocate_unit {
    double metric;        /* NaN = not available: see below */
    double weights;       /* d_l >= 1 */
    uint64_t n_in, n_out; /* er, erk; else may be 0 */
    uint32_t k_h, k_w;    /* of a convolution's kernel, else 0 */
    size_t block;    /* 0 ... n - 1, in order of depth; every number up to the largest is used */
    double min, max; /* limits, 0 <= min <= max <= 1 */
};

struct allocate_options {
    enum allocate_method method;
    enum allocate_mapping mapping; /* alphapruning */
    bool additive;                 /* alphapruning */
    bool low_rank;                 /* alphapruning: a smaller metric means more compression */
    double sparsity;               /* S, 0 ... 1 */
    double epsilon, inner_epsilon; /* alphapruning, 0 ... 1 */
    double beta;  /* atp, >= 0; NaN = half of what is possible, allocate_beta_max() */
    double width; /* owl, dlp, 0 ... 1 */
};

struct allocate_info {
    double least, most; /* the range of feasible targets */
    double t;           /* the multiplier (eta) or shift that was found */
    double beta;        /* atp: what was used */
    bool no_spread;     /* all metrics are the same: the plan is uniform */
    size_t n_missing;   /* tensors whose metric is missing */
    size_t n_assigned;  /* of these, tensors without a block's metric either: they got S */
};

/* Fill sparsity[n]. A tensor without a metric follows its block's mean where the mapping has one;
 * else it gets S (moved within its limits, and beyond only when the target cannot be met
 * otherwise), and does not count for the smallest and largest metric. O(n log n).
 * ERR_LIMIT: infeasible; out->least and most are set then, too. ERR_INVALID: an argument is out of
 * its range. ERR_NOMEM. */
int allocate(const struct allocate_unit *unit, size_t n, const struct allocate_options *opt,
             double *sparsity, struct allocate_info *out, struct err *err);

/* Largest slope that keeps every block's ratio in 0 ... 1: min(2 S, 2 (1 - S)) / (L - 1). */
double allocate_beta_max(double sparsity, size_t n_blocks);

/* N:M plans: each tensor's count of pruned weights in every m, next to sparsity[n], within its
 * limits. Counts are rounded down, then the weights still missing are handed out one step (d_l / m)
 * at a time by largest remainder, a step being taken while it brings the sum closer to S: the sum
 * misses the target by at most half the largest step, unless limits forbid.
 * ERR_LIMIT: between a tensor's limits there is no multiple of 1/m, or the limits forbid the target
 * by more than half a step. m: 2 ... 64. */
int allocate_n_of_m(const struct allocate_unit *unit, size_t n, double target, unsigned m,
                    const double *sparsity, unsigned *pruned, struct err *err);

#endif
