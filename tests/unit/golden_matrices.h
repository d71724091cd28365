/* golden_matrices.h: the seven matrices of tests/data/weightwatcher_golden.json, and their spectra.
 */
#ifndef SPECTRALD_TEST_GOLDEN_MATRICES_H
#define SPECTRALD_TEST_GOLDEN_MATRICES_H

#include "compute/spectrum.h"

#include "golden.h"

static inline double *scaled_b(void)
{
    double *w = gauss_matrix(2, 300, 150);

    for (size_t i = 0; i < 300 * 150; i++)
        w[i] *= pow((double)(i % 150) + 1, -0.6);
    return w;
}

static inline double column_norm(const double *w, size_t rows, size_t cols, size_t c)
{
    double s = 0;

    for (size_t i = 0; i < rows; i++)
        s += w[i * cols + c] * w[i * cols + c];
    return sqrt(s);
}

static inline double *spiked_c(void)
{
    static const double strength[] = {8, 6, 4};
    double *w = gauss_matrix(3, 256, 128), *u = gauss_matrix(31, 256, 3),
           *v = gauss_matrix(32, 128, 3);

    for (size_t i = 0; i < 256 * 128; i++)
        w[i] /= 16;
    for (size_t k = 0; k < 3; k++) {
        double nu = column_norm(u, 256, 3, k), nv = column_norm(v, 128, 3, k);

        for (size_t i = 0; i < 256; i++)
            for (size_t j = 0; j < 128; j++)
                w[i * 128 + j] += strength[k] * (u[i * 3 + k] / nu) * (v[j * 3 + k] / nv);
    }
    free(u);
    free(v);
    return w;
}

static inline double *levy_f(void)
{
    struct rng r = {6};
    double *w = malloc(160 * 80 * sizeof *w);

    for (size_t i = 0; i < 160 * 80; i++) {
        double u = rng_uniform(&r), s = rng_uniform(&r);

        w[i] = (s < 0.5 ? 1 : -1) * pow(1 - u, -1 / 1.5);
    }
    return w;
}

static inline double *deficient_g(void)
{
    double *a = gauss_matrix(7, 60, 25), *b = gauss_matrix(8, 25, 40),
           *w = calloc(60 * 40, sizeof *w);

    for (size_t i = 0; i < 60; i++)
        for (size_t k = 0; k < 25; k++)
            for (size_t j = 0; j < 40; j++)
                w[i * 40 + j] += a[i * 25 + k] * b[k * 40 + j];
    free(a);
    free(b);
    return w;
}

/* Slice s of a row-major (out, in, 9) tensor. */
static inline double *conv_slice(const double *w, size_t out, size_t in, size_t s)
{
    double *m = malloc(out * in * sizeof *m);

    for (size_t i = 0; i < out * in; i++)
        m[i] = w[i * 9 + s];
    return m;
}

struct golden_matrix {
    const char *name;
    double *w; /* the caller frees it */
    size_t rows, cols, slices;
};

enum { GOLDEN_A, GOLDEN_B, GOLDEN_C, GOLDEN_D, GOLDEN_E, GOLDEN_F, GOLDEN_G, GOLDEN_COUNT };

static inline struct golden_matrix golden_matrix(size_t i)
{
    switch (i) {
    case GOLDEN_A:
        return (struct golden_matrix){"A_gauss_200x100", gauss_matrix(1, 200, 100), 200, 100, 1};
    case GOLDEN_B:
        return (struct golden_matrix){"B_scaled_300x150", scaled_b(), 300, 150, 1};
    case GOLDEN_C:
        return (struct golden_matrix){"C_spiked_256x128", spiked_c(), 256, 128, 1};
    case GOLDEN_D:
        return (struct golden_matrix){"D_conv_32x16x3x3", gauss_matrix(4, 32, 144), 32, 16, 9};
    case GOLDEN_E:
        return (struct golden_matrix){"E_square_128", gauss_matrix(5, 128, 128), 128, 128, 1};
    case GOLDEN_F:
        return (struct golden_matrix){"F_levy_160x80", levy_f(), 160, 80, 1};
    default:
        return (struct golden_matrix){"G_rankdef_60x40", deficient_g(), 60, 40, 1};
    }
}

static inline int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* All eigenvalues of m, ascending, with the factor 1/2 of a convolution; the caller frees them. */
static inline double *golden_spectrum(const struct golden_matrix *m, size_t *n)
{
    size_t each = m->rows < m->cols ? m->rows : m->cols;
    double *lambda = malloc(each * m->slices * sizeof *lambda);

    *n = each * m->slices;
    for (size_t k = 0; k < m->slices; k++) {
        double *slice = m->slices > 1 ? conv_slice(m->w, m->rows, m->cols, k) : NULL;
        struct memory_matrix mm = {slice ? slice : m->w, m->rows, m->cols};
        struct matrix_source src = memory_source(&mm);
        struct spectrum_options opt = {0};
        struct spectrum_info info;

        if (spectrum_compute(&src, &opt, lambda + k * each, &info, NULL) != 0)
            abort();
        free(slice);
    }
    for (size_t i = 0; m->slices > 1 && i < *n; i++)
        lambda[i] *= 0.5;
    qsort(lambda, *n, sizeof *lambda, compare_doubles);
    return lambda;
}

#endif
