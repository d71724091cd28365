/* test_low_rank.c: products and sums against the same matrices formed whole. */
#include "compute/low_rank.h"
#include "compute/random.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* C (rows x cols) = A (rows x k) B (k x cols), row-major. */
static double *multiplied(const double *a, const double *b, size_t rows, size_t k, size_t cols)
{
    double *c = calloc(rows * cols, sizeof *c);

    for (size_t i = 0; i < rows; i++)
        for (size_t l = 0; l < k; l++)
            for (size_t j = 0; j < cols; j++)
                c[i * cols + j] += a[i * k + l] * b[l * cols + j];
    return c;
}

static double norm(const double *x, size_t n)
{
    double s = 0;

    for (size_t i = 0; i < n; i++)
        s += x[i] * x[i];
    return sqrt(s);
}

/* Eigenvalues of a matrix formed whole, by QR and SVD. */
static void whole(const double *w, size_t rows, size_t cols, double *lambda)
{
    struct memory_matrix mm = {w, rows, cols};
    struct matrix_source src = memory_source(&mm);
    struct spectrum_options opt = {.force = SPECTRUM_TSQR_SVD};
    struct spectrum_info info;

    assert_int_equal(spectrum_compute(&src, &opt, lambda, &info, NULL), 0);
}

/* X = A B for every combination of long and short sides. */
static void products(void **state)
{
    static const size_t shape[][3] = {
        {90, 8, 70},   /* an adapter: shared is short on both sides */
        {40, 200, 30}, /* shared is long on both */
        {150, 60, 25}, /* short, long */
        {20, 55, 130}, /* long, short */
        {64, 64, 64},  {700, 16, 700}, {33, 1, 12},
    };

    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(shape); t++) {
        size_t rows = shape[t][0], k = shape[t][1], cols = shape[t][2];
        double *a = gauss_matrix(40 + t, rows, k), *b = gauss_matrix(60 + t, k, cols);
        double *x = multiplied(a, b, rows, k, cols), *want = malloc(700 * sizeof *want),
               *got = malloc(700 * sizeof *got);
        struct memory_matrix ma = {a, rows, k}, mb = {b, k, cols};
        struct matrix_source sa = memory_source(&ma), sb = memory_source(&mb);
        /* Lines of a are rows (k elements) when rows >= k, those of b rows (cols elements) when
         * k >= cols. */
        struct product_factor left = {&sa, rows >= k}, right = {&sb, k < cols};
        struct product_options opt = {.scale = 0.5, .normalise = t % 2};
        struct product_info info;
        size_t n = product_count(&left, &right), m = rows < cols ? rows : cols;
        double factor = 0.5 / (t % 2 ? norm(a, rows * k) * norm(b, k * cols) : 1);

        assert_int_equal(n, k < m ? k : m);
        assert_int_equal(product_spectrum(&left, &right, &opt, got, &info, NULL), 0);
        whole(x, rows, cols, want);
        for (size_t i = 0; i < n; i++) {
            double w = want[m - n + i] * factor * factor;

            assert_true(fabs(got[i] - w) < 1e-11 * want[m - 1] * factor * factor);
        }
        assert_true(m == n || want[m - n - 1] < 1e-20 * want[m - 1]);
        assert_true(fabs(info.norm_left / norm(a, rows * k) - 1) < 1e-12);
        assert_true(fabs(info.norm_right / norm(b, k * cols) - 1) < 1e-12);
        free(a);
        free(b);
        free(x);
        free(want);
        free(got);
    }
}

/* With zeros and ones between, row i of them from stream i of the seed. */
static void sparsified(void **state)
{
    static const size_t shape[][3] = {{90, 20, 40}, {15, 70, 12}, {60, 33, 14}, {9, 80, 200}};

    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(shape); t++) {
        size_t rows = shape[t][0], k = shape[t][1], cols = shape[t][2];
        size_t n = rows < cols ? rows : cols, ones = 0;
        double *a = gauss_matrix(40 + t, rows, k), *b = gauss_matrix(60 + t, k, cols),
               *s = malloc(k * k * sizeof *s), *as, *x, *want = malloc(200 * sizeof *want),
               *got = malloc(200 * sizeof *got), factor;
        struct memory_matrix ma = {a, rows, k}, mb = {b, k, cols};
        struct matrix_source sa = memory_source(&ma), sb = memory_source(&mb);
        struct product_factor left = {&sa, rows >= k}, right = {&sb, k < cols};
        struct product_options opt = {.scale = 1, .sparsify = true, .seed = 7};
        struct product_info info;

        for (size_t i = 0; i < k; i++) {
            struct random r;
            uint64_t bits = 0;

            random_init(&r, 7, i);
            for (size_t j = 0; j < k; j++) {
                bits = j % 64 == 0 ? random_u64(&r) : bits >> 1;
                s[i * k + j] = (double)(bits & 1);
                ones += bits & 1;
            }
        }
        assert_true(fabs((double)ones - (double)(k * k) / 2) < 2.5 * (double)k);
        as = multiplied(a, s, rows, k, k);
        x = multiplied(as, b, rows, k, cols);
        factor = 1 / (norm(a, rows * k) * norm(b, k * cols) + sqrt(sqrt((double)ones)));
        whole(x, rows, cols, want);
        assert_int_equal(product_spectrum(&left, &right, &opt, got, &info, NULL), 0);
        for (size_t i = 0; i < product_count(&left, &right); i++) {
            double w = want[n - product_count(&left, &right) + i] * factor * factor;

            assert_true(fabs(got[i] - w) < 1e-11 * want[n - 1] * factor * factor);
        }
        free(a);
        free(b);
        free(s);
        free(as);
        free(x);
        free(want);
        free(got);
    }
}

