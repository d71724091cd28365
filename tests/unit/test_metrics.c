/* test_metrics.c: all columns of the seven published matrices, compat on; and where the default
 * differs from upstream. */
#include "compute/layer_metrics.h"
#include "compute/spectrum.h"

#include "golden_matrices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void values_of(const double *w, size_t rows, size_t cols, size_t slices, bool compat,
                      struct layer_values *out)
{
    size_t n = rows < cols ? rows : cols;
    double *lambda = malloc(n * slices * sizeof *lambda);
    struct layer_spectrum s = {.n_slices = slices,
                               .n_per_slice = n,
                               .n_long = rows < cols ? cols : rows,
                               .scale = slices > 1 ? 0.5 : 1,
                               .lambda = lambda};

    for (size_t k = 0; k < slices; k++) {
        double *m = slices > 1 ? conv_slice(w, rows, cols, k) : NULL;
        struct memory_matrix mm = {m ? m : w, rows, cols};
        struct matrix_source src = memory_source(&mm);
        struct spectrum_options opt = {0};
        struct spectrum_info info;

        assert_int_equal(spectrum_compute(&src, &opt, lambda + k * n, &info, NULL), 0);
        s.weight_sum += info.sum;
        s.error_bound = info.error_bound;
        s.gram = info.method != SPECTRUM_TSQR_SVD;
        free(m);
    }
    assert_int_equal(layer_metrics(&s, NULL, compat, out, NULL), 0);
    free(lambda);
}

static void check_columns(const json_t *want, const struct layer_values *v, const char *name,
                          bool rank_deficient)
{
    for (int c = 0; c <= COL_XMIN; c++) { /* upstream's */
        const char *key = column_info((enum column)c)->name;
        const json_t *j = json_object_get(want, key);
        double w = json_number_value(j);

        assert_non_null(j);
        if (rank_deficient && c == COL_SV_MIN) /* rounding noise upstream */
            continue;
        if (!(fabs(v->v[c] - w) <= 1e-9 * fabs(w))) {
            print_error("%s.%s: got %.17g, want %.17g\n", name, key, v->v[c], w);
            fail();
        }
    }
}

static void published_columns(void **state)
{
    json_t *golden = golden_load(), *details = json_object_get(golden, "details");

    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        struct golden_matrix m = golden_matrix(i);
        struct layer_values v;

        values_of(m.w, m.rows, m.cols, m.slices, true, &v);
        check_columns(json_object_get(details, m.name), &v, m.name, i == GOLDEN_G);
        free(m.w);
    }
    json_decref(golden);
}

/* Mean and variance of the weights, in two passes. */
static void weight_columns(void **state)
{
    static const struct {
        size_t rows, cols, slices;
    } m[] = {{200, 100, 1}, {31, 90, 1}, {32, 16, 9}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        size_t n = m[i].rows * m[i].cols * m[i].slices;
        double *w = gauss_matrix(20 + i, m[i].rows, m[i].cols * m[i].slices), mean = 0, var = 0;
        struct layer_values v;

        for (size_t k = 0; k < n; k++) {
            w[k] += 0.5;
            mean += w[k] / (double)n;
        }
        for (size_t k = 0; k < n; k++)
            var += (w[k] - mean) * (w[k] - mean) / (double)n;
        values_of(w, m[i].rows, m[i].cols, m[i].slices, false, &v);
        assert_true(fabs(v.v[COL_WEIGHT_MEAN] - mean) < 1e-12);
        assert_true(fabs(v.v[COL_WEIGHT_VAR] - var) < 1e-12 * var);
        free(w);
    }
}

/* --- where the default differs ------------------------------------------------------------- */

static void values_of_lambda(const double *lambda, size_t slices, size_t n, bool compat,
                             struct layer_values *v)
{
    struct layer_spectrum s = {
        .n_slices = slices, .n_per_slice = n, .n_long = 2 * n, .scale = 1, .lambda = lambda};

    assert_int_equal(layer_metrics(&s, NULL, compat, v, NULL), 0);
}

