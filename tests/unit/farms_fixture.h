/* farms_fixture.h: matrices in memory, and windows of them by another road. */
#ifndef SPECTRALD_TEST_FARMS_FIXTURE_H
#define SPECTRALD_TEST_FARMS_FIXTURE_H

#include "compute/farms.h"
#include "compute/lapack.h"

#include "golden.h"

#include <stdio.h>

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

/* A safetensors file, read without the project's reader. */
struct tensor_file {
    FILE *f;
    uint64_t header_bytes;
    json_t *header;
};

static inline int tensor_file_open(struct tensor_file *t, const char *path)
{
    char *text = NULL;

    t->f = fopen(path, "rb");
    if (!t->f || fread(&t->header_bytes, 8, 1, t->f) != 1)
        return -1;
    text = calloc(t->header_bytes + 1, 1);
    if (fread(text, 1, t->header_bytes, t->f) == t->header_bytes)
        t->header = json_loads(text, 0, NULL);
    free(text);
    return t->header ? 0 : -1;
}

static inline void tensor_file_close(struct tensor_file *t)
{
    json_decref(t->header);
    (void)fclose(t->f);
}

/* A BF16 matrix, decoded by hand (the caller's), or NULL. */
static inline double *tensor_file_bf16(struct tensor_file *t, const char *name, struct boxes *b)
{
    const json_t *tensor = json_object_get(t->header, name);
    const json_t *at = json_object_get(tensor, "data_offsets");
    const json_t *shape = json_object_get(tensor, "shape");
    const char *dtype = json_string_value(json_object_get(tensor, "dtype"));
    long first = (long)json_integer_value(json_array_get(at, 0));
    size_t n = (size_t)(json_integer_value(json_array_get(at, 1)) - first) / 2;
    uint16_t *raw;
    double *w;

    if (!dtype || strcmp(dtype, "BF16") != 0 || json_array_size(shape) != 2)
        return NULL;
    raw = malloc(n * 2);
    w = malloc(n * sizeof *w);
    if (fseek(t->f, 8 + (long)t->header_bytes + first, SEEK_SET) != 0 ||
        fread(raw, 2, n, t->f) != n)
        abort();
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)raw[i] << 16;
        float v;

        memcpy(&v, &bits, sizeof v);
        w[i] = (double)v;
    }
    free(raw);
    *b = boxes_of(w, (size_t)json_integer_value(json_array_get(shape, 0)),
                  (size_t)json_integer_value(json_array_get(shape, 1)));
    return w;
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
    size_t at = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < p->n_runs; i++) {
        struct farms_run_info info;

        r = farms_run(p, i, &src, lambda + at, &info, err);
        at += farms_run_values(p, i);
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
