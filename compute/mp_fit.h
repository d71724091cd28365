/* mp_fit.h: how much of a spectrum is noise, and what stands out of it.
 *
 * Two fits of the Marchenko-Pastur law (marchenko_pastur.h) to the eigenvalues of W'W, or of all
 * slices of a convolution together:
 *
 * MP_FIT_UPSTREAM: WeightWatcher 0.7.5.5 mp_fit(). Eigenvalues scaled to mean 1, a triangular
 * kernel density (width 0.1) on 1000 points, sigma of least squares from a grid and a simplex
 * search. For q = 1 exactly it fits singular values to a quarter circle of fixed radius. The edge
 * has sqrt(TW) on top. Depends on the largest eigenvalue, through the grid.
 *
 * MP_FIT_ROBUST: sigma from the median, spikes above Tracy-Widom's edge; k spikes removed and the
 * rest fitted again, as noise of (N - k) x (M - k), while the bulk comes closer to the law. Zeros
 * are left out: a matrix with z dead columns is one of N x (M - z). In the end the mean of the bulk
 * gives sigma, where it agrees with the median.
 *
 * Either takes 1 to 3 ms for 4096 eigenvalues.
 */
#ifndef SPECTRALD_MP_FIT_H
#define SPECTRALD_MP_FIT_H

#include "common/err.h"

/* Part of every cache key: raise it when any result may differ in a bit. */
#define MP_FIT_VERSION 1

enum mp_fit_method { MP_FIT_ROBUST = 0, MP_FIT_UPSTREAM = 1, MP_FIT_METHOD_COUNT };
/* "robust", "upstream"; NULL for an unknown value. */
const char *mp_fit_method_name(enum mp_fit_method m);

/* Eigenvalues at or below this share of the largest are zero: a singular value of 1e-5. */
#define MP_FIT_ZERO 1e-10

struct mp_fit_options {
    enum mp_fit_method method;
    double level;    /* of the robust edge: noise stays below it with this probability. 0 = 0.999 */
    unsigned rounds; /* robust: at most so many; 1 = the median of all and no more. 0 = 30 */
};

/* In units of the eigenvalues given, unless said otherwise. */
struct mp_fit {
    enum mp_fit_method method;
    double sigma;    /* column sigma_mp: standard deviation of the noise in units of the root mean
                      * square entry, so 1 for pure noise */
    double w_scale;  /* W_scale: sqrt(n / sum of eigenvalues) */
    double bulk_min; /* bulk_min, bulk_max: edges of the law in the limit */
    double bulk_max;
    double edge;        /* what lies above is a spike: bulk_max and room for fluctuation */
    double far_edge;    /* what lies above is clearly apart: edge + 3 Tracy-Widom widths */
    double softrank;    /* mp_softrank: bulk_max / largest */
    double noise_share; /* sigma^2: share of the noise in the mean eigenvalue; above 1 where there
                         * are zeros. Small where a heavy tail leaves no bulk worth the name */
    double distance; /* between the bulk (zero < x <= edge) and the law: greatest difference of the
                      * distribution functions. Eigenvalues of noise repel each other, so it is
                      * 1.5 / num_bulk to 3 / num_bulk for noise and hardly ever more than 6 /
                      * num_bulk; 1 when the bulk is empty. What a heavy tail leaves below the
                      * edge may be near the law too: see noise_share and num_spikes */
    size_t num_spikes; /* num_spikes: eigenvalues above edge */
    size_t num_far;    /* eigenvalues above far_edge */
    size_t num_zero;   /* left out as zeros; 0 for MP_FIT_UPSTREAM */
    size_t num_bulk;   /* the others */
    unsigned rounds;   /* robust: how often the median was taken */
};

/* Fit n eigenvalues, ascending, finite and >= 0, of n / n_short matrices of n_long x n_short each
 * (n_long >= n_short >= 1; n need not be a multiple). `work`: scratch of n doubles, the caller's.
 * ERR_INVALID: bad arguments. ERR_NUMERIC: no fit, because fewer than two eigenvalues are not zero
 * (upstream shows -1 in all six columns). */
int mp_fit(const double *lambda, size_t n, size_t n_long, size_t n_short,
           const struct mp_fit_options *opt, double *work, struct mp_fit *out, struct err *err);

#endif
