/* test_spectrum.c: one spectrum by several roads, known spectra, invariances, hostile numbers. */
#include "compute/spectrum.h"

#include "golden.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct spectrum_info solve(const double *w, size_t rows, size_t cols,
                                  enum spectrum_method force, enum precision p, double *lambda)
{
    struct memory_matrix m = {w, rows, cols};
    struct matrix_source src = memory_source(&m);
    struct spectrum_options opt = {.precision = p, .force = force};
    struct spectrum_info info;

    assert_int_equal(spectrum_compute(&src, &opt, lambda, &info, NULL), 0);
    return info;
}

static void assert_within(const double *a, const double *b, size_t n, double bound)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(a[i] - b[i]) <= bound)) {
            print_error("eigenvalue %zu of %zu: %.17g and %.17g differ by more than %g\n", i, n,
                        a[i], b[i], bound);
            fail();
        }
}

/* One stage, two stages and QR + SVD agree within the bounds they state. */
static void roads_agree(void **state)
{
    static const size_t shape[][2] = {{1, 1},     {7, 1},     {2, 2},      {130, 127},
                                      {300, 128}, {129, 129}, {100, 257},  {600, 200},
                                      {64, 1000}, {700, 530}, {1030, 1030}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shape); i++) {
        size_t rows = shape[i][0], cols = shape[i][1], n = rows < cols ? rows : cols;
        double *w = gauss_matrix(100 + i, rows, cols), *a = calloc(3 * n, sizeof *a);
        struct spectrum_info x = solve(w, rows, cols, SPECTRUM_GRAM_ONE_STAGE, 0, a);
        struct spectrum_info y = solve(w, rows, cols, SPECTRUM_GRAM_TWO_STAGE, 0, a + n);
        struct spectrum_info z = solve(w, rows, cols, SPECTRUM_TSQR_SVD, 0, a + 2 * n);

        assert_within(a, a + n, n, x.error_bound + y.error_bound);
        assert_within(a, a + 2 * n, n, x.error_bound + z.error_bound);
        assert_true(x.error_bound < 1e-12 * a[n - 1]);
        assert_int_equal(z.method, SPECTRUM_TSQR_SVD);
        free(w);
        free(a);
    }
}

/* W stored (rows, cols) and its transpose have the same spectrum. */
static void transpose(void **state)
{
    double *w = gauss_matrix(5, 90, 140), *t = malloc(90 * 140 * sizeof *t), a[90], b[90];
    struct spectrum_info info;

    (void)state;
    for (size_t i = 0; i < 90; i++)
        for (size_t j = 0; j < 140; j++)
            t[j * 90 + i] = w[i * 140 + j];
    info = solve(w, 90, 140, SPECTRUM_NONE, 0, a);
    (void)solve(t, 140, 90, SPECTRUM_NONE, 0, b);
    assert_within(a, b, 90, 2 * info.error_bound);
    free(w);
    free(t);
}

/* H D H' with H = I - 2 v v' has the singular values D exactly, up to rounding. */
static double *known_spectrum(const double *sigma, size_t rows, size_t n)
{
    double *w = calloc(rows * n, sizeof *w), *u = gauss_matrix(21, rows, 1),
           *v = gauss_matrix(22, n, 1), nu = 0, nv = 0;

    for (size_t i = 0; i < rows; i++)
        nu += u[i] * u[i];
    for (size_t i = 0; i < n; i++)
        nv += v[i] * v[i];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) {
            double s = i == j ? sigma[i] : 0, left = i < n ? sigma[i] * v[i] * v[j] / nv : 0,
                   right = u[i] * u[j] * sigma[j] / nu, both = 0;

            for (size_t k = 0; k < n; k++)
                both += u[i] * u[k] / nu * sigma[k] * v[k] * v[j] / nv;
            w[i * n + j] = s - 2 * left - 2 * right + 4 * both;
        }
    free(u);
    free(v);
    return w;
}

static void graded_matrix_needs_qr(void **state)
{
    enum { N = 40, ROWS = 60 };
    double sigma[N], lambda[N];
    struct spectrum_info info;
    double *w;

    (void)state;
    for (int i = 0; i < N; i++)
        sigma[i] = pow(10, -0.3 * i); /* down to 1e-12 */
    w = known_spectrum(sigma, ROWS, N);
    info = solve(w, ROWS, N, SPECTRUM_NONE, PRECISION_DOUBLE, lambda);
    assert_int_equal(info.method, SPECTRUM_TSQR_SVD);
    for (int i = 0; i < N; i++) /* sigma itself is good to eps * sigma_max */
        assert_true(fabs(sqrt(lambda[N - 1 - i]) - sigma[i]) < 1e-14);
    info = solve(w, ROWS, N, SPECTRUM_GRAM_ONE_STAGE, PRECISION_DOUBLE, lambda);
    for (int i = 0; i < N; i++)
        assert_true(fabs(lambda[N - 1 - i] - sigma[i] * sigma[i]) <= info.error_bound);
    free(w);
}

