/* symmetric.h: all eigenvalues of a full positive semi-definite matrix, without eigenvectors.
 *
 * 4/3 n^3 flops. One stage is LAPACK's dsytrd; two stages are full -> band -> tridiagonal, faster
 * for all but small matrices because nearly everything is matrix products then.
 */
#ifndef SPECTRALD_SYMMETRIC_H
#define SPECTRALD_SYMMETRIC_H

#include "common/err.h"

/* Whether two stages are the faster way for this order, in double. */
bool symmetric_two_stage_pays(size_t n);

/* Eigenvalues of the n x n matrix in the lower triangle of a (column-major, leading dimension
 * ld, destroyed), ascending, into lambda. Entries must be finite. Rounding may leave eigenvalues
 * slightly negative. Scaled by a power of two when needed, so no square of an entry overflows or
 * vanishes. Single precision: one stage, and the second of two, are done in double all the same.
 * On failure lambda is undefined. ERR_NOMEM, ERR_NUMERIC. */
int symmetric_eigenvalues_double(double *a, size_t n, size_t ld, bool two_stage, double *lambda,
                                 struct err *err);
int symmetric_eigenvalues_single(float *a, size_t n, size_t ld, bool two_stage, double *lambda,
                                 struct err *err);

/* Likewise the tridiagonal matrix (d, e; n elements each) with these eigenvalues times 2^*exponent.
 */
int symmetric_tridiagonal_double(double *a, size_t n, size_t ld, bool two_stage, double *d,
                                 double *e, int *exponent, struct err *err);
int symmetric_tridiagonal_single(float *a, size_t n, size_t ld, bool two_stage, double *d,
                                 double *e, int *exponent, struct err *err);

/* Scratch in bytes, for double. */
double symmetric_bytes(size_t n);

#endif
