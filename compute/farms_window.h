/* farms_window.h: eigenvalues of a row of windows that share a Gram matrix. Private to compute/.
 *
 * Lines are the vectors between which the Gram matrix is taken: rows or columns of the stored
 * matrix, all of the same `length`. Window w has the `order` lines from start[w] on, start
 * ascending; its Gram matrix is that of the window before, moved up and left, plus the products
 * with the new lines.
 */
#ifndef SPECTRALD_FARMS_WINDOW_H
#define SPECTRALD_FARMS_WINDOW_H

#include "compute/farms.h"

struct farms_strip {
    const struct farms_source *src;
    size_t slice;
    bool rows; /* lines are rows; else columns */
    size_t at; /* the first element of every line that counts */
    size_t order, length;
    const size_t *start; /* borrowed */
    size_t n_start;
};

/* n_start * order values, each window ascending and >= 0, into lambda. Nothing is dropped here.
 * bound[w]: absolute error of window w. Errors and non-finite weights as farms_run(). In single
 * precision a strip whose squares do not fit into a float is done in double. */
int farms_strip_solve(const struct farms_strip *s, enum precision precision, double *lambda,
                      double *bound, uint64_t *n_nonfinite, struct err *err);

/* Peak bytes, for so many windows over `all` lines. */
double farms_strip_bytes(size_t order, size_t length, size_t all, size_t windows);

#endif
