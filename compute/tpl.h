/* tpl.h: the truncated power law p(x) = C x^-alpha e^(-Lambda x) on x >= xmin, fitted to an
 * eigenvalue tail by maximum likelihood.
 *
 *     C = Lambda^(1-alpha) / Gamma(1-alpha, Lambda xmin)
 *     1 - CDF(x) = Gamma(1-alpha, Lambda x) / Gamma(1-alpha, Lambda xmin)
 *
 * In u = ln(x/xmin) it is an exponential family with the statistics u and e^u - 1, so the negative
 * log-likelihood is convex in (alpha, Lambda), depends on the tail through two means only, and
 * Newton's method finds its one minimum over alpha >= 1, Lambda >= 0. The minimum may lie on the
 * edge: Lambda = 0 is the plain power law; `edge` says so.
 *
 * `compat` is powerlaw 1.5's fit instead (Fit(xmin_distribution="truncated_power_law"), which
 * WeightWatcher 0.7.5.5 uses for fit="TPL"): Nelder and Mead's simplex from the power law's alpha
 * and 1/mean, stopped at 1e-4; likelihoods that underflow count as 1e-307; the CDF is formed from
 * 1 - Gamma(1-alpha, Lambda x) / Lambda^(1-alpha), which loses digits when that is near 1, and
 * counts as 1 when it is 1. Its Lambda has an absolute error of up to 1e-4, whatever its size.
 */
#ifndef SPECTRALD_TPL_H
#define SPECTRALD_TPL_H

#include "compute/incomplete_gamma.h"
#include "compute/tail_data.h"

enum tpl_edge {
    TPL_INSIDE = 0,
    TPL_PURE = 1, /* Lambda = 0: no cut-off makes the tail more likely */
    TPL_FLAT = 2, /* alpha = 1, the least allowed */
};
/* "inside", "pure_power_law", "alpha_one"; NULL if unknown. */
const char *tpl_edge_name(enum tpl_edge e);

struct tpl_fit {
    double alpha, Lambda; /* Lambda in units of 1/x */
    double D;             /* Kolmogorov-Smirnov distance, tail_ks() */
    double xmin, xmax;    /* xmax: the largest value */
    double log_likelihood;
    size_t n_tail; /* values >= xmin */
    enum tpl_edge edge;
};

struct tpl_options {
    bool compat;
    bool force;     /* compat only: D with CDF(x) / CDF(xmax), powerlaw's xmax = max */
    bool has_range; /* candidates are only the values in [low, high], without the largest there */
    double low, high;
    size_t min_tail; /* a tail has at least so many values; 0: two distinct ones */
};

/* Doubles of scratch for m values. */
#define TPL_WORK(m) (TAIL_DATA_WORK(m) + 3 * (m))

/* Fit m finite, positive, ascending values with every distinct one but the largest as xmin, and
 * take the first with the least D. ERR_INVALID for bad values, ERR_NUMERIC when there is no
 * candidate. `work` is scratch of TPL_WORK(m) doubles. O(m) for the fits, each started at its
 * neighbour's, and of the distances only what may be the least (tail_ks()). opt may be NULL. */
int tpl_fit(const double *x, size_t m, const struct tpl_options *opt, double *work,
            struct tpl_fit *out, struct err *err);

/* The same, looking at every point of every tail, for tests. */
int tpl_fit_reference(const double *x, size_t m, const struct tpl_options *opt, double *work,
                      struct tpl_fit *out, struct err *err);

/* Fit the tail of n ascending values >= xmin > 0 for this xmin, which need not be one of them.
 * ERR_NUMERIC when all are equal. `work`: TPL_WORK(n). opt: compat and force only. O(n). */
int tpl_fit_at(const double *x, size_t n, double xmin, const struct tpl_options *opt, double *work,
               struct tpl_fit *out, struct err *err);

/* A fit's density and distribution, many values at a low price: tpl_prepare() once. */
struct tpl_law {
    double alpha, Lambda, xmin, log_xmin;
    double norm; /* e^z E_alpha(z) at z = Lambda xmin */
    struct expint order;
};
void tpl_prepare(struct tpl_law *law, double alpha, double Lambda, double xmin);
/* For x >= xmin. */
double tpl_log_density(const struct tpl_law *law, double x, double log_x);
double tpl_survival(const struct tpl_law *law, double x, double log_x);

/* What of a tail the likelihood depends on: means of ln(x/xmin) and of x/xmin - 1. */
struct tpl_means {
    double log_ratio, excess;
};

/* The maximum-likelihood alpha and theta = Lambda xmin for these means. *alpha and *theta are
 * where to start, if > 1 and > 0. False when there is none (no spread) or after 100 steps. */
bool tpl_solve(const struct tpl_means *mean, double *alpha, double *theta, enum tpl_edge *edge);

#endif
