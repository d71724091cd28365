/* test_farms.c: windows against an SVD of each, the published values, checks, sampling. */
#include "farms_fixture.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct farms_params params(size_t rows, double q, size_t windows)
{
    return (struct farms_params){.rows = rows, .q = q, .windows = windows, .fit = HILL_MID};
}

/* --- the grid and the pool ----------------------------------------------------------------- */

/* The pool of a linear layer from the definition: one SVD for every window. */
static size_t pool_by_svd(const struct boxes *b, const struct farms_params *p, double *out)
{
    long rows = (long)b->rows, cols = (long)b->cols, k = (long)p->windows;
    long m = (long)p->rows < rows ? (long)p->rows : rows;
    size_t count = 0;

    m = m < cols ? m : cols;
    long n = (long)((double)m * p->q);
    long dr = k > 1 && (rows - m) / (k - 1) > 1 ? (rows - m) / (k - 1) : 1;
    long dc = k > 1 && (cols - n) / (k - 1) > 1 ? (cols - n) / (k - 1) : 1;

    for (long i = 0; i < k && i * dr <= rows - m; i++)
        for (long j = 0; j < k && j * dc <= cols - n; j++)
            count += box_svd(b, 0, (size_t)(i * dr), (size_t)(j * dc), (size_t)m, (size_t)n, 1,
                             out + count);
    qsort(out, count, sizeof *out, compare_doubles);
    return count;
}

static const struct {
    size_t rows, cols, window;
    double q;
    size_t windows;
} shapes[] = {{50, 40, 20, 1, 5},    {40, 50, 20, 1, 5},    {40, 50, 20, 2, 4},
              {40, 50, 20, 0.5, 4},  {61, 47, 23, 0.7, 6},  {47, 61, 23, 1.3, 6},
              {30, 30, 100, 1, 4},   {33, 90, 100, 2.5, 4}, {90, 33, 100, 0.3, 7},
              {37, 41, 37, 1, 3},    {37, 41, 20, 1, 1},    {200, 30, 10, 1, 3},
              {30, 200, 10, 0.4, 3}, {2, 2, 2, 1, 2},       {9, 9, 8, 1, 50},
              {64, 64, 16, 4, 4},    {300, 280, 140, 1, 4}, {700, 620, 560, 1, 2}};

static void windows_by_svd(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        double *w = gauss_matrix(7 + s, shapes[s].rows, shapes[s].cols), *pool = NULL;
        struct boxes b = boxes_of(w, shapes[s].rows, shapes[s].cols);
        struct farms_params p = params(shapes[s].window, shapes[s].q, shapes[s].windows);
        double *expect = malloc((64 * 64 + 1) * shapes[s].rows * sizeof *expect), *scratch;
        struct farms_plan plan;
        struct farms_result f;
        struct hill_fit h;
        size_t n;

        assert_int_equal(farms_plan_linear(&p, b.rows, b.cols, &plan, NULL), 0);
        assert_int_equal(farms_all(&plan, &b, &f, &pool, NULL), 0);
        n = pool_by_svd(&b, &p, expect);
        assert_int_equal(f.n_evals, n);
        for (size_t i = 0; i < n; i++)
            if (!(fabs(pool[i] - expect[i]) <= 1e-13 * expect[n - 1])) {
                print_error("shape %zu, eigenvalue %zu: %.17g for %.17g\n", s, i, pool[i],
                            expect[i]);
                fail();
            }
        scratch = malloc(2 * n * sizeof *scratch);
        assert_int_equal(hill_fit(expect, n, HILL_MID, 0, scratch, &h, NULL), 0);
        assert_int_equal(f.status, n < FARMS_EVALS_MIN ? HILL_TOO_FEW : h.status);
        if (f.status == HILL_OK) {
            assert_true(fabs(f.alpha - h.alpha) < 1e-9 * h.alpha);
            assert_true(fabs(f.D - h.D) < 1e-9);
        }
        assert_true(f.standard_error == 0);
        free(w);
        free(pool);
        free(expect);
        free(scratch);
    }
}