static void rank_deficient(void **state)
{
    double *a = gauss_matrix(31, 80, 5), *b = gauss_matrix(32, 5, 50),
           *w = calloc(80 * 50, sizeof *w), lambda[50];
    struct spectrum_info info;
    size_t small = 0;

    (void)state;
    for (size_t i = 0; i < 80; i++)
        for (size_t k = 0; k < 5; k++)
            for (size_t j = 0; j < 50; j++)
                w[i * 50 + j] += a[i * 5 + k] * b[k * 50 + j];
    info = solve(w, 80, 50, SPECTRUM_NONE, PRECISION_DOUBLE, lambda);
    assert_int_equal(info.method, SPECTRUM_TSQR_SVD);
    while (small < 50 && sqrt(lambda[small]) <= sqrt(lambda[49]) * 80 * DBL_EPSILON)
        small++;
    assert_int_equal(small, 45);
    free(a);
    free(b);
    free(w);
}

static void zero_matrix(void **state)
{
    double w[30 * 20] = {0}, lambda[20];
    struct spectrum_info info = solve(w, 30, 20, SPECTRUM_NONE, PRECISION_DOUBLE, lambda);

    (void)state;
    assert_int_equal(info.method, SPECTRUM_GRAM_ONE_STAGE);
    for (size_t i = 0; i < 20; i++)
        assert_true(lambda[i] == 0);
}

static void single_precision_keeps_its_bound(void **state)
{
    double *w = gauss_matrix(41, 800, 600), a[600], b[600];
    struct spectrum_info exact, single;

    (void)state;
    for (size_t i = 0; i < 800 * 600; i++)
        w[i] = (double)(float)w[i];
    exact = solve(w, 800, 600, SPECTRUM_NONE, PRECISION_DOUBLE, a);
    single = solve(w, 800, 600, SPECTRUM_NONE, PRECISION_SINGLE, b);
    assert_int_equal(single.precision, PRECISION_SINGLE);
    assert_int_equal(single.method, SPECTRUM_GRAM_TWO_STAGE);
    assert_within(a, b, 600, single.error_bound + exact.error_bound);
    assert_true(single.error_bound < 1e-4 * a[599]);
    free(w);
}

/* Line ranges of any partition, summed in order, give the same bits as one worker. */
static void parts_add_up(void **state)
{
    enum { ROWS = 700, COLS = 150, PARTS = 3 };
    double *w = gauss_matrix(51, ROWS, COLS), *g[PARTS], a[COLS], b[COLS];
    struct memory_matrix m = {w, ROWS, COLS};
    struct matrix_source src = memory_source(&m);
    struct spectrum_options opt = {0};
    struct spectrum_info info;
    double sum = 0;
    uint64_t bad = 0;
    size_t next = 0;

    (void)state;
    for (size_t p = 0; p < PARTS; p++) {
        size_t first, count;

        spectrum_part_range(ROWS, PARTS, p, &first, &count);
        assert_int_equal(first, next);
        next = first + count;
        g[p] = calloc(COLS * spectrum_gram_ld(COLS), sizeof *g[p]);
        assert_int_equal(spectrum_gram_part(&src, first, count, g[p], &sum, &bad, NULL), 0);
    }
    assert_int_equal(next, ROWS);
    spectrum_add_part(g[0], g[1], COLS);
    spectrum_add_part(g[0], g[2], COLS);
    assert_int_equal(spectrum_from_gram(g[0], &src, &opt, a, &info, NULL), 0);
    (void)solve(w, ROWS, COLS, SPECTRUM_NONE, PRECISION_DOUBLE, b);
    assert_within(a, b, COLS, 2 * info.error_bound);
    /* The one part that spectrum_parts() asks for here is bitwise the whole. */
    assert_int_equal(spectrum_parts(ROWS, COLS), 1);
    memset(g[0], 0, COLS * spectrum_gram_ld(COLS) * sizeof *g[0]);
    assert_int_equal(spectrum_gram_part(&src, 0, ROWS, g[0], &sum, &bad, NULL), 0);
    assert_int_equal(spectrum_from_gram(g[0], &src, &opt, a, &info, NULL), 0);
    assert_memory_equal(a, b, sizeof a);
    for (size_t p = 0; p < PARTS; p++)
        free(g[p]);
    free(w);
}

