/* vuong.h: which of two distributions the tail speaks for, and which of five describes it best.
 *
 * Vuong, Econometrica 57 (1989) 307, as in Clauset, Shalizi, Newman, SIAM Review 51 (2009) 661,
 * appendix C: with l_i the differences of log-density of the n values of the tail,
 *
 *     R = sum l_i / (sqrt(n) s),  s^2 = mean (l_i - mean l)^2,  p = erfc(|R| / sqrt 2);
 *
 * p is how often |R| is as large when neither is closer to the truth. R > 0 speaks for the first.
 * Where one family contains the other (power law and truncated power law; exponential and
 * stretched exponential) 2 sum l_i is chi-square with one degree of freedom, p = erfc(sqrt |sum|).
 * The power law lies on the edge of the truncated ones (Lambda >= 0), where 2 sum l_i is zero half
 * of the time: the default halves p (Self, Liang, JASA 82 (1987) 605); `compat` does not, as
 * powerlaw 1.5.
 */
#ifndef SPECTRALD_VUONG_H
#define SPECTRALD_VUONG_H

#include "compute/tail_law.h"

struct vuong {
    double R;   /* normalised; 0 when the two are the same on this tail */
    double sum; /* log-likelihood ratio */
    double p;
    bool nested;
};

/* Compare two laws of the same tail of n values. `work`: 2 n doubles. */
struct vuong vuong_compare(const struct tail_law *first, const struct tail_law *second,
                           const double *x, size_t n, bool compat, double *work);

/* Log-likelihoods of the five laws, their comparisons, and the choice of WeightWatcher 0.7.5.5
 * (RMT_Util.best_dist, on powerlaw 1.5): the truncated power law replaces the power law when R > 0
 * and p <= level; then the first of exponential, stretched exponential and lognormal against which
 * R < 0 and p <= level. */
struct best_fit {
    struct tail_law law[TAIL_LAW_COUNT];
    bool has[TAIL_LAW_COUNT];           /* false: could not be fitted, and was passed over */
    struct vuong vs_pl[TAIL_LAW_COUNT]; /* power law (first) against each; itself: R = 0, p = 1 */
    struct vuong
        vs_best_pl[TAIL_LAW_COUNT]; /* the truncated law, where it replaced the power law */
    bool truncated;                 /* it did */
    enum tail_law_kind best;
};

#define BEST_FIT_LEVEL 0.05

/* Doubles of scratch for a tail of n values. */
#define BEST_FIT_WORK(n) TAIL_LAW_WORK(n)

/* Fit and compare all at the given xmin; x as in tail_law_fit(). Fails when the power law does. */
int best_fit(const double *x, size_t n, double xmin, bool compat, double level, double *work,
             struct best_fit *out, struct err *err);

/* WeightWatcher's short names: "PL", "TPL", "EXP", "S_EXP", "LOG_N". */
const char *best_fit_name(enum tail_law_kind k);

#endif
