/* tridiagonal.h: eigenvalues of several symmetric tridiagonal matrices at once.
 *
 * QL without square roots (Pal, Walker, Kahan; Parlett, "The Symmetric Eigenvalue Problem", 8.15),
 * the algorithm of LAPACK's dsterf. Its inner loop waits for divisions, each of which needs the one
 * before. Here every lane of a vector is a matrix of its own, so TRIDIAGONAL_LANES matrices take
 * little longer than one.
 */
#ifndef SPECTRALD_TRIDIAGONAL_H
#define SPECTRALD_TRIDIAGONAL_H

#include "common/err.h"

/* Matrices that are solved side by side. */
#define TRIDIAGONAL_LANES 8

/* Eigenvalues, ascending, of `count` matrices of order n, in place of their diagonals: matrix k
 * has the diagonal d[k n ...] and the sub-diagonal e[k n ...] (n - 1 of n elements; destroyed).
 * Entries finite, squares of what matters within the range of double. Each result depends on its
 * own matrix alone. |error| is a small multiple of eps times the norm. ERR_NUMERIC when an
 * iteration does not converge, ERR_NOMEM. */
int tridiagonal_eigenvalues(size_t n, size_t count, double *d, double *e, struct err *err);

/* Scratch in bytes. */
double tridiagonal_bytes(size_t n);

#endif
