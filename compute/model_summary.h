/* model_summary.h: what the layers of a model say together: means and medians of a column, the
 * exponents along the depth, layers out of line with others of their type, collapsed scales.
 *
 * Columns are arrays with one number for each layer, NaN where there is none (a layer that failed
 * or was skipped): such a layer is left out and counted, never averaged. Types number the layers'
 * kinds from 0 (dense, conv2d, embedding …): scales of different types cannot be compared.
 */
#ifndef SPECTRALD_MODEL_SUMMARY_H
#define SPECTRALD_MODEL_SUMMARY_H

#include "common/err.h"

/* --- one column ------------------------------------------------------------------------------ */

struct column_summary {
    size_t n;        /* layers that have a number */
    size_t left_out; /* those that have none, or an infinite one */
    /* NaN when n = 0. The mean is that of WeightWatcher 0.7.5.5 get_summary(), which takes failed
     * layers for -1 and averages them too; here they are left out. */
    double mean, median, min, max;
    double spread; /* 1.4826 times the median distance from the median: as a standard deviation */
};

/* Of x[n]. ERR_NOMEM. */
int column_summary(const double *x, size_t n, struct column_summary *out, struct err *err);

/* The same for the layers of each type < n_types, into out[n_types]. ERR_INVALID: a type is out of
 * range; ERR_NOMEM. */
int column_summary_by_type(const double *x, const size_t *type, size_t n, size_t n_types,
                           struct column_summary *out, struct err *err);

/* WeightWatcher's own mean: layers that failed (`failed[i]`) count as -1, other NaN are left out.
 * NaN when nothing counts. */
double column_mean_upstream(const double *x, const bool *failed, size_t n);

/* --- layers out of line ---------------------------------------------------------------------- */

/* Fewer layers of a type say nothing about what is usual. */
#define TYPE_LAYERS_MIN 5
#define ROBUST_Z_LIMIT  3.5 /* Iglewicz, Hoaglin, How to Detect and Handle Outliers, 1993 */

/* z[i] = (x[i] - median) / spread among the layers of the type of i; where more than half of a type
 * are equal, the spread is 1.2533 times the mean distance from the median. NaN: x[i] is missing,
 * the type has fewer than TYPE_LAYERS_MIN numbers, or all are equal. ERR_INVALID, ERR_NOMEM. */
int robust_z_by_type(const double *x, const size_t *type, size_t n, size_t n_types, double *z,
                     struct err *err);

/* Scale collapse: a layer whose largest eigenvalue is far below those of its type. Such layers
 * mislead norms, not exponents (Martin, Peng, Mahoney, Nature Comm. 12 (2021) 4122, found them in
 * GPT and in distilled models; the detector is our own). z as above of log10 lambda_max; collapsed
 * where z < -z_limit and the median is at least `drop` above. */
struct collapse_rule {
    double z_limit; /* 0: ROBUST_Z_LIMIT */
    double drop;    /* decades of lambda_max: where layers are alike, z is large for nothing. < 0:
                     * COLLAPSE_DROP */
};
#define COLLAPSE_DROP 0.3 /* a factor of two */

/* `log_lambda_max`: log10, -infinity (a zero matrix) is left out as missing. z[n] and collapsed[n]
 * are the caller's; *count = layers collapsed. ERR_INVALID, ERR_NOMEM. */
int scale_collapse(const double *log_lambda_max, const size_t *type, size_t n, size_t n_types,
                   const struct collapse_rule *rule, double *z, bool *collapsed, size_t *count,
                   struct err *err);

/* --- correlation flow ------------------------------------------------------------------------ */

/* Exponents outside say: below, over-trained; above, under-trained (WeightWatcher's warnings). */
#define ALPHA_LOW  2.0
#define ALPHA_HIGH 6.0

struct layer_run {
    size_t first, length; /* indices into the column; 0, 0: none */
};

/* Exponents against depth, from the data to the labels (the same paper): flat and low where
 * information passes well, rising or with a long high plateau where it does not. */
struct correlation_flow {
    size_t n;                 /* layers with an exponent */
    double slope;             /* of the least-squares line, per layer */
    double theil_sen;         /* median slope of all pairs of at most FLOW_PAIRED_MAX layers, evenly
                               * chosen; per layer */
    double kendall;           /* tau-b with depth */
    double first, last;       /* median of the first and of the last third */
    double roughness;         /* median |difference| of neighbours */
    size_t below, above;      /* layers below ALPHA_LOW, above ALPHA_HIGH */
    struct layer_run plateau; /* longest run above ALPHA_HIGH; layers without one do not end it */
    struct layer_run valley;  /* longest run below ALPHA_LOW */
};

#define FLOW_PAIRED_MAX 1000

/* Of alpha[n] in order of depth. Numbers are NaN with fewer than 3 layers, kendall also where all
 * are equal. ERR_NOMEM. */
int correlation_flow(const double *alpha, size_t n, struct correlation_flow *out, struct err *err);

/* --- medians --------------------------------------------------------------------------------- */

/* Median of n finite numbers, which are put into another order; the mean of the middle two for an
 * even n; NaN for none. O(n) but for orders made to prevent it. */
double median_of(double *x, size_t n);

#endif
