/* tsqr.h: R of a QR factorisation of a tall matrix that is read by lines. Private to compute/. */
#ifndef SPECTRALD_TSQR_H
#define SPECTRALD_TSQR_H

#include "compute/matrix.h"

/* R'R = W'W, R upper triangular (the rest zero), n_short x n_short, column-major, leading dimension
 * n_short. Reads `step` lines at a time, in double. Elements that are not finite spoil R: check
 * before, or look at the result. ERR_NOMEM and what reading says. */
int tsqr_factor(const struct matrix_source *src, size_t step, double *r, struct err *err);

#endif
