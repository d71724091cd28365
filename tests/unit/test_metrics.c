/* test_metrics.c: all columns of the seven published matrices, compat on; and where the default
 * differs from upstream. */
#include "compute/layer_metrics.h"
#include "compute/spectrum.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* --- the published matrices ---------------------------------------------------------------- */

static double *scaled_b(void)
{
    double *w = gauss_matrix(2, 300, 150);

    for (size_t i = 0; i < 300 * 150; i++)
        w[i] *= pow((double)(i % 150) + 1, -0.6);
    return w;
}

static double column_norm(const double *w, size_t rows, size_t cols, size_t c)
{
    double s = 0;

    for (size_t i = 0; i < rows; i++)
        s += w[i * cols + c] * w[i * cols + c];
    return sqrt(s);
}

static double *spiked_c(void)
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

static double *levy_f(void)
{
    struct rng r = {6};
    double *w = malloc(160 * 80 * sizeof *w);

    for (size_t i = 0; i < 160 * 80; i++) {
        double u = rng_uniform(&r), s = rng_uniform(&r);

        w[i] = (s < 0.5 ? 1 : -1) * pow(1 - u, -1 / 1.5);
    }
    return w;
}

static double *deficient_g(void)
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
static double *conv_slice(const double *w, size_t out, size_t in, size_t s)
{
    double *m = malloc(out * in * sizeof *m);

    for (size_t i = 0; i < out * in; i++)
        m[i] = w[i * 9 + s];
    return m;
}

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
    assert_int_equal(layer_metrics(&s, compat, out, NULL), 0);
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
    const struct {
        const char *name;
        double *w;
        size_t rows, cols, slices;
    } m[] = {
        {"A_gauss_200x100", gauss_matrix(1, 200, 100), 200, 100, 1},
        {"B_scaled_300x150", scaled_b(), 300, 150, 1},
        {"C_spiked_256x128", spiked_c(), 256, 128, 1},
        {"D_conv_32x16x3x3", gauss_matrix(4, 32, 144), 32, 16, 9},
        {"E_square_128", gauss_matrix(5, 128, 128), 128, 128, 1},
        {"F_levy_160x80", levy_f(), 160, 80, 1},
        {"G_rankdef_60x40", deficient_g(), 60, 40, 1},
    };
    json_t *golden = golden_load(), *details = json_object_get(golden, "details");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        struct layer_values v;

        values_of(m[i].w, m[i].rows, m[i].cols, m[i].slices, true, &v);
        check_columns(json_object_get(details, m[i].name), &v, m[i].name, i == 6);
        free(m[i].w);
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

    assert_int_equal(layer_metrics(&s, compat, v, NULL), 0);
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
