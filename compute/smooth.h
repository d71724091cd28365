/* smooth.h: how many singular values of a layer are kept or removed when it is smoothed.
 *
 * WeightWatcher 0.7.5.5, SVDSmoothing and SVDSharpness. k is counted over all slices of a
 * convolution together, on eigenvalues that are not scaled; each slice then keeps or loses
 * ceil(k / n_slices) (smooth_per_slice()). What is done then: truncated_svd.h, not upstream's
 * randomised SVD. Differences: where a fit fails the layer stays as it is (upstream takes the -1
 * that it shows for "remove one", or collapses the layer to rank 1); shuffles have a seed, and as
 * many replicates as randomize_replicas() says unless `compat`.
 */
#ifndef SPECTRALD_SMOOTH_H
#define SPECTRALD_SMOOTH_H

#include "compute/matrix.h"
#include "compute/truncated_svd.h"

/* Part of every cache key: raise it when any result may differ in a bit. */
#define SMOOTH_VERSION 1

/* Append-only. */
enum smooth_method {
    SMOOTH_SVD = 0,   /* keep a number or a share of all; negative: remove */
    SMOOTH_DETX,      /* keep erg.h's tail */
    SMOOTH_ALPHA_MIN, /* keep the power law's tail: num_pl_spikes of layer_metrics.h */
    SMOOTH_RMT,       /* keep what lies above the Marchenko-Pastur edge: num_spikes of mp_fit.h */
    SMOOTH_SHARPNESS, /* remove as many of the largest as shuffled weights have spikes */
    SMOOTH_METHOD_COUNT
};
/* "svd", "detX", "alpha_min", "rmt", "sharpness"; NULL for an unknown value. */
const char *smooth_method_name(enum smooth_method m);

struct smooth_options {
    enum smooth_method method;
    double percent; /* SMOOTH_SVD with k = 0: this share of all; -1 ... 1, not 0 */
    int64_t k;      /* SMOOTH_SVD: so many; negative: remove them */
    bool compat;    /* WeightWatcher's fits: upstream's MP fit and product, one shuffle */
    bool wide;      /* SMOOTH_SHARPNESS: elements do not fit single precision */
    uint64_t seed;  /* SMOOTH_SHARPNESS: of the shuffles */
};

/* Why a layer stays as it is. Append-only. */
enum smooth_reason {
    SMOOTHED = 0,
    SMOOTH_NON_FINITE,    /* NaN or infinite elements */
    SMOOTH_ZERO,          /* all are zero */
    SMOOTH_NO_FIT,        /* k comes from a fit, and there is none */
    SMOOTH_NOTHING,       /* k = 0, or all are kept */
    SMOOTH_NOT_CONVERGED, /* the eigenvectors */
    SMOOTH_OVERFLOW,      /* the result does not fit the dtype */
    SMOOTH_REASON_COUNT
};
/* "", "non_finite", "zero_matrix", "no_fit", "nothing_to_do", "not_converged", "overflow"; NULL. */
const char *smooth_reason_name(enum smooth_reason r);

struct smooth_choice {
    enum smooth_reason reason; /* never SMOOTH_OVERFLOW */
    enum truncation how;
    uint64_t k;    /* of all slices; 0 where `reason` */
    uint64_t rank; /* of all slices: matrix_rank of layer_metrics.h; 0 where it is not known */
};

/* Choose for n_slices >= 1 matrices of the same shape. Cost: a spectrum (spectrum.h), or several
 * with SMOOTH_SHARPNESS. ERR_INVALID: bad options. ERR_NOMEM, ERR_LIMIT, and errors of reading. */
int smooth_choose(const struct matrix_source *slice, size_t n_slices,
                  const struct smooth_options *opt, struct smooth_choice *out, struct err *err);

/* ceil(k / n_slices), at most n_short. */
size_t smooth_per_slice(uint64_t k, size_t n_slices, size_t n_short);

#endif
