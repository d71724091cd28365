/* test_powerlaw_distinct.c: power laws with ties and limits against powerlaw 1.5, against
 * powerlaw.h, and against samples of known exponent; fingers against WeightWatcher.
 */
#include "compute/fingers.h"
#include "compute/hill.h"
#include "compute/powerlaw_distinct.h"

#include "golden.h"
#include "tail_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int run(const double *x, size_t n, const struct powerlaw_limits *l, struct powerlaw_fit *f)
{
    double *work = malloc((POWERLAW_DISTINCT_WORK(n) + 1) * sizeof *work);
    int r = powerlaw_distinct(x, n, l, work, f, NULL);

    free(work);
    return r;
}

static void check_published(const json_t *want, const double *x, size_t n,
                            const struct powerlaw_limits *l, double tolerance, const char *name)
{
    struct powerlaw_fit f;
    double alpha = number_at(want, "alpha"), xmin = number_at(want, "xmin");

    if (isnan(alpha)) { /* upstream: no candidate */
        assert_int_equal(run(x, n, l, &f), ERR_NUMERIC);
        return;
    }
    assert_int_equal(run(x, n, l, &f), 0);
    if (!near(f.alpha, alpha, tolerance) || !near(f.D, number_at(want, "D"), tolerance))
        print_error("%s: alpha %.12g D %.12g xmin %g\n", name, f.alpha, f.D, f.xmin);
    assert_true(near(f.alpha, alpha, tolerance));
    assert_true(near(f.D, number_at(want, "D"), tolerance));
    assert_true(isnan(xmin) || f.xmin == xmin);
    if (json_object_get(want, "sigma"))
        assert_true(near(f.sigma, number_at(want, "sigma"), tolerance));
}

static void test_powerlaw15(void **state)
{
    json_t *all = powerlaw_tails(), *golden = golden_load(), *o;
    const char *name;
    double *x;
    size_t n;

    (void)state;
    json_object_foreach(all, name, o)
    {
        struct powerlaw_limits l = {.upper = POWERLAW_OPEN};

        if (!json_is_object(o))
            continue;
        x = sorted_array(json_object_get(o, "data"), &n);
        check_published(json_object_get(o, "pl"), x, n, &l, 1e-11, name);
        l.upper = POWERLAW_FORCE; /* upstream ends its simplex within 1e-4 of the closed form */
        check_published(json_object_get(o, "pl_force"), x, n, &l, 1e-4, name);
        l.upper = POWERLAW_OPEN;
        l.has_xmin = true;
        l.xmin = number_at(json_object_get(o, "pl_at"), "at");
        check_published(json_object_get(o, "pl_at"), x, n, &l, 1e-3, name);
        l.has_xmin = false;
        l.has_range = true;
        l.low = number_at(json_object_get(o, "pl_range"), "low");
        l.high = number_at(json_object_get(o, "pl_range"), "high");
        check_published(json_object_get(o, "pl_range"), x, n, &l, 1e-11, name);
        free(x);
    }
    o = json_object_get(golden, "pl_1d_ties");
    x = sorted_array(json_object_get(o, "data"), &n);
    check_published(json_object_get(o, "powerlaw15"), x, n, NULL, 1e-12, "ties");
    free(x);
    json_decref(all);
    json_decref(golden);
}

/* Without ties and limits nothing is different. */
static void test_same_as_powerlaw(void **state)
{
    (void)state;
    for (int kind = 0; kind < SAMPLE_TIES; kind++) {
        size_t n = 600;
        double *x = sample_new((enum sample)kind, n, 2), work[1200];
        struct powerlaw_fit a, b;

        assert_int_equal(powerlaw_fit(x, n, work, &a, NULL), 0);
        assert_int_equal(run(x, n, NULL, &b), 0);
        assert_true(near(b.alpha, a.alpha, 1e-11) && near(b.D, a.D, 1e-10) && a.xmin == b.xmin &&
                    a.n_tail == b.n_tail && near(b.sigma, a.sigma, 1e-11));
        free(x);
    }
}

