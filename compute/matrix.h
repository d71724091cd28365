/* matrix.h: how the numerical code is given a matrix: line by line, never whole.
 *
 * A matrix W of N x M (N >= M, the long and the short side) is read as N "lines" of M values.
 * Which of the stored dimensions is long does not matter: singular values are the same.
 */
#ifndef SPECTRALD_MATRIX_H
#define SPECTRALD_MATRIX_H

#include "common/err.h"

enum precision { PRECISION_DOUBLE = 0, PRECISION_SINGLE = 1 };

/* How a block of k lines lies in memory, in column-major terms. */
enum block_order {
    BLOCK_LINES_CONTIGUOUS = 0, /* M x k, leading dimension M: each line is contiguous */
    BLOCK_LINES_STRIDED = 1,    /* k x M, leading dimension k: each line has stride k  */
};

struct matrix_source {
    size_t n_long, n_short; /* N >= M >= 1 */
    enum block_order order;
    /* Write lines [first, first + count) to `out` (count * n_short elements of `precision`, in
     * `order`). Adds the number of NaN and infinite elements met to *n_nonfinite. 0 or an error
     * code, which the numerical code passes up. Each call may repeat lines read before. */
    int (*read)(void *arg, size_t first, size_t count, enum precision precision, void *out,
                uint64_t *n_nonfinite, struct err *err);
    void *arg; /* borrowed */
};

#endif
