/* gram_vectors.h: some or all eigenvectors of W'W: the singular vectors of W on its short side.
 *
 * From the Gram matrix in double and LAPACK's dsyevr. Its eigenvalues are exact to about
 * 4 sqrt(n) 2.2e-16 of the largest, as in spectrum.h, and a vector's direction to that over its
 * eigenvalue's distance from the next: vectors of a singular value below 1e-8 of the largest mean
 * nothing one by one (the space they span together does).
 */
#ifndef SPECTRALD_GRAM_VECTORS_H
#define SPECTRALD_GRAM_VECTORS_H

#include "compute/matrix.h"

struct gram_vectors {
    size_t n;       /* length of a vector: n_short */
    size_t first;   /* index, ascending, of the first eigenvalue here */
    size_t count;   /* of eigenvalues and vectors here */
    double *lambda; /* ascending, never negative */
    double *v;      /* n x count, column-major, unit columns; their signs mean nothing */
    double trace;   /* sum of all n eigenvalues */
};

/* Eigenpairs [first, first + count) of W'W in ascending order; the k largest are {n - k, k}.
 * 4/3 n^3 + n^2 n_long flops and 2 n^2 count more; in time about two spectra (spectrum.h) of the
 * same matrix for a few vectors, four for all. Memory: 8
 * n (n + count) bytes and blocks of lines. ERR_INVALID: not 0 < count <= n - first. ERR_LIMIT,
 * ERR_NOMEM as spectrum_gram_part(). ERR_NUMERIC: elements, or their squares, not finite,
 * or no convergence; squares that vanish (elements below 1e-140) lose digits.
 * gram_vectors_free() what is in *out. */
int gram_vectors(const struct matrix_source *src, size_t first, size_t count,
                 struct gram_vectors *out, struct err *err);

/* Free what it points to; all zero is fine. */
void gram_vectors_free(struct gram_vectors *g);

/* Peak memory of gram_vectors() in bytes. */
double gram_vectors_bytes(size_t n_short, size_t count);

#endif