static void partition_depends_on_shape(void **state)
{
    (void)state;
    assert_int_equal(spectrum_parts(4096, 4096), 1);
    assert_int_equal(spectrum_parts(11008, 4096), 1);
    assert_int_equal(spectrum_parts(128256, 4096), 6);
    assert_int_equal(spectrum_parts(1000000000, 100), 1);
    assert_int_equal(spectrum_parts(256000, 16384), SPECTRUM_PARTS_MAX);
}

/* Against a sum in another order, in both precisions; weights of 2^500 and 2^-500 as well. */
static void sum_of_weights(void **state)
{
    enum { ROWS = 300, COLS = 37 };
    static const int exponents[] = {0, 500, -500};

    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(exponents); e++) {
        double *w = gauss_matrix(71, ROWS, COLS), lambda[COLS];
        long double want = 0;

        for (size_t i = 0; i < ROWS * COLS; i++) {
            w[i] = ldexp((float)w[i], exponents[e]); /* the same in single precision */
            want += w[i];
        }
        for (int single = 0; single < (e == 0 ? 2 : 1); single++) {
            struct spectrum_info info = solve(w, ROWS, COLS, SPECTRUM_NONE,
                                              single ? PRECISION_SINGLE : PRECISION_DOUBLE, lambda);

            assert_true(fabsl(info.sum - want) <= 1e-13L * ldexpl(ROWS * COLS, exponents[e]));
            assert_true(info.sum != 0);
        }
        free(w);
    }
}

static void not_finite(void **state)
{
    double *w = gauss_matrix(61, 50, 30), lambda[30] = {-1};
    struct spectrum_info info;

    (void)state;
    w[7] = NAN;
    w[900] = INFINITY;
    w[901] = -INFINITY;
    info = solve(w, 50, 30, SPECTRUM_NONE, PRECISION_DOUBLE, lambda);
    assert_int_equal(info.n_nonfinite, 3);
    assert_true(lambda[0] == -1);
    free(w);
}

/* A power of two in the weights changes nothing but the unit, even where squares overflow. */
static void extreme_scales(void **state)
{
    static const int exponent[] = {-700, -200, 3, 200, 480};
    double *w = gauss_matrix(71, 60, 40), *s = malloc(60 * 40 * sizeof *s), a[40], b[40];

    (void)state;
    (void)solve(w, 60, 40, SPECTRUM_NONE, PRECISION_DOUBLE, a);
    for (size_t k = 0; k < ARRAY_LEN(exponent); k++) {
        double top;

        for (size_t i = 0; i < 60 * 40; i++)
            s[i] = ldexp(w[i], exponent[k]);
        (void)solve(s, 60, 40, SPECTRUM_NONE, PRECISION_DOUBLE, b);
        top = ldexp(a[39], 2 * exponent[k]);
        assert_true(fabs(b[39] - top) <= 1e-12 * top);
    }
    free(w);
    free(s);
}

static void too_large_for_double(void **state)
{
    double w[4] = {1e300, 0, 0, 1e300}, lambda[2];
    struct memory_matrix m = {w, 2, 2};
    struct matrix_source src = memory_source(&m);
    struct spectrum_options opt = {0};
    struct spectrum_info info;

    (void)state;
    assert_int_equal(spectrum_compute(&src, &opt, lambda, &info, NULL), ERR_NUMERIC);
}

static void limit(void **state)
{
    struct matrix_source src = {.n_long = SPECTRUM_N_MAX + 1, .n_short = SPECTRUM_N_MAX + 1};
    struct spectrum_options opt = {0};
    struct spectrum_info info;
    double lambda;

    (void)state;
    assert_int_equal(spectrum_compute(&src, &opt, &lambda, &info, NULL), ERR_LIMIT);
}

static void same_bits_every_time(void **state)
{
    double *w = gauss_matrix(81, 400, 256), a[256], b[256];

    (void)state;
    (void)solve(w, 400, 256, SPECTRUM_GRAM_TWO_STAGE, PRECISION_DOUBLE, a);
    (void)solve(w, 400, 256, SPECTRUM_GRAM_TWO_STAGE, PRECISION_DOUBLE, b);
    assert_memory_equal(a, b, sizeof a);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roads_agree),
        cmocka_unit_test(transpose),
        cmocka_unit_test(graded_matrix_needs_qr),
        cmocka_unit_test(rank_deficient),
        cmocka_unit_test(zero_matrix),
        cmocka_unit_test(single_precision_keeps_its_bound),
        cmocka_unit_test(parts_add_up),
        cmocka_unit_test(partition_depends_on_shape),
        cmocka_unit_test(sum_of_weights),
        cmocka_unit_test(not_finite),
        cmocka_unit_test(extreme_scales),
        cmocka_unit_test(too_large_for_double),
        cmocka_unit_test(limit),
        cmocka_unit_test(same_bits_every_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