/* Windows of one strip share their Gram matrix: every line is read once. */
static void lines_read_once(void **state)
{
    double *w = gauss_matrix(3, 120, 100);
    struct boxes b = boxes_of(w, 120, 100);
    struct farms_params p = params(60, 1, 5);
    struct farms_plan plan;
    struct farms_result f;

    (void)state;
    assert_int_equal(farms_plan_linear(&p, 120, 100, &plan, NULL), 0);
    assert_int_equal(farms_all(&plan, &b, &f, NULL, NULL), 0);
    assert_int_equal(plan.n_runs, 6); /* the last strip in two: 3 and 2 windows of 15 lines step */
    assert_int_equal(b.n_read, 4 * 120 * 60 + 90 * 60 + 75 * 60);
    free(w);
}

/* --- convolutions -------------------------------------------------------------------------- */

static void conv_by_svd(void **state)
{
    static const struct {
        size_t out, in, positions;
        double q;
        size_t h, w; /* 5 // (1 / 0.6) is 2 */
    } shape[] = {{12, 5, 9, 1, 5, 5},   {5, 12, 9, 1, 5, 5},   {12, 5, 9, 2, 2, 5},
                 {5, 17, 4, 1.7, 2, 5}, {17, 5, 4, 0.6, 5, 2}, {16, 16, 9, 0.5, 16, 8},
                 {16, 16, 9, 3, 5, 16}, {30, 1, 25, 1, 1, 1}};

    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(shape); s++) {
        size_t o = shape[s].out, c = shape[s].in, k = shape[s].positions;
        size_t tall = o > c ? o : c, flat = o > c ? c : o, n = 0, groups = tall / flat;
        double q = shape[s].q, *w = gauss_matrix(70 + s, o, c * k), alpha = 0, d = 0;
        size_t h = shape[s].h, v = shape[s].w;
        struct boxes b = {
            .w = w, .rows = o, .cols = c, .row_stride = c * k, .col_stride = k, .slice_stride = 1};
        struct boxes t = b; /* turned to be tall */
        struct farms_params p = params(100, q, 4);
        struct farms_plan plan;
        struct farms_result f;

        if (c > o)
            t = (struct boxes){.w = w,
                               .rows = c,
                               .cols = o,
                               .row_stride = k,
                               .col_stride = c * k,
                               .slice_stride = 1};
        for (size_t g = 0; g < groups; g++) {
            double pool[4096], scratch[8192];
            struct hill_fit fit;

            n = 0;
            for (size_t i = 0; i < k; i++)
                n += box_svd(&t, i, g * h, 0, h, v, 0.5, pool + n);
            qsort(pool, n, sizeof *pool, compare_doubles);
            assert_int_equal(hill_fit(pool, n, HILL_MID, 0, scratch, &fit, NULL), 0);
            assert_int_equal(fit.status, HILL_OK);
            alpha += fit.alpha / (double)groups;
            d += fit.D / (double)groups;
        }
        assert_int_equal(farms_plan_conv(&p, o, c, k, &plan, NULL), 0);
        assert_int_equal(farms_all(&plan, &b, &f, NULL, NULL), 0);
        assert_int_equal(f.status, HILL_OK);
        assert_int_equal(f.n_evals, n * groups);
        if (!(fabs(f.alpha - alpha) < 1e-9 * alpha) || !(fabs(f.D - d) < 1e-9)) {
            print_error("conv %zu: alpha %.12g for %.12g, D %g for %g\n", s, f.alpha, alpha, f.D,
                        d);
            fail();
        }
        free(w);
    }
}

/* Q1 of the peak rule makes it depend on the factor 1/2 of convolutions. */
static void conv_is_halved(void **state)
{
    double w[4] = {3, 0, 0, 5}, *pool = NULL;
    struct boxes b = {
        .w = w, .rows = 2, .cols = 1, .row_stride = 2, .col_stride = 2, .slice_stride = 1};
    struct farms_params p = params(100, 1, 4);
    struct farms_plan plan;
    struct farms_result f;

    (void)state;
    assert_int_equal(farms_plan_conv(&p, 2, 1, 2, &plan, NULL), 0);
    assert_int_equal(farms_all(&plan, &b, &f, &pool, NULL), 0);
    assert_true(pool[1] == 4.5 && pool[3] == 12.5);
    assert_int_equal(f.status, HILL_TOO_FEW);
    free(pool);
}

