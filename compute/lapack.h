/* lapack.h: what all callers of BLAS and LAPACK here share. Private to compute/.
 *
 * BLAS through <cblas.h>, LAPACK through the LAPACKE_..._work functions, always column-major:
 * those take the caller's workspace, copy nothing, skip LAPACKE's NaN scan (the weights were
 * checked when they were decoded) and hide the string lengths of Fortran prototypes.
 */
#ifndef SPECTRALD_LAPACK_H
#define SPECTRALD_LAPACK_H

#include "common/err.h"

#include <cblas.h>
#include <lapacke.h>

/* A size as BLAS and LAPACK want it: the only narrowing. Callers have limited it before
 * (SPECTRUM_N_MAX, lines of a block), so a larger one is a bug here. */
static inline lapack_int lapack_size(size_t n)
{
    ASSERT(n <= INT32_MAX);
    return (lapack_int)n;
}

/* Eigenvalues, ascending, of the symmetric tridiagonal matrix (d, e), into d; e is destroyed.
 * ERR_NUMERIC when the iteration does not converge. */
int lapack_tridiagonal_eigenvalues(size_t n, double *d, double *e, struct err *err);

/* R <- triangular factor of the QR factorisation of [R; B]: r upper triangular n x n, b k x n
 * (leading dimension k, destroyed). ERR_NOMEM. */
int lapack_qr_update(size_t n, size_t k, double *r, double *b, struct err *err);

/* Singular values, descending, of the n x n matrix a (column-major, leading dimension n,
 * destroyed), by dgesdd. ERR_NOMEM, ERR_NUMERIC when it does not converge. */
int lapack_singular_values(size_t n, double *a, double *sigma, struct err *err);

#endif