static void sv_min_of_slices(void **state)
{
    const double lambda[] = {1, 2, 4, 9, 16, 25};
    struct layer_values v;

    (void)state;
    values_of_lambda(lambda, 2, 3, false, &v);
    assert_true(v.v[COL_SV_MIN] == 1);
    values_of_lambda(lambda, 2, 3, true, &v);
    assert_true(v.v[COL_SV_MIN] == 3);
}

/* A slice that is tiny beside another has full rank of its own. */
static void rank_of_slices(void **state)
{
    const double lambda[] = {1e-32, 2e-32, 4e-32, 1, 2, 4};
    struct layer_values v;

    (void)state;
    values_of_lambda(lambda, 2, 3, false, &v);
    assert_true(v.v[COL_MATRIX_RANK] == 6 && v.v[COL_RANK_LOSS] == 0);
    values_of_lambda(lambda, 2, 3, true, &v);
    assert_true(v.v[COL_MATRIX_RANK] == 3);
}

static void rank_one(void **state)
{
    const double lambda[] = {0, 0, 0, 5};
    struct layer_values v;

    (void)state;
    values_of_lambda(lambda, 1, 4, false, &v);
    assert_int_equal(v.reason, LAYER_TOO_FEW_EIGENVALUES);
    assert_true(v.v[COL_ENTROPY] == 0 && v.v[COL_MATRIX_RANK] == 1 && v.v[COL_RANK_LOSS] == 3);
    assert_true(isnan(v.v[COL_ALPHA]) && isnan(v.v[COL_LOG_ALPHA_NORM]));
    assert_true(v.v[COL_NORM] == 5 && v.v[COL_STABLE_RANK] == 1);
    values_of_lambda(lambda, 1, 4, true, &v);
    assert_true(v.v[COL_ALPHA] == -1 && v.v[COL_D] == -1 && v.v[COL_NUM_PL_SPIKES] == -1);
    assert_true(isnan(v.v[COL_XMAX]));
}

static void zero_matrix(void **state)
{
    const double lambda[] = {0, 0, 0, 0};
    struct layer_values v;

    (void)state;
    values_of_lambda(lambda, 1, 4, false, &v);
    assert_int_equal(v.reason, LAYER_ZERO);
    assert_true(v.v[COL_NORM] == 0 && v.v[COL_MATRIX_RANK] == 0 && v.v[COL_WEAK_RANK_LOSS] == 4);
    assert_true(isnan(v.v[COL_LOG_NORM]) && isnan(v.v[COL_STABLE_RANK]));
}

static void identity(void **state)
{
    const double lambda[] = {1, 1, 1, 1, 1};
    struct layer_values v;

    (void)state;
    values_of_lambda(lambda, 1, 5, false, &v);
    assert_int_equal(v.reason, LAYER_ALPHA_INFINITE);
    assert_true(isnan(v.v[COL_ALPHA]) && v.v[COL_STABLE_RANK] == 5);
}

static void large_alpha_does_not_overflow(void **state)
{
    const double lambda[] = {1e6, 1.0001e6, 1.0002e6, 1.0003e6};
    struct layer_values v;

    (void)state;
    values_of_lambda(lambda, 1, 4, false, &v);
    assert_int_equal(v.reason, LAYER_OK);
    assert_true(isfinite(v.v[COL_LOG_ALPHA_NORM]) && v.v[COL_LOG_ALPHA_NORM] > 1000);
}

static void warnings(void **state)
{
    (void)state;
    assert_string_equal(layer_warning(1.9), "over-trained");
    assert_string_equal(layer_warning(2), "");
    assert_string_equal(layer_warning(6), "");
    assert_string_equal(layer_warning(6.01), "under-trained");
    assert_string_equal(layer_warning(NAN), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_columns), cmocka_unit_test(weight_columns),
        cmocka_unit_test(sv_min_of_slices),  cmocka_unit_test(rank_of_slices),
        cmocka_unit_test(rank_one),          cmocka_unit_test(zero_matrix),
        cmocka_unit_test(identity),          cmocka_unit_test(large_alpha_does_not_overflow),
        cmocka_unit_test(warnings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
