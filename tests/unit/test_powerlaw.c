/* test_powerlaw.c: the fit against published values, against its own full scan, and at its edges.
 */
#include "compute/powerlaw.h"

#include "common/sort.h"
#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <stdio.h>

#include <cmocka.h>

static size_t load_sorted(const json_t *a, double *x)
{
    size_t n = json_array_size(a);

    for (size_t i = 0; i < n; i++)
        x[i] = json_number_value(json_array_get(a, i));
    sort_ascending(x, n);
    return n;
}

static void check(double got, const json_t *want, const char *key)
{
    double w = json_number_value(json_object_get(want, key));

    if (fabs(got - w) > 1e-12 * fabs(w)) {
        print_error("%s: got %.17g, want %.17g\n", key, got, w);
        fail();
    }
}

static void check_golden(const char *name)
{
    json_t *golden = golden_load(), *ww = json_object_get(json_object_get(golden, name), "ww");
    double x[64], work[128];
    size_t n = load_sorted(json_object_get(json_object_get(golden, name), "data"), x), tail = 0;
    struct powerlaw_fit f;

    assert_non_null(ww);
    assert_int_equal(powerlaw_fit(x, n, work, &f, NULL), 0);
    check(f.alpha, ww, "alpha");
    check(f.D, ww, "D");
    check(f.sigma, ww, "sigma");
    check(f.xmin, ww, "xmin");
    check(f.xmax, ww, "xmax");
    while (tail < n && x[n - 1 - tail] >= f.xmin) /* with ties more than the candidate's own n_i */
        tail++;
    check((double)tail, ww, "n_tail");
    json_decref(golden);
}

static void published_values(void **state)
{
    (void)state;
    check_golden("pl_1d");
    check_golden("pl_1d_ties");
}

/* Bitwise the same as the scan without shortcuts, on data with and without ties and heavy tails. */
static void same_as_full_scan(void **state)
{
    struct rng r = {7};
    double x[400], work[800];

    (void)state;
    for (int round = 0; round < 2000; round++) {
        size_t n = 2 + (size_t)(rng_uniform(&r) * 398);
        double shape = 0.3 + 3 * rng_uniform(&r);
        int kind = round % 4;
        struct powerlaw_fit a, b;

        for (size_t i = 0; i < n; i++) {
            double u = 1 - rng_uniform(&r);

            x[i] = kind == 0   ? pow(u, -1 / shape)
                   : kind == 1 ? ceil(pow(u, -1 / shape))
                   : kind == 2 ? fabs(rng_gauss(&r)) + 1e-3
                               : 1 + floor(4 * u);
        }
        sort_ascending(x, n);
        assert_int_equal(powerlaw_fit(x, n, work, &a, NULL), 0);
        assert_int_equal(powerlaw_fit_reference(x, n, work, &b, NULL), 0);
        assert_memory_equal(&a, &b, sizeof a);
    }
}

/* D falls all along a uniform density, so each candidate beats the one before. A scan in that order
 * takes 20 minutes for the pool of FARMS. */
static void large_and_smooth(void **state)
{
    size_t n = 450000;
    double *x = malloc(n * sizeof *x), *work = malloc(2 * n * sizeof *work);
    struct powerlaw_fit a, b;
    clock_t start;

    (void)state;
    for (size_t i = 0; i < n; i++)
        x[i] = 1 + (double)i / (double)n;
    start = clock();
    assert_int_equal(powerlaw_fit(x, n, work, &a, NULL), 0);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 60);
    assert_true(a.n_tail < n / 100);
    for (size_t i = 0; i < 3000; i++)
        x[i] = 1 + (double)i / 3000;
    assert_int_equal(powerlaw_fit(x, 3000, work, &a, NULL), 0);
    assert_int_equal(powerlaw_fit_reference(x, 3000, work, &b, NULL), 0);
    assert_memory_equal(&a, &b, sizeof a);
    free(x);
    free(work);
}

/* The estimator finds the exponent of data drawn from a power law. */
static void recovers_exponent(void **state)
{
    static double x[20000], work[40000];
    struct rng r = {11};
    struct powerlaw_fit f;

    (void)state;
    for (size_t i = 0; i < 20000; i++)
        x[i] = 2 * pow(1 - rng_uniform(&r), -1 / (2.7 - 1));
    sort_ascending(x, 20000);
    assert_int_equal(powerlaw_fit(x, 20000, work, &f, NULL), 0);
    assert_true(fabs(f.alpha - 2.7) < 5 * f.sigma + 0.05);
}

/* alpha does not depend on the unit of the data. */
static void scale_invariant(void **state)
{
    double x[300], y[300], work[600];
    struct rng r = {13};
    struct powerlaw_fit a, b;

    (void)state;
    for (size_t i = 0; i < 300; i++)
        x[i] = pow(1 - rng_uniform(&r), -0.7);
    sort_ascending(x, 300);
    for (size_t i = 0; i < 300; i++)
        y[i] = 1024 * x[i];
    assert_int_equal(powerlaw_fit(x, 300, work, &a, NULL), 0);
    assert_int_equal(powerlaw_fit(y, 300, work, &b, NULL), 0);
    assert_true(fabs(a.alpha - b.alpha) < 1e-10 && fabs(a.D - b.D) < 1e-12);
    assert_int_equal(a.n_tail, b.n_tail);
}

static void edges(void **state)
{
    double one[] = {3}, two[] = {2, 5}, equal[] = {4, 4, 4, 4}, top[] = {1, 9, 9}, work[8];
    struct powerlaw_fit f;

    (void)state;
    assert_int_equal(powerlaw_fit(one, 0, work, &f, NULL), ERR_NUMERIC);
    assert_int_equal(powerlaw_fit(one, 1, work, &f, NULL), ERR_NUMERIC);
    assert_int_equal(powerlaw_fit(two, 2, work, &f, NULL), 0);
    /* The last candidate always has D = 1 - exp(-2) - 1/2. */
    assert_true(fabs(f.D - 0.36466471676338730811) < 1e-15);
    assert_int_equal(powerlaw_fit(equal, 4, work, &f, NULL), 0);
    assert_true(isinf(f.alpha) && f.alpha > 0);
    assert_int_equal(powerlaw_fit(top, 3, work, &f, NULL), 0);
    assert_true(f.D <= 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values), cmocka_unit_test(same_as_full_scan),
        cmocka_unit_test(large_and_smooth), cmocka_unit_test(recovers_exponent),
        cmocka_unit_test(scale_invariant),  cmocka_unit_test(edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
