/* simpson.h: does a metric order models the same way inside their groups and over all of them?
 *
 * Models come in groups (of one depth, one architecture); each has a metric x (the mean alpha, say)
 * and a quality y (test accuracy). A metric may follow quality inside every group and yet oppose it
 * when groups are pooled, or the other way round: Simpson's paradox, which Martin and Mahoney found
 * in the models of a contest (arXiv 2106.00734). Slopes are of y by x, least squares.
 *
 *   within slope   sum_g Sxy_g / sum_g Sxx_g, sums of products about the means of group g
 *   between slope  of the means of y by the means of x, one point a group
 *   within tau     sum_g n_g tau_g / sum_g n_g, Kendall's tau-b
 *
 * Groups of fewer than SIMPSON_GROUP_MIN rows count in what is pooled, and nowhere else. The
 * definition of the paradox and its thresholds are our own.
 */
#ifndef SPECTRALD_SIMPSON_H
#define SPECTRALD_SIMPSON_H

#include "common/err.h"

#define SIMPSON_GROUP_MIN      4
#define SIMPSON_TAU_MIN        0.2   /* |tau| below this says nothing */
#define SIMPSON_EXACT_MAX      8     /* rows whose n! orders are all looked at */
#define SIMPSON_VALUE_MAX      1e100 /* of |x| and |y| */
#define SIMPSON_REPLICATES     9999
#define SIMPSON_REPLICATES_MAX 1000000

/* One line through some rows. NaN: fewer than SIMPSON_GROUP_MIN rows, or as said. */
struct simpson_fit {
    size_t n;
    double slope, intercept; /* NaN also: all x are equal */
    double r2, rmse;         /* the same; r2 also: all y are equal. rmse: sqrt of the mean square */
    double kendall, spearman; /* NaN also: all x or all y are equal */
    /* Share of orders of y with a Spearman's rho at least as far from 0: of all n! orders (exact),
     * else (1 + those among random ones) / (1 + replicates). NaN with spearman. */
    double p;
    uint64_t replicates; /* orders looked at */
    bool exact;
};

struct simpson {
    struct simpson_fit pooled;
    double within_slope;   /* NaN: no group has a slope */
    double between_slope;  /* NaN: fewer than 2 groups, or all their means of x are equal */
    double within_kendall; /* NaN: no group has one */
    size_t groups;         /* of at least SIMPSON_GROUP_MIN rows */
    size_t sloped;         /* of them, those that have a slope */
    size_t agreeing;       /* of them, those whose slope has the sign of within_slope */
    /* The five conditions of a paradox, and whether all hold. */
    bool opposite;      /* pooled and within slopes have opposite signs */
    bool enough_groups; /* sloped >= 2 */
    bool pooled_clear;  /* |pooled.kendall| >= SIMPSON_TAU_MIN */
    bool within_clear;  /* |within_kendall| >= SIMPSON_TAU_MIN */
    bool groups_agree;  /* 3 agreeing >= 2 sloped */
    bool paradox;
};

struct simpson_options {
    uint64_t seed;       /* of random orders */
    uint64_t replicates; /* of them for each fit, at most SIMPSON_REPLICATES_MAX; 0: no p but exact
                          * ones */
};

/* Of n rows (x, y), row i in group[i] < n_groups. `fits`: one for each group. O(n log n) and
 * O(replicates n), at most SIMPSON_EXACT_MAX! for a small group.
 * ERR_INVALID: a value or an option is out of range; ERR_NOMEM. */
int simpson_analyse(const double *x, const double *y, const size_t *group, size_t n,
                    size_t n_groups, const struct simpson_options *options,
                    struct simpson_fit *fits, struct simpson *out, struct err *err);

/* Which slopes have not the sign `expected` (-1 or +1). */
enum simpson_wrong {
    SIMPSON_UNKNOWN = 0, /* nothing is expected, or a slope is missing or 0 */
    SIMPSON_NEITHER,
    SIMPSON_POOLED,
    SIMPSON_WITHIN,
    SIMPSON_BOTH,
};
enum simpson_wrong simpson_wrong(const struct simpson *s, int expected);
/* "neither", "pooled", "within", "both"; NULL for unknown. */
const char *simpson_wrong_name(enum simpson_wrong w);

/* What better models have of a metric of spectra: -1 less (alpha, D, log norms …), +1 more
 * (rand_distance), 0 when it is not known. Sources: arXiv 1901.08276, 2002.06716, 2202.02842. */
int simpson_direction(const char *metric);

#endif
