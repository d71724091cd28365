/* allocate_magnitude.h: how sparse each tensor becomes when one threshold is laid over the weights
 * of all of them.
 *
 * Every weight has a score, and those with the smallest scores go until the target is met:
 *
 *   global_magnitude: |w|.
 *
 *   lamp: w_u^2 / sum_{v >= u} w_v^2 with the weights of each tensor sorted by |w|, upwards (Lee
 *   et al., arXiv 2010.07611; jaeho-lee/layer-adaptive-sparsity tools/pruners.py). Equal weights
 *   have different scores: the sum shrinks along their run. Zeros have the score 0.
 *
 * With C_l(t) the number of weights of tensor l with a score below t, s_l = C_l(t) / d_l, cut off
 * at the tensor's limits; t is the number for which sum_l d_l s_l = S sum_l d_l. Where scores are
 * equal to t, each tensor gives the same share of those it has (within its limits): the target is
 * met exactly, whatever is tied.
 *
 * Weights come as histograms (magnitude.h). Those of f32 and f64 tensors are coarse at first; then
 * the answer may be which bins have to be refined. Only bins that the threshold may lie in are
 * asked for, and each round asks for one level more: f32 needs one, f64 three.
 */
#ifndef SPECTRALD_ALLOCATE_MAGNITUDE_H
#define SPECTRALD_ALLOCATE_MAGNITUDE_H

#include "compute/magnitude.h"

enum magnitude_score { MAGNITUDE_GLOBAL = 0, MAGNITUDE_LAMP };

/* The weights of one tensor, ascending, as runs that share a magnitude (or a bin). */
struct magnitude_run {
    uint64_t prefix;                /* the first 15 + 16 level bits */
    uint64_t below : 60, level : 4; /* weights in the runs before */
    double above;                   /* sum of w^2 in the runs after */
};

struct magnitude_runs {
    enum magnitude_format format;
    uint64_t n_weights;        /* finite ones */
    double squares;            /* sum of w^2 */
    struct magnitude_run *run; /* owned */
    size_t n_runs;
};

void magnitude_runs_done(struct magnitude_runs *r);
/* From a histogram of level 0. ERR_INVALID, ERR_NOMEM. */
int magnitude_runs_new(const struct magnitudes *m, struct magnitude_runs *out, struct err *err);
/* Put the refinement of a run in its place. ERR_CHANGED when it has another number of weights: they
 * are not the same as before; ERR_INVALID when there is no such run; ERR_NOMEM. */
int magnitude_runs_refine(struct magnitude_runs *r, const struct magnitudes *m, struct err *err);

struct allocate_magnitude_unit {
    const struct magnitude_runs *runs; /* NULL = not known (or not finite) */
    double weights;                    /* d_l >= 1 */
    double min, max;                   /* limits, 0 <= min <= max <= 1 */
};

/* A bin to be refined: histogram `level` of `prefix` of unit `unit`. */
struct magnitude_need {
    size_t unit;
    unsigned level;
    uint64_t prefix;
};

struct allocate_magnitude_info {
    double least, most; /* the range of feasible targets */
    double threshold;   /* t; infinity when everything goes */
    size_t n_missing;   /* tensors without weights; they get S (moved within their limits, and
                         * beyond only when the target cannot be met otherwise) */
    struct magnitude_need *need; /* by unit, then upwards; owned by the caller: free() */
    size_t n_need;               /* > 0: sparsity[] is not filled in; refine these and call again */
};

/* Fill sparsity[n] for the target 0 <= S <= 1. lamp knows nothing of tensors (f64) whose sum of
 * squares overflows: they are missing. About 63 n log2(runs) steps.
 * ERR_LIMIT: infeasible; out->least and most are set then, too. ERR_INVALID: an argument is out of
 * its range, or weights != n_weights. ERR_NOMEM. */
int allocate_magnitude(const struct allocate_magnitude_unit *unit, size_t n,
                       enum magnitude_score score, double sparsity, double *out_sparsity,
                       struct allocate_magnitude_info *out, struct err *err);

#endif
