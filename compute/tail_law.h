/* tail_law.h: the distributions that a tail is held against, fitted at a given xmin by maximum
 * likelihood. All live on x >= xmin.
 *
 *   TAIL_POWER_LAW    p = (alpha-1)/xmin (x/xmin)^-alpha                              alpha
 *   TAIL_TRUNCATED    tpl.h                                                           alpha, Lambda
 *   TAIL_EXPONENTIAL  p = Lambda e^(-Lambda (x - xmin))                               Lambda
 *   TAIL_STRETCHED    p = beta Lambda (Lambda x)^(beta-1) e^((Lambda xmin)^beta - (Lambda x)^beta)
 *                                                                                     Lambda, beta
 *   TAIL_LOGNORMAL    ln x normal (mu, sigma), given x >= xmin                        mu, sigma
 *
 * Clauset, Shalizi, Newman, SIAM Review 51 (2009) 661, table 2.1. The power law is a limit of the
 * last two (beta -> 0; mu -> -infinity): where the logarithms of the tail scatter at least as
 * widely as an exponential distribution's (mean square >= 2 mean^2) the likelihood rises all the
 * way there, there are no best parameters, and `is_limit` is set. Otherwise the maximum is found to
 * full precision: each is one equation in one unknown.
 *
 * `compat` is powerlaw 1.5's search (simplex.h) from its starting points, stopped at 1e-4, which
 * ends anywhere on the way to the limit.
 */
#ifndef SPECTRALD_TAIL_LAW_H
#define SPECTRALD_TAIL_LAW_H

#include "compute/tpl.h"

enum tail_law_kind {
    TAIL_POWER_LAW,
    TAIL_TRUNCATED,
    TAIL_EXPONENTIAL,
    TAIL_STRETCHED,
    TAIL_LOGNORMAL,
    TAIL_LAW_COUNT
};
/* powerlaw's names: "power_law", "truncated_power_law", "exponential", "stretched_exponential",
 * "lognormal"; NULL if unknown. */
const char *tail_law_name(enum tail_law_kind k);

struct tail_law {
    enum tail_law_kind kind;
    double par[2]; /* in the order of the table above; NaN where there are fewer, or is_limit */
    double c;      /* stretched: (Lambda xmin)^beta, also where Lambda is too large for a double */
    double xmin;
    double log_likelihood; /* of the tail */
    double D;              /* tail_ks(); NaN when the distribution cannot be evaluated */
    size_t n_tail;
    bool is_limit; /* the power law `limit_alpha` */
    double limit_alpha;
};

/* Doubles of scratch for a tail of n values. */
#define TAIL_LAW_WORK(n) TPL_WORK(n)

/* Fit the tail of n finite, ascending values >= xmin > 0. ERR_INVALID for bad values; ERR_NUMERIC
 * when fewer than two of them are distinct, or a search failed. O(n) for each step of a search, at
 * most 100 (compat: 400) of them. */
int tail_law_fit(enum tail_law_kind kind, const double *x, size_t n, double xmin, bool compat,
                 double *work, struct tail_law *out, struct err *err);

/* Log-density at each of n values >= xmin, into out. */
void tail_law_log_density(const struct tail_law *law, const double *x, size_t n, double *out);

#endif
