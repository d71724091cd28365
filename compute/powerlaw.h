/* powerlaw.h: continuous power-law fit of an eigenvalue tail, rho(lambda) ~ lambda^-alpha.
 *
 * Definition: WeightWatcher 0.7.5.5, class WWFit (built-in fit "ww"). With x_0 <= ... <= x_{m-1}
 * the data above the threshold and every i = 0 ... m-2 a candidate xmin, duplicates included:
 *
 *     n_i     = m - i
 *     alpha_i = 1 + n_i / (sum_{k>=i} ln x_k - n_i ln x_i)
 *     D_i     = max_{j<n_i} |1 - (x_{i+j}/x_i)^(1-alpha_i) - j/n_i|   (1 when alpha_i <= 1)
 *
 * the fit is the first i with the smallest D_i; sigma = (alpha-1)/sqrt(n_i).
 * Clauset, Shalizi, Newman, SIAM Review 51 (2009) 661; but the empirical CDF is one-sided.
 */
#ifndef SPECTRALD_POWERLAW_H
#define SPECTRALD_POWERLAW_H

#include "common/err.h"

/* Part of every fit's cache key. */
#define POWERLAW_VERSION 1

/* Eigenvalues at or below this are left out of the fit (upstream's EVALS_THRESH, absolute). */
#define POWERLAW_THRESHOLD 1e-5

struct powerlaw_fit {
    double alpha;  /* may be +infinity when the largest values are all equal */
    double D;      /* Kolmogorov-Smirnov distance at xmin */
    double sigma;  /* standard error (alpha - 1) / sqrt(n_tail), xmin taken as known */
    double xmin;   /* start of the tail */
    double xmax;   /* largest value */
    size_t n_tail; /* n_i of the chosen candidate */
};

/* Fit `m` finite values > 0 in ascending order. O(m) for every alpha by suffix sums; the KS scan
 * of a candidate stops once it exceeds the best D so far, with an identical result.
 * ERR_NUMERIC when m < 2 ("too few"). `work` is scratch of 2*m doubles, the caller's. */
int powerlaw_fit(const double *x, size_t m, double *work, struct powerlaw_fit *out,
                 struct err *err);

/* The same with first <= i < end as the only candidates (end <= m - 1). ERR_NUMERIC also when there
 * are none. */
int powerlaw_fit_among(const double *x, size_t m, size_t first, size_t end, double *work,
                       struct powerlaw_fit *out, struct err *err);

/* The O(m^2) reference without early exit, for tests. */
int powerlaw_fit_reference(const double *x, size_t m, double *work, struct powerlaw_fit *out,
                           struct err *err);

#endif