/* Values cut at xmax: the truncated law finds the exponent again, the open one does not. */
static void test_truncated(void **state)
{
    size_t n = 20000, kept = 0;
    double *x = sample_new(SAMPLE_POWER_LAW, n, 6);
    struct powerlaw_limits l = {.has_xmin = true, .xmin = 1, .has_xmax = true, .xmax = 3};
    struct powerlaw_fit open, closed;

    (void)state;
    while (x[kept] <= 3)
        kept++;
    assert_int_equal(run(x, n, &l, &open), 0);
    l.upper = POWERLAW_TRUNCATED;
    assert_int_equal(run(x, n, &l, &closed), 0);
    assert_true(open.n_tail == kept && closed.n_tail == kept && closed.xmax == 3);
    assert_true(fabs(closed.alpha - 2.5) < 4 * closed.sigma && closed.sigma < 0.06);
    assert_true(open.alpha > 3);
    assert_true(closed.D < 1.8 / sqrt((double)kept) && open.D > 0.05);
    l.xmax = 1e12; /* far away: the same as open */
    l.has_xmin = false;
    assert_int_equal(run(x, n, &l, &closed), 0);
    assert_int_equal(run(x, n, NULL, &open), 0);
    assert_true(near(closed.alpha, open.alpha, 1e-6) && closed.xmin == open.xmin);
    free(x);
}

/* The equation is solved for tails of all widths; where the density would rise there is no fit. */
static void test_truncated_equation(void **state)
{
    (void)state;
    for (double b = 1e-6; b < 1e4; b *= 7)
        for (double share = 0.001; share < 0.6; share += 0.013) {
            double x[2] = {1, exp(fmin(2 * share * b, 700))}, mean = log(x[1]) / 2, a, t, end;
            struct powerlaw_limits l = {.has_xmin = true,
                                        .xmin = 1,
                                        .has_xmax = true,
                                        .xmax = exp(fmin(b, 709)),
                                        .upper = POWERLAW_TRUNCATED};
            struct powerlaw_fit f;
            int r;

            if (x[1] >= l.xmax)
                continue;
            r = run(x, 2, &l, &f);
            end = log(l.xmax);
            if (share >= 0.5 && r == ERR_NUMERIC)
                continue;
            assert_int_equal(r, 0);
            a = f.alpha - 1;
            t = a * end;
            if (t > 1e-2) /* below, this formula itself cancels */
                assert_true(fabs(1 / a - end / expm1(t) - mean) < 1e-9 * mean + 1e-9 * end);
        }
}

static void test_fingers(void **state)
{
    json_t *all = powerlaw_tails();
    const json_t *o;
    size_t i, fired = 0;

    (void)state;
    json_array_foreach(json_object_get(all, "clip_xmax"), i, o)
    {
        struct fingers_options opt = {.compat = true, .max_fingers = 10, .thresh = 1};
        struct fingers_fit f, g;
        double work[100];
        size_t n;
        double *x = sorted_array(json_object_get(o, "data"), &n);

        opt.n_all = n;
        assert_int_equal(fingers_clip(x, n, &opt, work, &f, NULL), 0);
        assert_true(near(f.fit.alpha, number_at(o, "alpha"), 1e-12));
        assert_true(near(f.raw_alpha, number_at(o, "raw_alpha"), 1e-12));
        assert_true(near(f.fit.D, number_at(o, "D"), 1e-11));
        assert_true(f.fit.xmin == number_at(o, "xmin") && f.fit.xmax == number_at(o, "xmax"));
        assert_int_equal(f.num_fingers, (size_t)number_at(o, "num_fingers"));
        assert_int_equal(f.removed, f.num_fingers ? f.num_fingers + 1 : 0);
        fired += f.num_fingers > 0;
        opt.compat = false;
        assert_int_equal(fingers_clip(x, n, &opt, work, &g, NULL), 0);
        assert_true(g.removed == g.num_fingers && g.raw_alpha == f.raw_alpha);
        assert_true(!f.removed || (g.removed > 0 && g.removed <= f.removed));
        opt.thresh = 1e9;
        assert_int_equal(fingers_clip(x, n, &opt, work, &g, NULL), 0);
        assert_true(g.removed == 0 && g.fit.alpha == g.raw_alpha);
        free(x);
    }
    assert_true(fired >= 4);
    json_decref(all);
}

/* One finger is found by the default, and cannot be by upstream. */
static void test_one_finger(void **state)
{
    double x[60], work[120];
    struct fingers_options opt = {.max_fingers = 10, .thresh = 0.2, .n_all = 60};
    struct fingers_fit f;
    size_t n = 0;

    (void)state;
    for (; n < 59; n++)
        x[n] = pow(1 - ((double)n + 0.5) / 59, -1 / 1.8);
    x[n] = x[n - 1] * 1.0001; /* one more, next to the largest */
    n++;
    assert_int_equal(fingers_clip(x, n, &opt, work, &f, NULL), 0);
    assert_true(f.removed <= 1);
    assert_int_equal(fingers_clip(x, 1, &opt, work, &f, NULL), ERR_NUMERIC);
    opt.compat = true;
    assert_int_equal(fingers_clip(x, 5, &opt, work, &f, NULL), ERR_NUMERIC);
}

