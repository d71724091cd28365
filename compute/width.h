/* width.h: whole channels or heads instead of single weights: how wide each part of a model stays.
 *
 * A group is a set of matrices that lose the same channels together: the neurons of a
 * feed-forward part (rows of gate and up, columns of down) or the heads of an attention (rows of q,
 * k and v, columns of o). One unit of its width costs `cost` weights over all its matrices, so that
 * weights are proportional to the width kept, exactly.
 *
 * Widths kept are multiples of `multiple`, at least one of them, or the whole width. They are
 * rounded down from (1 - ratio) of, then the weights still missing are handed out one step at a
 * time by largest remainder, a step being taken while it brings the sum closer to the goal: it
 * misses by at most half the largest step, unless limits forbid.
 */
#ifndef SPECTRALD_WIDTH_H
#define SPECTRALD_WIDTH_H

#include "common/err.h"

struct width_group {
    uint64_t of;       /* the whole width, 1 ... 2^32 */
    uint64_t multiple; /* 1 ... 2^32 */
    double cost;       /* weights per unit of width, over all matrices; >= 1 */
    double ratio;      /* wanted share of the width removed, 0 ... 1 */
    double min, max;   /* limits of that share, 0 <= min <= max <= 1 */
};

/* kept[n], for a number of weights removed of target * sum_l of_l cost_l, 0 <= target <= 1.
 * ERR_LIMIT: no width between a group's limits, or the limits and multiples forbid the target by
 * more than half a step. ERR_INVALID: out of range. ERR_NOMEM. Outputs are untouched on failure. */
int width_round(const struct width_group *g, size_t n, double target, uint64_t *kept,
                struct err *err);

#endif
