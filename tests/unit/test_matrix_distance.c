/* test_matrix_distance.c: upstream's numbers, the definitions on matrices formed whole,
 * invariances. */
#include "compute/matrix_distance.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct matrix_distance of(const double *a, const double *b, size_t rows, size_t cols)
{
    struct memory_matrix ma = {a, rows, cols}, mb = {b, rows, cols};
    struct matrix_source sa = memory_source(&ma), sb = memory_source(&mb);
    struct matrix_distance d;

    assert_int_equal(matrix_distance(&sa, &sb, rows >= cols, true, &d, NULL), 0);
    return d;
}

static void published_values(void **state)
{
    json_t *golden = golden_load(), *want = json_object_get(golden, "cka");
    double *a = gauss_matrix(1, 200, 100), *g = gauss_matrix(41, 200, 100);
    struct matrix_distance d;

    (void)state;
    for (size_t i = 0; i < 200 * 100; i++)
        g[i] = a[i] + 0.1 * g[i];
    d = of(a, g, 200, 100);
    assert_true(fabs(d.cka - json_number_value(json_object_get(want, "cka"))) < 1e-13);
    assert_true(fabs(d.euclidean - json_number_value(json_object_get(want, "euclidean"))) < 1e-12);
    d = of(a, a, 200, 100);
    assert_true(d.euclidean == 0 && d.relative == 0 && fabs(d.cka - 1) < 1e-14 &&
                fabs(d.cosine - 1) < 1e-14);
    json_decref(golden);
    free(a);
    free(g);
}

/* |X'Y|_F with X, Y row-major rows x cols. */
static double cross_norm(const double *x, const double *y, size_t rows, size_t cols)
{
    double sum = 0;

    for (size_t i = 0; i < cols; i++)
        for (size_t j = 0; j < cols; j++) {
            double s = 0;

            for (size_t r = 0; r < rows; r++)
                s += x[r * cols + i] * y[r * cols + j];
            sum += s * s;
        }
    return sqrt(sum);
}

static void definitions(void **state)
{
    static const size_t shape[][2] = {{60, 20}, {20, 60}, {600, 5}, {7, 7}, {1, 9}};

    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(shape); t++) {
        size_t rows = shape[t][0], cols = shape[t][1];
        double *a = gauss_matrix(3, rows, cols), *b = gauss_matrix(4, rows, cols), dd = 0, aa = 0,
               bb = 0, ab = 0, cka;
        struct matrix_distance d = of(a, b, rows, cols);

        for (size_t i = 0; i < rows * cols; i++) {
            dd += (a[i] - b[i]) * (a[i] - b[i]);
            aa += a[i] * a[i];
            bb += b[i] * b[i];
            ab += a[i] * b[i];
        }
        cka = cross_norm(a, b, rows, cols) /
              sqrt(cross_norm(a, a, rows, cols) * cross_norm(b, b, rows, cols));
        assert_true(fabs(d.cka - cka) < 1e-12);
        assert_true(fabs(d.euclidean - sqrt(dd)) < 1e-10 && fabs(d.norm_a - sqrt(aa)) < 1e-10 &&
                    fabs(d.norm_b - sqrt(bb)) < 1e-10);
        assert_true(fabs(d.relative - sqrt(dd / aa)) < 1e-12);
        assert_true(fabs(d.cosine - ab / sqrt(aa * bb)) < 1e-12);
        free(a);
        free(b);
    }
}

static void corners(void **state)
{
    double a[6] = {1, 2, 3, 4, 5, 6}, zero[6] = {0}, nan[6] = {1, NAN};
    struct memory_matrix ma = {a, 3, 2}, mn = {nan, 3, 2}, mo = {a, 2, 2};
    struct matrix_source sa = memory_source(&ma), sn = memory_source(&mn), so = memory_source(&mo);
    struct matrix_distance d = of(a, zero, 3, 2);

    (void)state;
    assert_true(isnan(d.cka) && isnan(d.cosine) && d.relative == 1);
    d = of(zero, a, 3, 2);
    assert_true(isnan(d.relative));
    assert_int_equal(matrix_distance(&sa, &sa, true, false, &d, NULL), 0);
    assert_true(isnan(d.cka) && d.cosine > 0.99);
    assert_int_equal(matrix_distance(&sa, &sn, true, true, &d, NULL), ERR_NUMERIC);
    assert_int_equal(matrix_distance(&sa, &so, true, true, &d, NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),
        cmocka_unit_test(definitions),
        cmocka_unit_test(corners),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
