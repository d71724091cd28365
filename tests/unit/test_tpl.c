/* test_tpl.c: the truncated power law against powerlaw 1.5 (compat), against the conditions of a
 * maximum, against the full scan, and on hostile data.
 */
#include "compute/tpl.h"

#include "golden.h"
#include "tail_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int run(const double *x, size_t n, const struct tpl_options *opt, struct tpl_fit *f)
{
    double *work = malloc((TPL_WORK(n) + 1) * sizeof *work);
    int r = tpl_fit(x, n, opt, work, f, NULL);

    free(work);
    return r;
}

static void check_published(const json_t *want, const double *x, size_t n,
                            const struct tpl_options *opt, const char *name)
{
    double D = number_at(want, "D");
    struct tpl_fit f;

    assert_int_equal(run(x, n, opt, &f), 0);
    if (!near(f.alpha, number_at(want, "alpha"), 1e-9) ||
        !near(f.Lambda, number_at(want, "Lambda"), 1e-6) || !near(f.D, D, 1e-9) ||
        f.xmin != number_at(want, "xmin"))
        print_error("%s: alpha %.12g Lambda %.12g D %.12g xmin %.12g\n", name, f.alpha, f.Lambda,
                    f.D, f.xmin);
    assert_true(near(f.alpha, number_at(want, "alpha"), 1e-9));
    assert_true(near(f.Lambda, number_at(want, "Lambda"), 1e-6));
    assert_true(near(f.D, D, 1e-9));
    assert_true(f.xmin == number_at(want, "xmin"));
}

/* The simplex takes the same steps as SciPy's, so far more digits agree than it converges to. */
static void test_compat(void **state)
{
    json_t *golden = golden_load(), *all = powerlaw_tails(), *o;
    const json_t *tpl = json_object_get(golden, "tpl_1d"), *range;
    struct tpl_options opt = {.compat = true};
    const char *name;
    size_t n;
    double *x = sorted_array(json_object_get(tpl, "data"), &n);

    (void)state;
    check_published(tpl, x, n, &opt, "golden");
    free(x);
    json_object_foreach(all, name, o)
    {
        if (!json_is_object(o))
            continue;
        x = sorted_array(json_object_get(o, "data"), &n);
        check_published(json_object_get(o, "tpl"), x, n, &opt, name);
        opt.force = true;
        check_published(json_object_get(o, "tpl_force"), x, n, &opt, name);
        opt.force = false;
        range = json_object_get(o, "tpl_range");
        opt.has_range = true;
        opt.low = number_at(range, "low");
        opt.high = number_at(range, "high");
        check_published(range, x, n, &opt, name);
        opt.has_range = false;
        free(x);
    }
    json_decref(golden);
    json_decref(all);
}

/* At the maximum the model's means are the data's: E x by the exponential integrals, which the
 * search does not use; E ln x by a difference of them. On an edge the derivative points outwards.
 */
static void check_maximum(const double *x, size_t n, const struct tpl_fit *f)
{
    double mean_x = 0, mean_u = 0, z = f->Lambda * f->xmin, h = 1e-4, model_u, model_x;
    struct expint e, below, up, down;
    size_t first = n - f->n_tail;

    for (size_t k = first; k < n; k++) {
        mean_x += x[k] / f->xmin / (double)f->n_tail;
        mean_u += log(x[k] / f->xmin) / (double)f->n_tail;
    }
    expint_init(&e, f->alpha);
    expint_init(&up, f->alpha + h);
    expint_init(&down, f->alpha - h);
    model_u = log(expint_scaled(&down, z) / expint_scaled(&up, z)) / (2 * h);
    if (f->edge == TPL_PURE) {
        assert_true(near(f->alpha, 1 + 1 / mean_u, 1e-12));
        assert_true(f->alpha > 2 && mean_x >= (f->alpha - 1) / (f->alpha - 2));
        return;
    }
    expint_init(&below, f->alpha - 1);
    model_x = expint_scaled(&below, z) / expint_scaled(&e, z);
    if (f->edge == TPL_INSIDE) {
        assert_true(near(model_x, mean_x, 1e-8));
        assert_true(near(model_u, mean_u, 1e-6));
    } else {
        assert_true(f->alpha == 1);
        assert_true(near(model_x, mean_x, 1e-8));
        assert_true(model_u < mean_u * (1 + 1e-6));
    }
}

