/* panel_multiply.h: a symmetric matrix times a panel of a few columns. */
#ifndef SPECTRALD_PANEL_MULTIPLY_H
#define SPECTRALD_PANEL_MULTIPLY_H

#include <stddef.h>

/* Panels have this many rows, rounded up ... */
#define PANEL_ROWS 48
/* ... and this many elements in a row, rounded up. */
#define PANEL_STEP 32

/* y = a x. a: m x m, column-major with leading dimension lda, lower triangle used. x, y: row i at
 * x + i * ldx, `width` elements (a multiple of PANEL_STEP); the number of rows is m rounded up to
 * PANEL_ROWS. The rows of x from m on must be finite, those of y are overwritten. */
void panel_multiply_double(const double *a, size_t lda, size_t m, size_t width, const double *x,
                           size_t ldx, double *y, size_t ldy);
void panel_multiply_single(const float *a, size_t lda, size_t m, size_t width, const float *x,
                           size_t ldx, float *y, size_t ldy);

#endif
