/* lines.c: transposition of blocks, in tiles, so that both sides stay in the cache. */
#include "compute/lines.h"

#include <string.h>

#define TILE 16

size_t lines_at_once(size_t n_short)
{
    size_t k = ((size_t)4 << 20) / (n_short * sizeof(double));

    return k < 16 ? 16 : k > 512 ? 512 : k;
}

int lines_read(const struct matrix_source *src, size_t first, size_t count, double *out,
               double *scratch, uint64_t *n_nonfinite, struct err *err)
{
    bool strided = src->order == BLOCK_LINES_STRIDED;
    size_t n = src->n_short;
    int r = src->read(src->arg, first, count, PRECISION_DOUBLE, strided ? scratch : out,
                      n_nonfinite, err);

    if (r < 0 || !strided)
        return r;
    for (size_t i = 0; i < count; i += TILE)
        for (size_t c = 0; c < n; c++)
            for (size_t j = i; j < count && j < i + TILE; j++)
                out[j * n + c] = scratch[c * count + j];
    return 0;
}

void lines_store(const double *lines, size_t count, size_t n_short, enum block_order order,
                 enum precision precision, void *out)
{
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < n_short; c++) {
            size_t at = order == BLOCK_LINES_STRIDED ? c * count + i : i * n_short + c;

            if (precision == PRECISION_SINGLE)
                ((float *)out)[at] = (float)lines[i * n_short + c];
            else
                ((double *)out)[at] = lines[i * n_short + c];
        }
}