/* Small singular values of an adapter survive: no Gram matrix of the factors is taken. */
static void small_values_survive(void **state)
{
    double *b = calloc(50 * 3, sizeof *b), *a = calloc(3 * 40, sizeof *a), lambda[3];
    struct memory_matrix mb = {b, 50, 3}, ma = {a, 3, 40};
    struct matrix_source sb = memory_source(&mb), sa = memory_source(&ma);
    struct product_factor left = {&sb, true}, right = {&sa, true};
    struct product_options opt = {.scale = 2};
    struct product_info info;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        b[(10 + i) * 3 + i] = pow(10, -5 * (double)i);
        a[i * 40 + 7 * i] = 1;
    }
    assert_int_equal(product_spectrum(&left, &right, &opt, lambda, &info, NULL), 0);
    assert_true(fabs(lambda[2] - 4) < 1e-12 && fabs(lambda[1] / 4e-10 - 1) < 1e-9);
    assert_true(fabs(lambda[0] / 4e-20 - 1) < 1e-5);
    free(a);
    free(b);
}

/* W + s B A and W - base, read in blocks of any size and both precisions, tall and wide. */
static void sums(void **state)
{
    static const size_t shape[][2] = {{50, 30}, {30, 50}, {20, 20}};

    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(shape); t++) {
        size_t rows = shape[t][0], cols = shape[t][1], n = rows < cols ? rows : cols,
               lines = rows < cols ? cols : rows;
        double *w = gauss_matrix(1, rows, cols), *base = gauss_matrix(2, rows, cols),
               *b = gauss_matrix(3, rows, 4), *a = gauss_matrix(4, 4, cols),
               *x = multiplied(b, a, rows, 4, cols), out[50 * 50];
        float single[50 * 50];
        struct memory_matrix mw = {w, rows, cols}, mb = {base, rows, cols};
        struct matrix_source sw = memory_source(&mw), sb = memory_source(&mb), sum, alone, delta;
        struct low_rank_sum s = {&sw, b, a, rows, cols, 4, 0.25},
                            p = {NULL, b, a, rows, cols, 4, 2};
        struct matrix_difference d = {&sw, &sb};
        uint64_t bad = 0;

        assert_int_equal(low_rank_source(&s, &sum, NULL), 0);
        assert_int_equal(low_rank_source(&p, &alone, NULL), 0);
        assert_int_equal(difference_source(&d, &delta, NULL), 0);
        for (size_t first = 0; first < lines; first += 7) {
            size_t k = lines - first < 7 ? lines - first : 7;

            assert_int_equal(sum.read(sum.arg, first, k, PRECISION_DOUBLE, out, &bad, NULL), 0);
            assert_int_equal(delta.read(delta.arg, first, k, PRECISION_SINGLE, single, &bad, NULL),
                             0);
            assert_int_equal(
                alone.read(alone.arg, first, k, PRECISION_DOUBLE, out + 2000, &bad, NULL), 0);
            for (size_t i = 0; i < k; i++)
                for (size_t j = 0; j < n; j++) {
                    size_t at = rows >= cols ? (first + i) * cols + j : j * cols + first + i;

                    assert_true(fabs(out[i * n + j] - w[at] - 0.25 * x[at]) < 1e-13);
                    assert_true(fabs(out[2000 + i * n + j] - 2 * x[at]) < 1e-12);
                    assert_true(single[i * n + j] == (float)(w[at] - base[at]));
                }
        }
        assert_int_equal(bad, 0);
        w[3] = INFINITY;
        assert_int_equal(sum.read(sum.arg, 0, lines, PRECISION_DOUBLE, out, &bad, NULL), 0);
        assert_int_equal(delta.read(delta.arg, 0, lines, PRECISION_DOUBLE, out, &bad, NULL), 0);
        assert_int_equal(bad, 2);
        free(w);
        free(base);
        free(b);
        free(a);
        free(x);
    }
}

static void refused(void **state)
{
    double w[12] = {1, 2, 3, 4, 5, NAN}, zero[6] = {0}, lambda[3];
    struct memory_matrix m32 = {w, 3, 2}, m43 = {w, 4, 3}, m0 = {zero, 3, 2};
    struct matrix_source a = memory_source(&m32), b = memory_source(&m43), z = memory_source(&m0),
                         out;
    struct product_factor fa = {&a, true}, fb = {&b, true}, fz = {&z, true};
    struct product_options plain = {.scale = 1}, normal = {.scale = 1, .normalise = true};
    struct product_info info;
    struct low_rank_sum s = {&a, w, w, 4, 3, 1, 1}, none = {NULL, w, w, 4, 3, 0, 1};
    struct matrix_difference d = {&a, &b};

    (void)state;
    assert_int_equal(product_count(&fa, &fb), 0);
    assert_int_equal(product_spectrum(&fa, &fb, &plain, lambda, &info, NULL), ERR_INVALID);
    assert_int_equal(product_spectrum(&fa, &fa, &plain, lambda, &info, NULL), ERR_NUMERIC);
    assert_int_equal(product_spectrum(&fz, &fz, &normal, lambda, &info, NULL), ERR_NUMERIC);
    assert_int_equal(product_spectrum(&fz, &fz, &plain, lambda, &info, NULL), 0);
    assert_true(lambda[0] == 0 && lambda[1] == 0);
    assert_int_equal(low_rank_source(&s, &out, NULL), ERR_INVALID);
    assert_int_equal(low_rank_source(&none, &out, NULL), ERR_INVALID);
    assert_int_equal(difference_source(&d, &out, NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(sparsified),
        cmocka_unit_test(small_values_survive),
        cmocka_unit_test(sums),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
