/* hill.h: exponents of an eigenvalue density by Hill's estimator, with four rules for where the
 * tail starts. Scale and metrics of whole layers: layer_metrics.h.
 *
 * With x_0 <= ... <= x_{n-1} and a tail that starts at i, n_i = n - i:
 *
 *     alpha(i) = 1 + n_i / (sum_{j>=i} ln x_j - n_i ln x_i)
 *     D(i)     = max_{k<n_i} |1 - (x_{i+k}/x_i)^(1-alpha(i)) - k/n_i|
 *
 * The tail's first value counts, as in the code of the papers (Hill's k of the text would leave it
 * out). Sources: AlphaPruning (arXiv 2410.10912) lib/esd_utils.py, TempBalance tempbalance.py,
 * FARMS (arXiv 2506.06280) lib/esd_utils.py; HILL_TOP: AlphaQ (arXiv 2606.04980) utils_alpha.py.
 */
#ifndef SPECTRALD_HILL_H
#define SPECTRALD_HILL_H

#include "common/err.h"

enum hill_rule {
    HILL_MID,           /* "xmin_mid": i = n / 2. Scale-invariant, continuous in the data */
    HILL_PEAK_UPSTREAM, /* "xmin_peak" as published: see HILL_PEAK_LINEAR, but values are compared
                         * with log10(0.95 xp) below. Depends on the unit of x; for xp <= 1.05
                         * there is no lower bound */
    HILL_PEAK_LINEAR,   /* "xmin_peak" as meant: xp = left edge of the fullest of 100 bins of
                         * log10 x; the tail starts where D is least among 0.95 xp <= x_i <= 1.5 xp,
                         * i <= n - 2 */
    HILL_KS,            /* "ks": least D of all i <= n - 2 (powerlaw.h) */
    HILL_TOP,           /* the largest k = max(10, n / 10) values, at most n - 1, over x_{n-k-1};
                         * without D */
};

enum hill_status {
    HILL_OK = 0,
    HILL_TOO_FEW = 1,      /* fewer than two values above zero */
    HILL_ALL_EQUAL = 2,    /* no spread in the tail: the exponent would be infinite */
    HILL_NO_CANDIDATE = 3, /* no value lies where the tail may start */
};
/* "ok", "too_few", "all_equal", "no_candidate"; NULL if unknown. */
const char *hill_status_name(enum hill_status s);

struct hill_fit {
    enum hill_status status;
    double alpha, D; /* NaN unless HILL_OK */
    double xmin;     /* x_i, or NaN */
    size_t first;    /* i, counted without the zeros left out */
    size_t n_zero;   /* smallest values that were left out */
};

/* How many of the smallest values of an ascending spectrum count as zero: those at or below
 * eps * n * x_{n-1}, where eps is the precision of the eigenvalues (DBL_EPSILON; FLT_EPSILON for
 * spectra computed in single). n when the spectrum is zero. 0 for eps = 0 unless values are 0. */
size_t hill_zeros(const double *x, size_t n, double eps);

/* Left edge of the first of the fullest of 100 equal bins of log10 x: the peak of HILL_PEAK_*. x >
 * 0, ascending, log10 x not all equal. */
double hill_peak(const double *x, size_t n);

/* Where the tail starts for HILL_MID, as published: at i = n / pos, so that a larger pos takes more
 * of the spectrum (TempBalance: xmin_pos = 2; ModelBalancing: 1.5). `paper`: exponents as in the
 * text of the paper, with the value below the tail as threshold:
 * alpha = 1 + n_i / sum_{j>=i} ln(x_j / x_{i-1}). D is as ever. */
struct hill_start {
    double pos; /* above 1, at most HILL_POS_MAX */
    bool paper;
};
#define HILL_POS_MAX 1e6

/* hill_fit() with HILL_MID from another start; {2, false} is the same. eps < 0 keeps all values, as
 * upstream: zeros count in n, and a tail that starts at one has no exponent (HILL_ALL_EQUAL).
 * ERR_INVALID also for a pos out of range. */
int hill_fit_from(const double *x, size_t n, const struct hill_start *start, double eps,
                  struct hill_fit *out, struct err *err);

/* Fit the n ascending, finite values >= 0 of x, without the smallest ones that are zero in the
 * sense of hill_zeros(). `work`: scratch of 2 n doubles, the caller's. Returns 0 also when there is
 * no exponent (out->status); ERR_INVALID when x is not finite, negative or not ascending.
 * O(n), but the scans of HILL_PEAK_* and HILL_KS: O(n) for each candidate that is not dropped early
 * (powerlaw.c), with the result of the full scan. */
int hill_fit(const double *x, size_t n, enum hill_rule rule, double eps, double *work,
             struct hill_fit *out, struct err *err);

#endif
