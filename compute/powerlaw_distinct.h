/* powerlaw_distinct.h: power-law fits of a tail that is always {x >= xmin}, whole: one candidate
 * for each distinct value, with limits given from outside. Without ties and limits the result is
 * powerlaw.h's, to rounding.
 *
 * powerlaw 1.5 (Fit, continuous, by likelihood) is this with POWERLAW_OPEN or POWERLAW_FORCE.
 * Candidates are all distinct values but the largest one (in the range, if there is one).
 */
#ifndef SPECTRALD_POWERLAW_DISTINCT_H
#define SPECTRALD_POWERLAW_DISTINCT_H

#include "compute/powerlaw.h"
#include "compute/tail_data.h"

enum powerlaw_upper {
    POWERLAW_OPEN,      /* the tail has no end; values above xmax, if given, are left out all the
                         * same, as WeightWatcher's own fit does it: alpha then comes out too large */
    POWERLAW_TRUNCATED, /* the power law on [xmin, xmax], in likelihood and distance: right for data
                         * cut at xmax. Solves mean ln(x/xmin) = 1/a - b/(e^(ab) - 1), a = alpha -
                         * 1, b = ln(xmax/xmin) */
    POWERLAW_FORCE,     /* alpha as if open, D as if truncated: powerlaw 1.5's xmax */
};

struct powerlaw_limits {
    bool has_range, has_xmin, has_xmax;
    double low, high; /* candidates lie in [low, high] */
    double xmin;      /* the tail starts here, value or not: no candidates are tried */
    double xmax;      /* values above are left out; without it, the largest value */
    enum powerlaw_upper upper;
    size_t min_tail; /* a tail has at least so many values */
};

/* Doubles of scratch for m values. */
#define POWERLAW_DISTINCT_WORK(m) (TAIL_DATA_WORK(m))

/* Fit m finite, positive, ascending values. out->xmax: the largest value used, or the given xmax
 * where the law ends there. sigma: (alpha-1)/sqrt(n_tail); truncated: from the curvature of the
 * likelihood. ERR_INVALID for bad values or limits, ERR_NUMERIC when no tail with two distinct
 * values and alpha > 1 is left. */
int powerlaw_distinct(const double *x, size_t m, const struct powerlaw_limits *limits, double *work,
                      struct powerlaw_fit *out, struct err *err);

#endif