static void test_maximum(void **state)
{
    (void)state;
    for (int kind = 0; kind < SAMPLE_COUNT; kind++)
        for (size_t n = 3; n < 700; n = n * 3 + 1) {
            double *x = sample_new((enum sample)kind, n, n), work[TPL_WORK(700)];
            struct tpl_fit f, c;
            struct tpl_options compat = {.compat = true};

            if (x[0] != x[n - 1]) {
                assert_int_equal(tpl_fit(x, n, NULL, work, &f, NULL), 0);
                check_maximum(x, n, &f);
                assert_int_equal(
                    tpl_fit_at(x + n - f.n_tail, f.n_tail, f.xmin, NULL, work, &c, NULL), 0);
                assert_true(near(c.alpha, f.alpha, 1e-8) && near(c.D, f.D, 1e-8));
                assert_true(fabs(c.log_likelihood - f.log_likelihood) < 1e-8 * (double)n);
                assert_int_equal(
                    tpl_fit_at(x + n - f.n_tail, f.n_tail, f.xmin, &compat, work, &c, NULL), 0);
                assert_true(c.log_likelihood < f.log_likelihood + 1e-9 * (double)n);
            }
            free(x);
        }
}

/* Leaving out points and candidates changes no bit. */
static void test_scan(void **state)
{
    (void)state;
    for (int kind = 0; kind < SAMPLE_COUNT; kind++)
        for (int compat = 0; compat < 2; compat++) {
            size_t n = 400;
            double *x = sample_new((enum sample)kind, n, 5);
            double *work = malloc(TPL_WORK(n) * sizeof *work);
            struct tpl_options opt = {.compat = compat};
            struct tpl_fit a, b;

            memset(&a, 0, sizeof a);
            memset(&b, 0, sizeof b);
            assert_int_equal(tpl_fit(x, n, &opt, work, &a, NULL), 0);
            assert_int_equal(tpl_fit_reference(x, n, &opt, work, &b, NULL), 0);
            assert_true(a.alpha == b.alpha && a.Lambda == b.Lambda && a.D == b.D &&
                        a.xmin == b.xmin && a.n_tail == b.n_tail);
            free(work);
            free(x);
        }
}

/* A sample's parameters are found again; xmin may lie below the least value. */
static void test_recovers(void **state)
{
    size_t n = 20000;
    double *x = sample_new(SAMPLE_TRUNCATED, n, 1), *work = malloc(TPL_WORK(n) * sizeof *work);
    struct tpl_law law;
    struct tpl_fit f;
    double sum = 0;

    (void)state;
    assert_int_equal(tpl_fit_at(x, n, 1, NULL, work, &f, NULL), 0);
    assert_true(fabs(f.alpha - 1.5) < 0.05 && fabs(f.Lambda - 0.01) < 0.0015);
    assert_true(f.D < 1.8 / sqrt((double)n));
    assert_true(f.xmin == 1 && f.n_tail == n && f.edge == TPL_INSIDE);
    tpl_prepare(&law, f.alpha, f.Lambda, 1);
    for (size_t k = 0; k < n; k++)
        sum += tpl_log_density(&law, x[k], log(x[k]));
    assert_true(near(sum, f.log_likelihood, 1e-11));
    for (double y = 1; y < 500; y *= 1.7) { /* the density is minus the slope of the survival */
        double h = 1e-5 * y, slope = (tpl_survival(&law, y - h / 2, log(y - h / 2)) -
                                      tpl_survival(&law, y + h / 2, log(y + h / 2))) /
                                     h;

        assert_true(y == 1 || near(slope, exp(tpl_log_density(&law, y, log(y))), 1e-6));
    }
    free(work);
    free(x);
}

