/* test_series_trend.c: a column over steps, and what moved between two analyses. Constants are
 * SciPy's. */
#include "compute/series_trend.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const double steps[] = {0, 100, 200, 300, 500, 500, 800, 1000};

static bool near(double got, double want)
{
    return fabs(got - want) <= 1e-12 * fmax(1, fabs(want));
}

static void as_scipy(void **state)
{
    static const double x[] = {2.5, 2.9, 3.4, 3.1, 4.8, 5.2, 6.4, 6.1};
    struct trend s;

    (void)state;
    assert_int_equal(series_trend(steps, x, 8, 2, 6, &s, NULL), 0);
    assert_true(near(s.slope, 0.0046) && near(s.intercept, 2.49));
    assert_true(near(s.kendall, 0.836501912571304) && s.n == 8 && s.first == 2.5 && s.last == 6.1);
    assert_true(s.leaves == 6 && s.returns == TREND_NEVER && s.outside == 2 && s.ends_outside);
}

static void exits(void **state)
{
    static const double x[] = {NAN, 1.5, 3, 7, 4, INFINITY, 6, NAN}, t[] = {1, 1, 1};
    struct trend s;

    (void)state;
    assert_int_equal(series_trend(steps, x, 8, 2, 6, &s, NULL), 0);
    assert_true(s.n == 5 && s.leaves == 1 && s.returns == 2 && s.outside == 2 && !s.ends_outside);
    assert_true(s.first == 1.5 && s.last == 6);
    assert_int_equal(series_trend(steps, x + 2, 1, 2, 6, &s, NULL), 0);
    assert_true(s.n == 1 && isnan(s.slope) && isnan(s.kendall) && s.leaves == TREND_NEVER);
    assert_int_equal(series_trend(t, x + 1, 3, 2, 6, &s, NULL), 0);
    assert_true(isnan(s.slope) && isnan(s.intercept) && isnan(s.kendall)); /* all at one step */
    assert_int_equal(series_trend(steps, x, 0, 2, 6, &s, NULL), 0);
    assert_true(s.n == 0 && isnan(s.first));
    assert_int_equal(series_trend(steps, x, 8, 6, 2, &s, NULL), ERR_INVALID);
    assert_int_equal(series_trend(x + 2, x, 2, 2, 6, &s, NULL), 0);
    assert_int_equal(series_trend(x + 3, x, 2, 2, 6, &s, NULL), ERR_INVALID); /* 7, 4: falls */
    assert_int_equal(series_trend(x, x, 2, 2, 6, &s, NULL), ERR_INVALID);
    assert_int_equal(series_trend(steps, x, TREND_STEPS_MAX + 1, 2, 6, &s, NULL), ERR_LIMIT);
}

/* A line with noise, and a quarter of its values wild: the slope stays. */
static void wild_values(void **state)
{
    double t[200], x[3 * 200];
    struct rng rng = {5};
    struct trend s[3], one;

    (void)state;
    for (int i = 0; i < 200; i++) {
        t[i] = 10 * i;
        x[i] = 3 + 1e-3 * t[i] + .01 * rng_gauss(&rng);
        x[200 + i] = i % 4 == 0 ? 50 : x[i];
        x[400 + i] = -x[i];
    }
    assert_int_equal(series_trends(t, x, 200, 3, -9, 9, s, NULL), 0);
    assert_true(fabs(s[0].slope - 1e-3) < 1e-5 && fabs(s[0].intercept - 3) < .01);
    assert_true(fabs(s[1].slope - 1e-3) < 1e-4 && s[1].outside == 50);
    assert_true(near(s[2].slope, -s[0].slope) && near(s[2].kendall, -s[0].kendall));
    assert_int_equal(series_trend(t, x + 200, 200, -9, 9, &one, NULL), 0);
    assert_true(one.slope == s[1].slope && one.kendall == s[1].kendall);
}

static void moves(void **state)
{
    static const double before[] = {2, 3, NAN, 4, 5, 3, 2, 6},
                        after[] = {2.1, 3.1, 3, 2, 5, 3.1, NAN, 6.1};
    struct layer_move m[8];
    size_t n;

    (void)state;
    assert_int_equal(layer_moves(before, after, 8, 0, m, &n, NULL), 0);
    assert_int_equal(n, 5); /* one did not change, two have a side missing */
    assert_true(m[0].layer == 3 && m[0].change == -2 && m[0].before == 4 && m[0].after == 2);
    assert_true(m[0].z < -3.5 && fabs(m[1].z) < 1);
    for (size_t i = 2; i < n; i++)
        assert_true(fabs(m[i].change) <= fabs(m[i - 1].change));
    assert_int_equal(layer_moves(before, after, 8, 0.5, m, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(layer_moves(before, before, 8, 0, m, &n, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(layer_moves(before, after, 2, 0, m, &n, NULL), 0);
    assert_true(n == 2 && isnan(m[0].z));
    assert_int_equal(layer_moves(before, after, 8, NAN, m, &n, NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_scipy),
        cmocka_unit_test(exits),
        cmocka_unit_test(wild_values),
        cmocka_unit_test(moves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