/* xmin_peak of the golden matrices is in test_hill.c; here the ranges, and powerlaw's reading. */
static void test_peak_range(void **state)
{
    double x[] = {0.01, 0.1, 1, 1.01, 1.02, 1.03, 10, 100}, low, high, peak = hill_peak(x, 8);

    (void)state;
    assert_true(peak > 0.9 && peak <= 1);
    assert_int_equal(fingers_peak_range(x, 8, 0, false, &low, &high, NULL), 0);
    assert_true(near(low, 0.95 * peak, 1e-15) && near(high, 1.5 * peak, 1e-15));
    assert_int_equal(fingers_peak_range(x, 8, 7, true, &low, &high, NULL), 0);
    assert_true(near(low, log10(0.95 * peak), 1e-15) && high == 7);
    assert_int_equal(fingers_peak_range(x + 2, 1, 0, false, &low, &high, NULL), ERR_NUMERIC);
}

static void test_drop_top(void **state)
{
    double x[] = {1, 2, 3, 4, 7};
    struct err err;
    size_t keep;

    (void)state;
    assert_int_equal(fingers_drop_top(x, 5, 6, 3, false, &keep, &err), 0);
    assert_int_equal(keep, 2);
    assert_int_equal(fingers_drop_top(x, 5, 20, 10, false, &keep, &err), 0);
    assert_int_equal(keep, 0);
    assert_int_equal(fingers_drop_top(x, 5, 6, 4, false, &keep, &err), ERR_INVALID);
    assert_int_equal(fingers_drop_top(x, 5, 6, 6, true, &keep, &err), 0); /* 6 as a value */
    assert_int_equal(keep, 5);
    assert_int_equal(fingers_drop_top(x, 5, 6, 5, true, &keep, &err), 0);
    assert_int_equal(keep, 4);
}

static void test_hostile(void **state)
{
    double two[] = {1, 2}, same[] = {3, 3}, wide[] = {1e-300, 1e-200, 1, 1e150, 1e300};
    double nan[] = {1, NAN}, close[] = {1, 1 + 1e-15, 1 + 1e-14}, top[] = {1, 2, 1e308, 1e308};
    struct powerlaw_limits l = {.upper = POWERLAW_OPEN};
    struct powerlaw_fit f;

    (void)state;
    for (int upper = POWERLAW_OPEN; upper <= POWERLAW_FORCE; upper++) {
        l.upper = (enum powerlaw_upper)upper;
        assert_int_equal(run(same, 2, &l, &f), ERR_NUMERIC);
        assert_int_equal(run(two, 0, &l, &f), ERR_NUMERIC);
        assert_int_equal(run(nan, 2, &l, &f), ERR_INVALID);
        assert_true(run(two, 2, &l, &f) == 0 || upper == POWERLAW_TRUNCATED);
        assert_true(run(wide, 5, &l, &f) != 0 || (f.alpha > 1 && f.D <= 1));
        assert_true(run(close, 3, &l, &f) != 0 || (f.alpha > 1 && f.D <= 1));
        assert_true(run(top, 4, &l, &f) != 0 || (f.alpha > 1 && f.D <= 1));
    }
    l = (struct powerlaw_limits){.has_xmin = true, .xmin = 3};
    assert_int_equal(run(two, 2, &l, &f), ERR_NUMERIC);
    l.xmin = -1;
    assert_int_equal(run(two, 2, &l, &f), ERR_INVALID);
    l = (struct powerlaw_limits){.has_range = true, .low = 2, .high = 1};
    assert_int_equal(run(two, 2, &l, &f), ERR_INVALID);
    l = (struct powerlaw_limits){.has_xmax = true, .xmax = NAN};
    assert_int_equal(run(two, 2, &l, &f), ERR_INVALID);
    l = (struct powerlaw_limits){.min_tail = 3};
    assert_int_equal(run(two, 2, &l, &f), ERR_NUMERIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_powerlaw15), cmocka_unit_test(test_same_as_powerlaw),
        cmocka_unit_test(test_truncated),  cmocka_unit_test(test_truncated_equation),
        cmocka_unit_test(test_fingers),    cmocka_unit_test(test_one_finger),
        cmocka_unit_test(test_peak_range), cmocka_unit_test(test_drop_top),
        cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
