/* farms_fixture.h: matrices in memory, and windows of them by another road. */
#ifndef SPECTRALD_TEST_FARMS_FIXTURE_H
#define SPECTRALD_TEST_FARMS_FIXTURE_H

#include "compute/farms.h"
#include "compute/lapack.h"

#include "golden.h"

/* Slices x rows x cols with any strides. */
struct boxes {
    const double *w;
    size_t rows, cols, row_stride, col_stride, slice_stride;
    size_t n_read; /* elements */
};

static inline int boxes_read(void *arg, size_t slice, size_t row, size_t n_rows, size_t col,
                             size_t n_cols, enum precision p, void *out, uint64_t *n_nonfinite,
                             struct err *err)
{
    struct boxes *b = arg;

    (void)err;
    b->n_read += n_rows * n_cols;
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < n_cols; j++) {
            double v = b->w[slice * b->slice_stride + (row + i) * b->row_stride +
                            (col + j) * b->col_stride];

            if (row + i >= b->rows || col + j >= b->cols)
                abort();
            *n_nonfinite += isfinite(v) ? 0 : 1;
            if (p == PRECISION_SINGLE)
                ((float *)out)[i * n_cols + j] = (float)v;
            else
                ((double *)out)[i * n_cols + j] = v;
        }
    return 0;
}

static inline struct boxes boxes_of(const double *w, size_t rows, size_t cols)
{
    return (struct boxes){.w = w, .rows = rows, .cols = cols, .row_stride = cols, .col_stride = 1};
}

static inline int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* sigma^2 of the h x w box at (row, col), from an SVD of it, padded to a square with zeros. The
 * min(h, w) largest go to out. */
static inline size_t box_svd(const struct boxes *b, size_t slice, size_t row, size_t col, size_t h,
                             size_t w, double scale, double *out)
{
    size_t n = h > w ? h : w, k = h < w ? h : w;
    double *a = calloc(n * n, sizeof *a), *sigma = malloc(n * sizeof *sigma);

    for (size_t i = 0; i < h; i++)
        for (size_t j = 0; j < w; j++)
            a[i + j * n] = b->w[slice * b->slice_stride + (row + i) * b->row_stride +
                                (col + j) * b->col_stride];
    if (lapack_singular_values(n, a, sigma, NULL) < 0)
        abort();
    for (size_t i = 0; i < k; i++)
        out[i] = scale * sigma[i] * sigma[i];
    free(a);
    free(sigma);
    return k;
}

/* All runs and the fit; the pool, sorted, goes to *pool when that is not NULL (the caller's). */
static inline int farms_all(const struct farms_plan *p, struct boxes *b, struct farms_result *out,
                            double **pool, struct err *err)
{
    struct farms_source src = {boxes_read, b};
    double *lambda = calloc(farms_values(p), sizeof *lambda), bound = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < p->n_runs; i++) {
        struct farms_run_info info;

        r = farms_run(p, i, &src, lambda + i * farms_run_values(p), &info, err);
        if (r == 0 && info.error_bound > bound)
            bound = info.error_bound;
    }
    if (r == 0)
        r = farms_fit(p, lambda, bound, out, err);
    if (pool && r == 0)
        *pool = lambda;
    else
        free(lambda);
    return r;
}

#endif
