/* spectrum.h: all eigenvalues of W'W for one matrix W (the empirical spectral density).
 *
 * Default path: Gram matrix G = sum of line blocks on the short side (BLAS dsyrk), reduced to
 * tridiagonal form (two stages for n >= 512: full -> band -> tridiagonal; one stage below),
 * eigenvalues by the Pal-Walker-Kahan QR iteration (dsterf). Values only, one thread.
 * Error of every eigenvalue: |d lambda| <= error_bound (absolute). Eigenvalues below that bound
 * are not resolved; when any is, and precision is double, the matrix is redone by TSQR over line
 * blocks and an SVD of the triangular factor, whose bound is relative to sigma instead.
 * All functions are re-entrant, use no globals and no threads of their own.
 */
#ifndef SPECTRALD_SPECTRUM_H
#define SPECTRALD_SPECTRUM_H

#include "compute/matrix.h"

/* Part of every cache key: raise it when any result may differ in a bit. */
#define SPECTRUM_VERSION 3

/* LAPACK here has 32-bit indices: a longer short side is refused with ERR_LIMIT. */
#define SPECTRUM_N_MAX 46340

enum spectrum_method {
    SPECTRUM_NONE = 0,
    SPECTRUM_GRAM_ONE_STAGE = 1, /* dsyrk + dsytrd + dsterf */
    SPECTRUM_GRAM_TWO_STAGE = 2, /* dsyrk + full_to_band.h + band.h + dsterf */
    SPECTRUM_TSQR_SVD = 3,       /* QR of line blocks, then SVD of R */
    SPECTRUM_METHOD_COUNT
};

/* "gram_one_stage", "gram_two_stage", "tsqr_svd"; NULL for an unknown value. */
const char *spectrum_method_name(enum spectrum_method m);

struct spectrum_options {
    enum precision precision;
    enum spectrum_method force; /* SPECTRUM_NONE = choose; for tests: force one method */
};

struct spectrum_info {
    enum spectrum_method method;
    enum precision precision;
    double error_bound;   /* absolute bound on each eigenvalue, same unit as lambda */
    uint64_t n_nonfinite; /* NaN and infinite weights met; when > 0, lambda is not written */
    double sum;           /* of all weights; not by spectrum_from_gram(), which does not see them */
};

/* Eigenvalues of W'W, ascending, n_short of them, never negative, into lambda (caller's).
 * With n_nonfinite > 0 in *info returns 0 and leaves lambda untouched.
 * ERR_LIMIT: n_short > SPECTRUM_N_MAX. ERR_NOMEM. ERR_NUMERIC: LAPACK did not converge.
 * Memory: n^2 elements plus blocks of at most 64 MB; 2 n^2 when TSQR is needed. */
int spectrum_compute(const struct matrix_source *src, const struct spectrum_options *opt,
                     double *lambda, struct spectrum_info *info, struct err *err);

/* --- the same in pieces, for matrices that several workers share ------------------------- */

/* How many line ranges a matrix is cut into: a function of the shape alone, so that results do
 * not depend on the number of workers. 1 for all but very large matrices; at most
 * SPECTRUM_PARTS_MAX. */
#define SPECTRUM_PARTS_MAX 8
size_t spectrum_parts(size_t n_long, size_t n_short);

/* Lines of part `part` of `parts`: first line in *first, number in *count. */
void spectrum_part_range(size_t n_long, size_t parts, size_t part, size_t *first, size_t *count);

/* Leading dimension of a Gram matrix of order n in this header; it has n * ld elements. More than n
 * where columns a power of two apart would share the same few cache sets. */
size_t spectrum_gram_ld(size_t n);

/* Gram matrix of one line range: g (n_short * spectrum_gram_ld(n_short) doubles, column-major,
 * lower triangle; all zero on entry, the rest stays zero). Always in double. Adds the sum of these
 * weights to *sum: the sums of the parts, added in order, are what spectrum_compute() has. */
int spectrum_gram_part(const struct matrix_source *src, size_t first, size_t count, double *g,
                       double *sum, uint64_t *n_nonfinite, struct err *err);

/* g += part, both of order n. Adding the parts in order to the first gives the sum that
 * spectrum_compute() forms. */
void spectrum_add_part(double *g, const double *part, size_t n);

/* Finish from the sum of the parts' Gram matrices, g (destroyed). `src` is needed for the TSQR
 * fall-back only. Bitwise the same as spectrum_compute() on the same matrix when the parts are
 * those of spectrum_parts(). */
int spectrum_from_gram(double *g, const struct matrix_source *src,
                       const struct spectrum_options *opt, double *lambda,
                       struct spectrum_info *info, struct err *err);

/* Estimates for the scheduler: floating-point operations n^2 m + 4/3 n^3, and peak bytes. */
double spectrum_flops(size_t n_long, size_t n_short);
double spectrum_bytes(size_t n_long, size_t n_short);

/* Name of the BLAS kernel in use ("SkylakeX") and library version/configuration string.
 * Borrowed, static. */
const char *spectrum_blas_core(void);
const char *spectrum_blas_config(void);

#endif
