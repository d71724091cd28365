/* rank_correlation.h: do two lists put the same things in the same order?
 *
 * Both coefficients lie between -1 (reversed) and 1 (the same order), need no scale and count ties:
 *
 *   Spearman's rho: the linear correlation of ranks; equal values share the mean of their ranks.
 *
 *   Kendall's tau-b: (concordant - discordant) / sqrt((p - p_x)(p - p_y)), p = n (n - 1) / 2 pairs,
 *   p_x and p_y of them tied in x and in y (M. G. Kendall, Biometrika 33, 1945).
 */
#ifndef SPECTRALD_RANK_CORRELATION_H
#define SPECTRALD_RANK_CORRELATION_H

#include "common/err.h"

struct rank_correlation {
    double spearman, kendall; /* NaN: n < 2, or all values of a list are equal */
};

/* Of x[n] and y[n], finite. O(n log n) (W. R. Knight, J. Am. Stat. Assoc. 61, 1966).
 * ERR_INVALID: a value is not finite; ERR_NOMEM. */
int rank_correlation(const double *x, const double *y, size_t n, struct rank_correlation *out,
                     struct err *err);

#endif
