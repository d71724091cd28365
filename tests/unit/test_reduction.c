/* test_reduction.c: the two-stage tridiagonalisation against LAPACK, for every instruction set the
 * processor has. */
#include "compute/bulge.c"          /* its kernels are static */
#include "compute/panel_multiply.c" /* likewise */

#include "compute/full_to_band.h"
#include "compute/lapack.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static bool have_avx512(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

static bool have_avx2(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

/* --- panel_multiply ------------------------------------------------------------------------ */

typedef void multiply_fn(const double *a, size_t lda, size_t m, size_t width, const double *x,
                         size_t ldx, double *y, size_t ldy);
typedef void multiply_single_fn(const float *a, size_t lda, size_t m, size_t width, const float *x,
                                size_t ldx, float *y, size_t ldy);

static double symmetric_at(const double *a, size_t lda, size_t i, size_t j)
{
    return i >= j ? a[i + j * lda] : a[j + i * lda];
}

/* One product in both precisions against the definition. */
static void check_product(multiply_fn *f, multiply_single_fn *fs, size_t m, size_t width)
{
    const size_t lda = m + 3, rows = m + PANEL_ROWS, ldx = width + 8;
    double *a = gauss_matrix(m, lda, m), *x = gauss_matrix(width, rows, ldx);
    double *y = gauss_matrix(7, rows, ldx);
    float *as = calloc(lda * m, sizeof *as), *xs = calloc(rows * ldx, sizeof *xs);
    float *ys = calloc(rows * ldx, sizeof *ys);

    for (size_t i = 0; i < lda * m; i++)
        as[i] = (float)a[i];
    for (size_t i = 0; i < rows * ldx; i++)
        xs[i] = (float)x[i];
    f(a, lda, m, width, x, ldx, y, ldx);
    fs(as, lda, m, width, xs, ldx, ys, ldx);
    for (size_t i = 0; i < m; i++)
        for (size_t c = 0; c < width; c++) {
            double sum = 0;

            for (size_t j = 0; j < m; j++)
                sum += symmetric_at(a, lda, i, j) * x[j * ldx + c];
            assert_true(fabs(y[i * ldx + c] - sum) < 1e-13 * (double)(m + 10));
            assert_true(fabs((double)ys[i * ldx + c] - sum) < 1e-5 * (double)(m + 10));
        }
    free(a);
    free(x);
    free(y);
    free(as);
    free(xs);
    free(ys);
}

static void product(void **state)
{
    static const size_t order[] = {1, 2, 47, 48, 49, 97, 200, 383, 385, 450};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        for (size_t width = PANEL_STEP; width <= 3 * PANEL_STEP; width += PANEL_STEP) {
            check_product(multiply_double_generic, multiply_single_generic, order[i], width);
#if defined(__x86_64__)
            if (have_avx2())
                check_product(multiply_double_avx2, multiply_single_avx2, order[i], width);
            if (have_avx512())
                check_product(multiply_double_avx512, multiply_single_avx512, order[i], width);
#endif
        }
}

/* --- band to tridiagonal ------------------------------------------------------------------- */

/* Eigenvalues of the full symmetric matrix a (n x n, lower, destroyed) by LAPACK's one stage. */
static void reference(double *a, size_t n, double *lambda)
{
    assert_int_equal(
        LAPACKE_dsyev(LAPACK_COL_MAJOR, 'N', 'L', (lapack_int)n, a, (lapack_int)n, lambda), 0);
}

static void assert_eigenvalues(double *d, double *e, const double *lambda, size_t n)
{
    double scale = fmax(fabs(lambda[0]), fabs(lambda[n - 1]));

    assert_int_equal(lapack_tridiagonal_eigenvalues(n, d, e, NULL), 0);
    for (size_t i = 0; i < n; i++)
        if (!(fabs(d[i] - lambda[i]) <= 8 * DBL_EPSILON * sqrt((double)n + 4) * scale)) {
            print_error("order %zu, eigenvalue %zu: %.17g, not %.17g\n", n, i, d[i], lambda[i]);
            fail();
        }
}

static void check_band(step_fn *step, size_t n, size_t width)
{
    double *g = gauss_matrix(n * 100 + width, n, n), *full = calloc(n * n, sizeof *full);
    double *lambda = calloc(n, sizeof *lambda), *d = calloc(n, sizeof *d);
    double *e = calloc(n, sizeof *e);
    struct band *b = NULL;

    assert_int_equal(band_new(n, width, &b, NULL), 0);
    for (size_t j = 0; j < n; j++)
        for (size_t i = j; i < n && i <= j + width; i++)
            full[i + j * n] = b->a[i + j * b->ld] = g[i + j * n];
    reference(full, n, lambda);
    tridiagonalise(b, step, d, e);
    assert_eigenvalues(d, e, lambda, n);
    band_free(b);
    free(g);
    free(full);
    free(lambda);
    free(d);
    free(e);
}

static void band(void **state)
{
    static const size_t order[] = {1, 2, 3, 7, 8, 9, 31, 64, 130, 257};
    static const size_t width[] = {1, 2, 3, 7, 8, 9, 16, 31, 32, 64, 100};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        for (size_t w = 0; w < ARRAY_LEN(width); w++) {
            check_band(step_generic, order[i], width[w]);
#if defined(__x86_64__)
            if (have_avx2())
                check_band(step_avx2, order[i], width[w]);
            if (have_avx512())
                check_band(step_avx512, order[i], width[w]);
#endif
        }
}

/* --- full to band -------------------------------------------------------------------------- */

/* The band has the eigenvalues of the full matrix, at any order and width. */
static void check_full(size_t n, size_t width)
{
    double *a = gauss_matrix(n + width, n, n), *full = calloc(n * n, sizeof *full);
    double *lambda = calloc(n, sizeof *lambda), *d = calloc(n, sizeof *d);
    double *e = calloc(n, sizeof *e);
    struct band *b = NULL;

    memcpy(full, a, n * n * sizeof *full);
    assert_int_equal(band_new(n, width, &b, NULL), 0);
    reference(full, n, lambda);
    assert_int_equal(full_to_band_double(a, n, n, b, NULL), 0);
    band_tridiagonalise(b, d, e);
    assert_eigenvalues(d, e, lambda, n);
    band_free(b);
    free(a);
    free(full);
    free(lambda);
    free(d);
    free(e);
}

static void full(void **state)
{
    static const size_t order[] = {1, 2, 3, 33, 64, 65, 97, 130, 321, 700};
    static const size_t width[] = {1, 5, 32, 48, 64};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        for (size_t w = 0; w < ARRAY_LEN(width); w++)
            check_full(order[i], width[w]);
}

/* Zero rows, equal eigenvalues, tiny columns: no division by nothing. */
static void degenerate(void **state)
{
    enum { N = 200 };
    struct band *b = NULL;
    double *a = calloc(N * N, sizeof *a), d[N], e[N];

    (void)state;
    for (size_t i = 0; i < N; i += 2)
        a[i + i * N] = 3;
    a[1 + 0 * N] = 1e-170;
    a[N - 1 + 5 * N] = 1e-160;
    assert_int_equal(band_new(N, 32, &b, NULL), 0);
    assert_int_equal(full_to_band_double(a, N, N, b, NULL), 0);
    band_tridiagonalise(b, d, e);
    assert_int_equal(lapack_tridiagonal_eigenvalues(N, d, e, NULL), 0);
    for (size_t i = 0; i < N; i++)
        assert_true(fabs(d[i] - (i < N / 2 ? 0 : 3)) < 1e-14);
    band_free(b);
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product),
        cmocka_unit_test(band),
        cmocka_unit_test(full),
        cmocka_unit_test(degenerate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
