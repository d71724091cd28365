/* low_rank.h: spectra of products, and matrices that are sums: adapters (LoRA), deltas from a base
 * model, products of neighbouring layers. None is ever formed whole.
 */
#ifndef SPECTRALD_LOW_RANK_H
#define SPECTRALD_LOW_RANK_H

#include "compute/spectrum.h"

/* Part of every cache key: raise it when any result may differ in a bit. */
#define LOW_RANK_VERSION 1

/* --- the spectrum of X = scale L R' ---------------------------------------------------------- */

/* One factor, N x M in its source, with the dimension both share: of length M when it runs within a
 * line (`shared_in_line`), else N, the number of lines. A LoRA adapter W = s B A of rank r: B (rows
 * x r) and A' (cols x r), both with r within the line. For a square factor too `shared_in_line`
 * says which dimension is meant. */
struct product_factor {
    const struct matrix_source *src;
    bool shared_in_line;
};

struct product_options {
    double scale;   /* alpha / r of an adapter; else 1. 0 is fine: all is zero */
    bool normalise; /* divide by the Frobenius norms of both, as WeightWatcher's intra-layer
                     * products (0.7.5.5, sparsify = False) */
    bool sparsify;  /* L S R' / (|L| |R| + sqrt |S|), S of fair zeros and ones, shared x shared: as
                     * there by default, but from `seed`. Includes normalise. Keeps all of the right
                     * factor in memory, and takes 2 shared^2 n_short flops */
    uint64_t seed;
};

struct product_info {
    struct spectrum_info spectrum; /* error_bound as for any spectrum; method of the small matrix */
    double norm_left, norm_right;  /* Frobenius norms */
};

/* How many eigenvalues product_spectrum() gives: the least of both outer dimensions and the shared
 * one. What X has beyond is zero. 0 when the shared dimensions differ. */
size_t product_count(const struct product_factor *left, const struct product_factor *right);

/* The product_count() largest eigenvalues of X'X, ascending. (Upstream's `evals` of a product are
 * singular values, the square roots.) A factor whose shared dimension is the shorter goes through a
 * QR factorisation, the other is streamed; what is solved has at most product_max() rows and
 * columns. Singular values are exact to about 1e-15 sqrt(n) |L| |R|. Memory: that matrix three
 * times. ERR_INVALID: shared dimensions differ. ERR_LIMIT, ERR_NOMEM, ERR_NUMERIC: elements that
 * are not finite, norms of zero with `normalise`, no convergence. */
int product_spectrum(const struct product_factor *left, const struct product_factor *right,
                     const struct product_options *opt, double *lambda, struct product_info *info,
                     struct err *err);

/* Rows or columns, whichever are more, of the matrix that is solved. */
size_t product_max(const struct product_factor *left, const struct product_factor *right);

/* --- sums, as sources ------------------------------------------------------------------------ */

/* W + scale B A. B is rows x rank and A rank x cols, both row-major; W is rows x cols as stored.
 * Everything is borrowed. */
struct low_rank_sum {
    const struct matrix_source *base; /* NULL: B A alone */
    const double *b, *a;
    size_t rows, cols, rank;
    double scale;
};

/* As a source that adds as it reads: lines are rows when rows >= cols, else columns. 2 rank flops
 * for each element read. ERR_INVALID when the base has another shape. `sum` must outlive *out. */
int low_rank_source(struct low_rank_sum *sum, struct matrix_source *out, struct err *err);

/* W - base, two matrices of the same shape whose lines mean the same. */
struct matrix_difference {
    const struct matrix_source *w, *base;
};
int difference_source(struct matrix_difference *d, struct matrix_source *out, struct err *err);

#endif