/* --- published values ---------------------------------------------------------------------- */

static double published(const json_t *farms, const char *key, const char *fit, const char *what)
{
    return json_number_value(
        json_object_get(json_object_get(json_object_get(farms, key), fit), what));
}

static void check_published(const struct boxes *b, const json_t *farms, const char *name)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)farms, key, value)
    {
        struct boxes box = *b;
        struct farms_params p = {0};
        struct farms_plan plan;
        struct farms_result f;

        assert_int_equal(sscanf(key, "rows%zu_Q%lf_ops%zu", &p.rows, &p.q, &p.windows), 3);
        assert_int_equal(farms_plan_linear(&p, b->rows, b->cols, &plan, NULL), 0);
        assert_int_equal(farms_all(&plan, &box, &f, NULL, NULL), 0);
        assert_int_equal(f.n_evals, json_integer_value(json_object_get(value, "n_eigs")));
        if (!(fabs(f.alpha - published(farms, key, "xmin_mid", "alpha")) < 1e-9) ||
            !(fabs(f.D - published(farms, key, "xmin_mid", "D")) < 1e-7)) /* k / n in float */
            fail_msg("%s %s: mid alpha %.12g, D %.12g", name, key, f.alpha, f.D);
        plan.params.fit = HILL_PEAK_UPSTREAM;
        box = *b;
        assert_int_equal(farms_all(&plan, &box, &f, NULL, NULL), 0);
        if (!(fabs(f.alpha - published(farms, key, "xmin_peak", "alpha")) < 1e-6) ||
            !(fabs(f.D - published(farms, key, "xmin_peak", "D")) < 1e-6))
            fail_msg("%s %s: peak alpha %.12g", name, key, f.alpha);
    }
}

static void published_values(void **state)
{
    json_t *golden = json_load_file(TEST_DATA "/manlm_farms.json", 0, NULL), *layer;
    struct tensor_file f = {0};
    const char *name;
    size_t n_layers = 0;

    (void)state;
    assert_non_null(golden);
    assert_int_equal(tensor_file_open(&f, TEST_DATA "/../../examples/manlm.safetensors"), 0);
    json_object_foreach(json_object_get(golden, "layers"), name, layer)
    {
        const json_t *shape = json_object_get(layer, "shape");
        char tensor[128];
        double *w;
        struct boxes b;

        (void)snprintf(tensor, sizeof tensor, "%s.weight", name);
        w = tensor_file_bf16(&f, tensor, &b);
        assert_non_null(w);
        assert_int_equal(b.rows, json_integer_value(json_array_get(shape, 0)));
        check_published(&b, json_object_get(layer, "farms"), name);
        free(w);
        n_layers++;
    }
    assert_int_equal(n_layers, 28);
    json_decref(golden);
    tensor_file_close(&f);
}

/* --- checks -------------------------------------------------------------------------------- */

static void assert_refused(struct farms_params p, size_t rows, size_t cols, const char *pointer)
{
    struct farms_plan plan = {.order = 77};
    struct err err = {0};

    assert_int_equal(farms_plan_linear(&p, rows, cols, &plan, &err), ERR_INVALID);
    assert_string_equal(err.pointer, pointer);
    assert_int_equal(plan.order, 77);
}

