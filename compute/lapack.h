/* lapack.h: the few BLAS and LAPACK routines used, with 64-bit sizes. Private to compute/.
 *
 * The only place where sizes become 32-bit integers, behind checks. Column-major throughout.
 * Debian's LAPACKE is bypassed: the two-stage routines are not in it, and its row-major and
 * NaN-check wrappers copy or scan whole matrices.
 */
#ifndef SPECTRALD_LAPACK_H
#define SPECTRALD_LAPACK_H

#include "common/err.h"

/* G (lower triangle, n x n, leading dimension n) = beta G + X X' (trans false: X is n x k) or
 * X'X (trans true: X is k x n, leading dimension k). */
void blas_dsyrk(bool trans, size_t n, size_t k, const double *x, double beta, double *g);
void blas_ssyrk(bool trans, size_t n, size_t k, const float *x, float beta, float *g);

/* Tridiagonal form of the symmetric g (lower triangle; destroyed): d[n], e[n-1] (room for n).
 * One stage: dsytrd. Two stages: full -> band (dsytrd_sy2sb) -> tridiagonal (dsytrd_sb2st). */
int lapack_tridiagonal_one(size_t n, double *g, double *d, double *e, struct err *err);
int lapack_tridiagonal_two(size_t n, double *g, double *d, double *e, struct err *err);
int lapack_tridiagonal_one_f(size_t n, float *g, float *d, float *e, struct err *err);
int lapack_tridiagonal_two_f(size_t n, float *g, float *d, float *e, struct err *err);

/* Eigenvalues of the tridiagonal matrix, ascending, into d; e is destroyed (dsterf). */
int lapack_tridiagonal_values(size_t n, double *d, double *e, struct err *err);

/* R <- triangular factor of the QR factorisation of [R; B]: r upper triangular n x n, b k x n
 * (leading dimension k, destroyed). */
int lapack_qr_update(size_t n, size_t k, double *r, double *b, struct err *err);

/* Singular values of a (m x n, leading dimension m, destroyed), descending, into s[min(m,n)].
 * ERR_NUMERIC when dgesdd does not converge. */
int lapack_singular_values(size_t m, size_t n, double *a, double *s, struct err *err);

#endif