static void scale(const double *x, size_t n, double by, double *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * by;
}

/* The unit of x does not matter, unlike upstream's. */
static void test_unit(void **state)
{
    size_t n = 200;
    double *x = sample_new(SAMPLE_MIXED, n, 9), y[200];
    struct tpl_fit a, b;

    (void)state;
    assert_int_equal(run(x, n, NULL, &a), 0);
    for (double by = 1e-200; by < 1e201; by *= 1e100) {
        scale(x, n, by, y);
        assert_int_equal(run(y, n, NULL, &b), 0);
        assert_true(near(b.alpha, a.alpha, 1e-9) && near(b.D, a.D, 1e-9));
        assert_true(near(b.xmin, a.xmin * by, 1e-14) && near(b.Lambda * by, a.Lambda, 1e-8));
    }
    free(x);
}

static void check_sane(const double *x, size_t n)
{
    for (int compat = 0; compat < 2; compat++) {
        struct tpl_options opt = {.compat = compat};
        struct tpl_fit f;
        int r = run(x, n, &opt, &f);

        assert_true(r == 0 || r == ERR_NUMERIC);
        if (r == 0)
            assert_true(f.alpha >= 1 && f.Lambda >= 0 && f.D >= 0 && f.D <= 1 &&
                        isfinite(f.alpha) && isfinite(f.Lambda));
    }
}

static void test_hostile(void **state)
{
    double two[] = {1, 2}, same[] = {3, 3, 3}, wide[] = {1e-300, 1e-200, 1, 1e150, 1e300};
    double close[] = {1, 1 + 1e-15, 1 + 1e-14}, top[] = {1, 2, 3, 1e308, 1e308};
    double tiny[] = {5e-324, 1e-323, 1.5e-323}, pair[] = {1, 1, 1, 1, 1e9};
    double nan[] = {1, NAN, 3}, inf[] = {1, 2, INFINITY}, zero[] = {0, 1, 2}, down[] = {3, 2, 1};
    struct tpl_options range = {.has_range = true, .low = 5, .high = 6};
    struct tpl_options longer = {.min_tail = 3};
    struct tpl_fit f;
    struct err err;
    double work[TPL_WORK(8)];

    (void)state;
    check_sane(two, 2);
    check_sane(same, 3);
    check_sane(wide, 5);
    check_sane(close, 3);
    check_sane(top, 5);
    check_sane(tiny, 3);
    check_sane(pair, 5);
    assert_int_equal(run(same, 3, NULL, &f), ERR_NUMERIC);
    assert_int_equal(run(two, 1, NULL, &f), ERR_NUMERIC);
    assert_int_equal(run(two, 0, NULL, &f), ERR_NUMERIC);
    assert_int_equal(run(nan, 3, NULL, &f), ERR_INVALID);
    assert_int_equal(run(inf, 3, NULL, &f), ERR_INVALID);
    assert_int_equal(run(zero, 3, NULL, &f), ERR_INVALID);
    assert_int_equal(run(down, 3, NULL, &f), ERR_INVALID);
    assert_int_equal(run(two, 2, &range, &f), ERR_NUMERIC);
    assert_int_equal(run(two, 2, &longer, &f), ERR_NUMERIC);
    assert_int_equal(tpl_fit_at(two, 2, 1.5, NULL, work, &f, &err), ERR_INVALID);
    assert_int_equal(tpl_fit_at(two, 2, 0.5, NULL, work, &f, &err), 0);
    assert_string_equal(tpl_edge_name(TPL_PURE), "pure_power_law");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compat), cmocka_unit_test(test_maximum),
        cmocka_unit_test(test_scan),   cmocka_unit_test(test_recovers),
        cmocka_unit_test(test_unit),   cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
