/* npy.h: NumPy's file format, version 1.0, for one vector of doubles. */
#ifndef SPECTRALD_NPY_H
#define SPECTRALD_NPY_H

#include "common/buf.h"

/* Header ('<f8', shape (n,)) and the numbers. */
void npy_write(const double *x, size_t n, struct buf *out);

#endif
