/* test_rank_correlation.c: known values, and Knight's counting against all pairs. */
#include "compute/rank_correlation.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MANY 40

static struct rank_correlation of(const double *x, const double *y, size_t n)
{
    struct rank_correlation c = {9, 9};

    assert_int_equal(rank_correlation(x, y, n, &c, NULL), 0);
    return c;
}

/* scipy 1.x, spearmanr and kendalltau. */
static void ties_as_scipy(void **state)
{
    static const double x[] = {1, 2, 2, 3, 5, 4, 7, 7, 7, 0}, y[] = {2, 1, 3, 3, 4, 6, 5, 5, 9, 0};
    struct rank_correlation c = of(x, y, 10), d = of(y, x, 10);

    (void)state;
    assert_true(fabs(c.spearman - 0.8761987844182112) < 1e-14);
    assert_true(fabs(c.kendall - 0.7621208131672655) < 1e-14);
    assert_true(c.spearman == d.spearman && c.kendall == d.kendall);
}

static void ends_of_the_range(void **state)
{
    static const double x[] = {1, 2, 3, 4}, up[] = {-7, 0, 0.1, 1e300}, down[] = {4, 3, 2, 1},
                        flat[] = {5, 5, 5, 5}, bad[] = {1, NAN, 2, 3};
    struct rank_correlation c;

    (void)state;
    c = of(x, up, 4);
    assert_true(c.spearman == 1 && c.kendall == 1);
    c = of(x, down, 4);
    assert_true(c.spearman == -1 && c.kendall == -1);
    c = of(x, flat, 4);
    assert_true(isnan(c.spearman) && isnan(c.kendall));
    c = of(x, up, 1);
    assert_true(isnan(c.spearman) && isnan(c.kendall));
    c = of(x, up, 0);
    assert_true(isnan(c.spearman) && isnan(c.kendall));
    assert_int_equal(rank_correlation(x, bad, 4, &c, NULL), ERR_INVALID);
}

static double sign(double a, double b)
{
    return (a > b) - (a < b);
}

/* Every pair, one by one. */
static double slow_kendall(const double *x, const double *y, size_t n)
{
    double sum = 0, in_x = 0, in_y = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) {
            sum += sign(x[i], x[j]) * sign(y[i], y[j]);
            in_x += x[i] != x[j];
            in_y += y[i] != y[j];
        }
    return sum / sqrt(in_x * in_y);
}

static double slow_spearman(const double *x, const double *y, size_t n)
{
    double xx = 0, yy = 0, xy = 0;

    for (size_t i = 0; i < n; i++) {
        double dx = 0, dy = 0; /* twice the distance of the rank from the middle */

        for (size_t j = 0; j < n; j++) {
            dx += sign(x[i], x[j]);
            dy += sign(y[i], y[j]);
        }
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    return xy / sqrt(xx * yy);
}

static void same_as_all_pairs(void **state)
{
    struct rng r = {5};
    int compared = 0;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        size_t n = 2 + (size_t)(rng_uniform(&r) * MANY);
        double x[MANY + 2], y[MANY + 2], values = 1 + rng_uniform(&r) * MANY, want;
        struct rank_correlation c;

        for (size_t i = 0; i < n; i++) {
            x[i] = floor(values * rng_uniform(&r)) / 7;
            y[i] = floor(values * rng_uniform(&r)) - x[i] * (round % 3);
        }
        c = of(x, y, n);
        want = slow_kendall(x, y, n);
        assert_true(isnan(want) == isnan(c.kendall) && isnan(want) == isnan(c.spearman));
        if (isnan(want))
            continue;
        compared++;
        assert_true(fabs(c.kendall - want) < 1e-13);
        assert_true(fabs(c.spearman - slow_spearman(x, y, n)) < 1e-13);
    }
    assert_true(compared > 1500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ties_as_scipy),
        cmocka_unit_test(ends_of_the_range),
        cmocka_unit_test(same_as_all_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
