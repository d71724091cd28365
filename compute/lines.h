/* lines.h: lines of a matrix_source one after the other, in double, however it gives them. Private
 * to compute/. */
#ifndef SPECTRALD_LINES_H
#define SPECTRALD_LINES_H

#include "compute/matrix.h"

/* A sensible number of lines to read at once: 4 MB of them, at most 512. */
size_t lines_at_once(size_t n_short);

/* Lines [first, first + count), each n_short doubles, into out. `scratch` is as large as `out` and
 * may be NULL when src->order is BLOCK_LINES_CONTIGUOUS. */
int lines_read(const struct matrix_source *src, size_t first, size_t count, double *out,
               double *scratch, uint64_t *n_nonfinite, struct err *err);

/* count x n_short elements, contiguous lines -> as `order` and `precision` want them. */
void lines_store(const double *lines, size_t count, size_t n_short, enum block_order order,
                 enum precision precision, void *out);

#endif
