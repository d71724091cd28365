/* marchenko_pastur.h: what the eigenvalues of pure noise look like, and what a spike looks like
 * beside them.
 *
 * W is N x M, N >= M, Q = N / M >= 1, its entries independent, of mean 0 and variance sigma^2. All
 * x here are eigenvalues of W'W / N, whose mean is sigma^2; those of W'W are N times as large.
 * For N, M -> infinity they lie between sigma^2 (1 -+ 1/sqrt Q)^2 (Marchenko, Pastur 1967); at
 * finite size the largest fluctuates by the Tracy-Widom law of real matrices (Johnstone, Ann.
 * Statist. 29 (2001) 295).
 */
#ifndef SPECTRALD_MARCHENKO_PASTUR_H
#define SPECTRALD_MARCHENKO_PASTUR_H

#include "common/base.h"

/* --- the law in the limit; q >= 1 and sigma > 0 always --------------------------------------- */

double mp_lower(double q, double sigma);
double mp_upper(double q, double sigma);

/* Density at x, 0 outside the edges; infinite at x = 0 for q = 1. */
double mp_density(double x, double q, double sigma);

/* Share of eigenvalues <= x, in closed form, to about 1e-15 q. */
double mp_cdf(double x, double q, double sigma);

/* The x below which the share p of all eigenvalues lies; 0 <= p <= 1. */
double mp_quantile(double p, double q, double sigma);

/* integral of sqrt(x) density(x) from x = lo to hi, for sigma = 1: the mean of the singular values
 * of W / sqrt N in that range, as a share of all. Limits beyond the edges are fine. */
double mp_mean_root(double lo, double hi, double q);

/* Density of the singular value t = sqrt(x) for q = 1: a quarter circle of radius 2 sigma. */
double quarter_circle_density(double t, double sigma);

/* --- the largest eigenvalue at finite size --------------------------------------------------- */

/* P(TW1 <= s), and its inverse for 1e-5 <= p <= 1 - 1e-10 (nearer to 0 or 1: as for the limit).
 * Interpolated in a table of the Fredholm determinant det(1 - Ai((x + y) / 2) / 2) on (s, infinity)
 * (Ferrari, Spohn, J. Phys. A 38 (2005) L557; quadrature of Bornemann, Math. Comp. 79 (2010) 871);
 * relative error of P and of 1 - P below 2e-5 for s > -6. */
double tracy_widom_cdf(double s);
double tracy_widom_quantile(double p);

/* Where the largest eigenvalue of noise lies: (x / sigma^2 - center) / width follows TW1 for large
 * N and M (Johnstone's theorem 1.1, in our units). n_long >= n_short >= 1. */
struct mp_top {
    double center, width;
};
struct mp_top mp_top(size_t n_long, size_t n_short);

/* The x that the largest eigenvalue of noise exceeds with probability 1 - level. With n_matrices
 * > 1: that any of so many does (kernel positions of a convolution). */
double mp_edge(size_t n_long, size_t n_short, double sigma, double level, size_t n_matrices);

/* --- spikes ---------------------------------------------------------------------------------- */

/* Noise of sigma = 1 plus a matrix of rank one and singular value s sqrt N. Its eigenvalue leaves
 * the bulk where s > Q^(-1/4) (Baik, Ben Arous, Peche 2005), and is then found at
 * (1/Q + s^2) (1 + 1/s^2), else at the edge. */
double mp_spike_least(double q);
double mp_spike_position(double s, double q);

/* The inverse: s^2 of a spike found at x, or NaN when x is not above the edge. */
double mp_spike_strength2(double x, double q);

#endif
