/* full_to_band.h: orthogonal reduction of a full symmetric matrix to a band.
 *
 * 4/3 n^3 flops, nearly all in matrix products. The result is always in double: the second stage
 * is cheap, and single precision loses nothing more there.
 */
#ifndef SPECTRALD_FULL_TO_BAND_H
#define SPECTRALD_FULL_TO_BAND_H

#include "common/err.h"

struct band; /* compute/band.h */

/* Reduce a (n x n, column-major with leading dimension ld, lower triangle used, destroyed) to
 * `band`: a zero matrix of the same order, whose width decides. Scratch of about
 * 4 n width elements. ERR_NOMEM. */
int full_to_band_double(double *a, size_t n, size_t ld, struct band *band, struct err *err);
int full_to_band_single(float *a, size_t n, size_t ld, struct band *band, struct err *err);

#endif
