/* series_trend.h: a column over the steps of a training run, and what changed between two analyses.
 * Pure functions of arrays; NaN where there is no number.
 */
#ifndef SPECTRALD_SERIES_TREND_H
#define SPECTRALD_SERIES_TREND_H

#include "common/err.h"

#define TREND_STEPS_MAX 2000

/* The slope of Theil and Sen (Sen, J. Am. Stat. Assoc. 63 (1968) 1379): the median slope of all
 * pairs of steps, which up to 29 % of wild values do not move. */
struct trend {
    size_t n;           /* steps with a number */
    double slope;       /* per unit of t; NaN with fewer than 2 different t */
    double intercept;   /* median of x - slope t */
    double kendall;     /* tau-b of t and x; NaN also where all x or all t are equal */
    double first, last; /* the first and the last number */
    /* Against [low, high], as indices of steps; TREND_NEVER when it does not happen. */
    size_t leaves;  /* the first outside after one inside, or the first of all */
    size_t returns; /* the first inside after that */
    size_t outside; /* how many are outside */
    bool ends_outside;
};
#define TREND_NEVER SIZE_MAX

/* Of n steps in order: t[i] never falls. ERR_INVALID: t is not finite or falls, or low > high;
 * ERR_LIMIT: more than TREND_STEPS_MAX steps; ERR_NOMEM. O(n^2). */
int series_trend(const double *t, const double *x, size_t n, double low, double high,
                 struct trend *out, struct err *err);

/* The same for n_layers columns, one after the other in x (x[layer * n + step]). */
int series_trends(const double *t, const double *x, size_t n, size_t n_layers, double low,
                  double high, struct trend *out, struct err *err);

/* --- between two analyses -------------------------------------------------------------------- */

struct layer_move {
    size_t layer;
    double before, after, change;
    double z; /* robust z of the change among all layers: far from 0 where this layer moved
               * otherwise than the others do. NaN: fewer than 5, or all changes equal */
};

/* Layers whose number changed by more than `least` (>= 0), the largest |change| first, then by
 * layer. `out` has room for n; *count of them are written. Layers without a finite number on either
 * side are left out. ERR_INVALID, ERR_NOMEM. */
int layer_moves(const double *before, const double *after, size_t n, double least,
                struct layer_move *out, size_t *count, struct err *err);

#endif