static void bad_parameters(void **state)
{
    struct farms_params p = params(20, 1, 5);

    (void)state;
    assert_refused(params(1, 1, 5), 50, 50, "/rows");
    assert_refused(params(FARMS_ROWS_MAX + 1, 1, 5), 50, 50, "/rows");
    assert_refused(params(20, 0, 5), 50, 50, "/q");
    assert_refused(params(20, NAN, 5), 50, 50, "/q");
    assert_refused(params(20, 101, 5), 50, 50, "/q");
    assert_refused(params(20, 1, 0), 50, 50, "/windows");
    assert_refused(params(20, 1, FARMS_WINDOWS_MAX + 1), 50, 50, "/windows");
    p.fit = (enum hill_rule)(HILL_TOP + 1);
    assert_refused(p, 50, 50, "/fit");
    p.fit = HILL_TOP;
    p.mode = FARMS_FAST;
    assert_refused(p, 50, 50, "/mode");
    p.mode = FARMS_EXACT;
    p.precision = PRECISION_SINGLE;
    assert_int_equal(farms_params_check(&p, NULL), 0);
    p.fit = HILL_KS;
    p.precision = PRECISION_SINGLE;
    assert_refused(p, 50, 50, "/fit");
    p.precision = PRECISION_DOUBLE;
    p.mode = FARMS_FAST;
    assert_refused(p, 50, 50, "/mode");
    /* Windows of 30 x 60 in 50 x 50: upstream takes the last 40 columns, here and with 30 x 120
     * everything. */
    assert_refused(params(30, 2, 5), 50, 50, "/q");
    assert_refused(params(30, 4, 5), 50, 50, "/q");
    assert_refused(params(3, 0.1, 5), 50, 50, "/q");
}

/* Zeros are left out, and do not make the exponent infinite. */
static void zeros(void **state)
{
    double *w = gauss_matrix(9, 60, 60);
    struct boxes b = boxes_of(w, 60, 60);
    struct farms_params p = params(40, 1, 3);
    struct farms_plan plan;
    struct farms_result f;

    (void)state;
    for (size_t i = 0; i < 60; i++)
        for (size_t j = 20; j < 60; j++) /* rank 20 */
            w[i * 60 + j] = w[i * 60 + j % 20] + w[i * 60 + j / 3];
    assert_int_equal(farms_plan_linear(&p, 60, 60, &plan, NULL), 0);
    assert_int_equal(farms_all(&plan, &b, &f, NULL, NULL), 0);
    assert_int_equal(f.status, HILL_OK);
    assert_int_equal(f.n_evals, 9 * 40);
    assert_int_equal(f.n_zero, 9 * 20);
    assert_true(isfinite(f.alpha) && f.alpha > 1);
    memset(w, 0, 3600 * sizeof *w);
    assert_int_equal(farms_all(&plan, &b, &f, NULL, NULL), 0);
    assert_int_equal(f.status, HILL_TOO_FEW);
    assert_true(isnan(f.alpha));
    free(w);
}

static void hostile_weights(void **state)
{
    double *w = gauss_matrix(9, 60, 60), lambda[360];
    struct boxes b = boxes_of(w, 60, 60);
    struct farms_source src = {boxes_read, &b};
    struct farms_params p = params(40, 1, 3);
    struct farms_plan plan;
    struct farms_run_info info;
    struct err err = {0};

    (void)state;
    assert_int_equal(farms_plan_linear(&p, 60, 60, &plan, NULL), 0);
    w[30 * 60 + 30] = NAN;
    w[31 * 60 + 30] = INFINITY;
    assert_int_equal(farms_run(&plan, 0, &src, lambda, &info, &err), 0);
    assert_int_equal(info.n_nonfinite, 2);
    w[30 * 60 + 30] = 1e200;
    w[31 * 60 + 30] = 1;
    assert_int_equal(farms_run(&plan, 0, &src, lambda, &info, &err), ERR_NUMERIC);
    w[30 * 60 + 30] = 1e25; /* its square is no float */
    plan.params.precision = PRECISION_SINGLE;
    assert_int_equal(farms_run(&plan, 0, &src, lambda, &info, &err), 0);
    assert_true(fabs(lambda[39] / 1e50 - 1) < 1e-6);
    free(w);
}

/* --- precision and sampling ---------------------------------------------------------------- */

static void single_precision(void **state)
{
    double *w = gauss_matrix(9, 700, 640);
    struct boxes b = boxes_of(w, 700, 640);
    struct farms_params p = params(560, 1, 2);
    struct farms_plan plan;
    struct farms_result f, g;

    (void)state;
    assert_int_equal(farms_plan_linear(&p, 700, 640, &plan, NULL), 0);
    assert_int_equal(farms_all(&plan, &b, &f, NULL, NULL), 0);
    plan.params.precision = PRECISION_SINGLE;
    assert_int_equal(farms_all(&plan, &b, &g, NULL, NULL), 0);
    assert_false(g.unresolved);
    assert_true(f.alpha != g.alpha && fabs(f.alpha - g.alpha) < 1e-4);
    for (size_t i = 0; i < 700; i++) /* most of it has rank 100 */
        for (size_t j = 100; j < 640; j++)
            w[i * 640 + j] = w[i * 640 + j % 100];
    assert_int_equal(farms_all(&plan, &b, &g, NULL, NULL), 0);
    assert_true(g.unresolved && isnan(g.alpha));
    free(w);
}

