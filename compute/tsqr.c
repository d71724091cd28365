/* tsqr.c: block after block is folded into R. */
#include "compute/tsqr.h"

#include "compute/lapack.h"

#include <stdlib.h>
#include <string.h>

/* Block of k lines as a k x n column-major matrix. */
static void as_rows(const struct matrix_source *src, const double *block, size_t k, double *out)
{
    size_t n = src->n_short;

    if (src->order == BLOCK_LINES_STRIDED) {
        memcpy(out, block, k * n * sizeof *out);
        return;
    }
    for (size_t i = 0; i < k; i += 16) /* tiles of 16 lines: both sides stay in the cache */
        for (size_t c = 0; c < n; c++)
            for (size_t j = i; j < k && j < i + 16; j++)
                out[c * k + j] = block[j * n + c];
}

int tsqr_factor(const struct matrix_source *src, size_t step, double *r, struct err *err)
{
    size_t n = src->n_short, size = 0;
    bool fits = !__builtin_mul_overflow(step, n, &size) && size < SIZE_MAX / sizeof(double);
    AUTO(freep) double *block = fits ? malloc(size * sizeof *block) : NULL;
    AUTO(freep) double *rows = fits ? malloc(size * sizeof *rows) : NULL;
    uint64_t n_nonfinite = 0;

    if (!block || !rows)
        return err_set(err, ERR_NOMEM, "no memory for a matrix of order %zu", n);
    memset(r, 0, n * n * sizeof *r);
    for (size_t i = 0; i < src->n_long; i += step) {
        size_t k = src->n_long - i < step ? src->n_long - i : step;
        int rc = src->read(src->arg, i, k, PRECISION_DOUBLE, block, &n_nonfinite, err);

        if (rc == 0) {
            as_rows(src, block, k, rows);
            rc = lapack_qr_update(n, k, r, rows, err);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}
