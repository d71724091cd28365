/* tail_data.h: an ascending sample prepared for fits at many starts of the tail, and the
 * Kolmogorov-Smirnov distance of a model from the tail.
 *
 * Equal values are one candidate and one point of the empirical distribution, as in the package
 * powerlaw 1.5: a tail is always {x >= xmin}, whole. (powerlaw.h, like WeightWatcher's own fit,
 * takes every duplicate as a candidate; without ties the two agree.)
 */
#ifndef SPECTRALD_TAIL_DATA_H
#define SPECTRALD_TAIL_DATA_H

#include "common/err.h"

/* Doubles of scratch for m values. */
#define TAIL_DATA_WORK(m) (5 * (m))

struct tail_data {
    size_t m;          /* values */
    size_t n;          /* distinct values */
    double *x;         /* n, ascending */
    double *log_x;     /* n */
    double *below;     /* n: how many of the m values are smaller (whole numbers) */
    double *sum_log;   /* n: sum of the logarithms of all values >= x[i], duplicates counted */
    double *sum_ratio; /* n: sum of value / x[n-1] over the same */
};

/* Prepare m values, which must be finite, positive and ascending; ERR_INVALID if they are not,
 * ERR_NUMERIC when fewer than two of them are distinct. The arrays lie in `work`
 * (TAIL_DATA_WORK(m)), which stays the caller's. O(m). */
int tail_data_init(struct tail_data *d, const double *x, size_t m, double *work, struct err *err);

/* Values in the tail that starts at distinct value i. */
static inline double tail_data_count(const struct tail_data *d, size_t i)
{
    return (double)d->m - d->below[i];
}

/* Mean of ln(x / x_i), and mean of x / x_i - 1, over the tail from i; +infinity where not
 * representable. */
double tail_data_mean_log(const struct tail_data *d, size_t i);
double tail_data_mean_excess(const struct tail_data *d, size_t i);

/* Candidates with lo <= x_i <= hi, without the largest distinct value in that range, as
 * first <= i < end: powerlaw 1.5's reading of a range of xmin. */
void tail_data_range(const struct tail_data *d, double lo, double hi, size_t *first, size_t *end);

/* The model's cumulative probability at distinct value k, given x >= xmin. */
typedef double tail_cdf_fn(const void *model, const struct tail_data *d, size_t k);

/* max_k |cdf(k) - E(k)| over the points k >= i of the tail from i, with the empirical distribution
 * E(k) = (values in the tail below x_k) / (values in the tail), one-sided as upstream's.
 *
 * Anything >= limit when the distance is. `hint`: a point to try first, in and out (where the
 * limit was passed); may be NULL. Points are left out where a model that rises cannot have its
 * maximum; `slack`: by how much rounding may make cdf() fall (1: look at all points). The result is
 * that of looking at all points, bit for bit. */
double tail_ks(const struct tail_data *d, size_t i, tail_cdf_fn *cdf, const void *model,
               double limit, double slack, size_t *hint);

/* The distance of candidate i, anything >= limit if it is that large, NaN if i has no fit. */
typedef double tail_distance_fn(void *arg, size_t i, double limit);

/* The candidate first <= i < end with the least distance, of equal ones the first, and that
 * distance; `end` when none has a fit. Candidates are tried in strides that are halved, each
 * against the best so far (unless !early, for tests), which changes nothing in the result. */
size_t tail_scan(tail_distance_fn *distance, void *arg, size_t first, size_t end, bool early,
                 double *best);

#endif
