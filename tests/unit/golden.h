/* golden.h: the generated matrices behind tests/data/weightwatcher_golden.json, and the file.
 *
 * splitmix64 -> uniform u = (z >> 11) 2^-53 -> g = (sum of 12 u) - 6; matrices row-major.
 */
#ifndef SPECTRALD_TEST_GOLDEN_H
#define SPECTRALD_TEST_GOLDEN_H

#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "compute/matrix.h"

struct rng {
    uint64_t x;
};

static inline uint64_t rng_u64(struct rng *r)
{
    uint64_t z = r->x += 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline double rng_uniform(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

static inline double rng_gauss(struct rng *r)
{
    double t = 0;

    for (int i = 0; i < 12; i++)
        t += rng_uniform(r);
    return t - 6;
}

static inline double *gauss_matrix(uint64_t seed, size_t rows, size_t cols)
{
    struct rng r = {seed};
    double *w = malloc(rows * cols * sizeof *w);

    for (size_t i = 0; i < rows * cols; i++)
        w[i] = rng_gauss(&r);
    return w;
}

/* A row-major matrix in memory as a source; `transposed` asks for strided lines. */
struct memory_matrix {
    const double *w;
    size_t rows, cols; /* rows >= cols: lines are rows; else lines are columns */
};

static inline int memory_read(void *arg, size_t first, size_t count, enum precision p, void *out,
                              uint64_t *n_nonfinite, struct err *err)
{
    const struct memory_matrix *m = arg;
    bool rows_long = m->rows >= m->cols;
    size_t n = rows_long ? m->cols : m->rows;

    (void)err;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < n; j++) {
            double v = rows_long ? m->w[(first + i) * m->cols + j] : m->w[j * m->cols + first + i];
            size_t at = rows_long ? i * n + j : j * count + i;

            *n_nonfinite += isfinite(v) ? 0 : 1;
            if (p == PRECISION_SINGLE)
                ((float *)out)[at] = (float)v;
            else
                ((double *)out)[at] = v;
        }
    return 0;
}

static inline struct matrix_source memory_source(struct memory_matrix *m)
{
    bool rows_long = m->rows >= m->cols;

    return (struct matrix_source){.n_long = rows_long ? m->rows : m->cols,
                                  .n_short = rows_long ? m->cols : m->rows,
                                  .order = rows_long ? BLOCK_LINES_CONTIGUOUS : BLOCK_LINES_STRIDED,
                                  .read = memory_read,
                                  .arg = m};
}

static inline json_t *golden_load(void)
{
    return json_load_file(TEST_DATA "/weightwatcher_golden.json", 0, NULL);
}

#endif