/* One window in every row and column of the grid. */
static void design_is_latin(void **state)
{
    (void)state;
    for (size_t n = 2; n <= FARMS_WINDOWS_MAX; n++) {
        struct farms_plan p = {.n_order = n, .n_length = n, .n_runs = n};
        bool row[FARMS_WINDOWS_MAX] = {0}, column[FARMS_WINDOWS_MAX] = {0};
        size_t diagonal = 0;

        for (size_t k = 0; k < n; k++) {
            size_t i, j;

            farms_sampled_window(&p, k, &i, &j);
            assert_true(i < n && j < n && !row[i] && !column[j]);
            row[i] = column[j] = true;
            diagonal += i == j || i + j == n - 1;
        }
        assert_true(n < 4 || diagonal < n);
    }
}

/* A sample is off by about its standard error, on matrices that are alike everywhere and on
 * ones that are not. */
static void sampled(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        double *w = gauss_matrix(40 + (uint64_t)kind, 480, 480);
        struct boxes b = boxes_of(w, 480, 480);
        struct farms_params p = params(240, 1, 15);
        struct farms_plan plan;
        struct farms_result all, part;

        for (size_t i = 0; kind > 0 && i < 480; i++)
            for (size_t j = 0; j < 480; j++)
                w[i * 480 + j] *= kind == 1 ? 1 / (1 + (double)j) : exp((double)(i * j) / 1e5);
        assert_int_equal(farms_plan_linear(&p, 480, 480, &plan, NULL), 0);
        assert_int_equal(farms_all(&plan, &b, &all, NULL, NULL), 0);
        plan.sampled = true;
        plan.cut = false;
        plan.n_runs = 12;
        plan.params.mode = FARMS_FAST;
        assert_int_equal(farms_all(&plan, &b, &part, NULL, NULL), 0);
        assert_int_equal(part.n_evals, 12 * 240);
        assert_true(part.standard_error > 0 && part.standard_error < 0.02 * all.alpha);
        if (!(fabs(part.alpha - all.alpha) < 4 * part.standard_error))
            fail_msg("kind %d: alpha %g of all, %g of a sample, error %g", kind, all.alpha,
                     part.alpha, part.standard_error);
        free(w);
    }
}

/* Large enough to be sampled, and not. */
static void when_sampled(void **state)
{
    struct farms_params p = params(2000, 1, 15);
    struct farms_plan plan;

    (void)state;
    p.mode = FARMS_FAST;
    assert_int_equal(farms_plan_linear(&p, 4096, 4096, &plan, NULL), 0);
    assert_true(plan.sampled && plan.n_runs == 12 && farms_values(&plan) == 12 * 2000);
    assert_int_equal(farms_plan_linear(&p, 300, 300, &plan, NULL), 0);
    assert_false(plan.sampled);
    assert_int_equal(farms_plan_linear(&p, 2000, 11008, &plan, NULL), 0);
    assert_false(plan.sampled); /* one row of windows */
    p.mode = FARMS_EXACT;
    assert_int_equal(farms_plan_linear(&p, 4096, 11008, &plan, NULL), 0);
    assert_int_equal(plan.step_order, 149);
    assert_int_equal(plan.step_length, 643);
    assert_int_equal(farms_values(&plan), 450000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_by_svd),
        cmocka_unit_test(lines_read_once),
        cmocka_unit_test(conv_by_svd),
        cmocka_unit_test(conv_is_halved),
        cmocka_unit_test(published_values),
        cmocka_unit_test(bad_parameters),
        cmocka_unit_test(zeros),
        cmocka_unit_test(hostile_weights),
        cmocka_unit_test(single_precision),
        cmocka_unit_test(design_is_latin),
        cmocka_unit_test(sampled),
        cmocka_unit_test(when_sampled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
