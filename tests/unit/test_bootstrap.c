/* test_bootstrap.c: replicates and what is read from them. The long calibration is
 * tests/bench/tails.py.
 */
#include "compute/bootstrap.h"

#include "tail_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "compute/powerlaw_distinct.h"

#define MAX_N    4096
#define MAX_REPS 400

struct result {
    double p, low, high, sd;
};

static struct result run(const double *x, size_t n, uint64_t seed, size_t reps)
{
    static double work[BOOTSTRAP_WORK(MAX_N)];
    static struct bootstrap_replicate r[MAX_REPS];
    struct bootstrap_options opt = {.kind = BOOTSTRAP_MODEL, .seed = seed};
    struct bootstrap_interval i;
    struct powerlaw_fit fit;
    double p;

    assert_int_equal(powerlaw_fit(x, n, work, &fit, NULL), 0);
    assert_int_equal(bootstrap_replicates(x, n, &fit, &opt, 0, reps, work, r, NULL), 0);
    p = bootstrap_p_value(fit.D, r, reps).p;
    opt.kind = BOOTSTRAP_RESAMPLE;
    assert_int_equal(bootstrap_replicates(x, n, &fit, &opt, 0, reps, work, r, NULL), 0);
    assert_int_equal(bootstrap_interval(r, reps, 0.95, &i, NULL), 0);
    assert_true(i.low < i.high && i.sd > 0);
    return (struct result){p, i.low, i.high, i.sd};
}

/* In parts and at once; another seed gives other numbers. */
static void test_streams(void **state)
{
    double *x = sample_new(SAMPLE_MIXED, 300, 1), work[BOOTSTRAP_WORK(300)];
    struct bootstrap_replicate all[30], part[30];
    struct bootstrap_options opt = {.seed = 7};
    struct powerlaw_fit fit;

    (void)state;
    assert_int_equal(powerlaw_fit(x, 300, work, &fit, NULL), 0);
    assert_int_equal(bootstrap_replicates(x, 300, &fit, &opt, 0, 30, work, all, NULL), 0);
    assert_int_equal(bootstrap_replicates(x, 300, &fit, &opt, 10, 20, work, part + 10, NULL), 0);
    assert_int_equal(bootstrap_replicates(x, 300, &fit, &opt, 0, 10, work, part, NULL), 0);
    assert_memory_equal(all, part, sizeof all);
    opt.seed = 8;
    assert_int_equal(bootstrap_replicates(x, 300, &fit, &opt, 0, 30, work, part, NULL), 0);
    assert_memory_not_equal(all, part, sizeof all);
    opt = (struct bootstrap_options){.kind = BOOTSTRAP_RESAMPLE, .seed = 7};
    assert_int_equal(bootstrap_replicates(x, 300, &fit, &opt, 0, 30, work, all, NULL), 0);
    assert_int_equal(bootstrap_replicates(x, 300, &fit, &opt, 25, 5, work, part, NULL), 0);
    assert_memory_equal(all + 25, part, 5 * sizeof *all);
    free(x);
}

/* 200 samples of a power law: the interval of 95 % holds the exponent in 89 to 99 % (four standard
 * errors), small p-values are no more frequent than they should be, and all scales with alpha. */
static void test_coverage(void **state)
{
    int covered = 0, small = 0, sets = 200;
    double widest = 0;

    (void)state;
    for (int s = 0; s < sets; s++) {
        double *x = sample_new(SAMPLE_POWER_LAW, 200, (uint64_t)s + 1000);
        struct result b = run(x, 200, (uint64_t)s, 100);

        covered += b.low <= 2.5 && 2.5 <= b.high;
        small += b.p < 0.1;
        widest = fmax(widest, b.high - b.low);
        free(x);
    }
    print_message("covered %d of %d, p < 0.1 in %d, widest %.2f\n", covered, sets, small, widest);
    assert_true(covered >= 178 && covered <= 199);
    assert_true(small <= 37);
}

/* What is no power law is refused, a power law is not. */
static void test_p_value(void **state)
{
    double *pl = sample_new(SAMPLE_POWER_LAW, 1000, 1), *mixed = sample_new(SAMPLE_MIXED, 1000, 1);
    double *uniform = sample_new(SAMPLE_UNIFORM, 1000, 1);

    (void)state;
    assert_true(run(pl, 1000, 1, 60).p > 0.05);
    assert_true(run(mixed, 1000, 1, 60).p > 0.05);
    assert_true(run(uniform, 1000, 1, 60).p < 0.02);
    free(pl);
    free(mixed);
    free(uniform);
}

/* The interval is wider than one that takes xmin as known. */
static void test_width(void **state)
{
    double *x = sample_new(SAMPLE_MIXED, 2000, 4), work[4000];
    struct result b = run(x, 2000, 3, 100);
    struct powerlaw_fit fit;

    (void)state;
    assert_int_equal(powerlaw_fit(x, 2000, work, &fit, NULL), 0);
    assert_true(b.low < fit.alpha && fit.alpha < b.high);
    assert_true(b.sd > fit.sigma && b.sd < 3 * fit.sigma);
    free(x);
}

static int stop_after(void *arg)
{
    int *left = arg;

    return (*left)-- <= 0;
}

static int refit_at_one(void *arg, const double *x, size_t m, double *work,
                        struct powerlaw_fit *out, struct err *err)
{
    struct powerlaw_limits l = {.has_xmin = true, .xmin = 1};
    double more[POWERLAW_DISTINCT_WORK(200)];

    (void)arg;
    (void)work;
    return powerlaw_distinct(x, m, &l, more, out, err);
}

static void test_options(void **state)
{
    double *x = sample_new(SAMPLE_POWER_LAW, 200, 2), work[BOOTSTRAP_WORK(200)];
    struct bootstrap_replicate r[200];
    struct bootstrap_interval b;
    struct powerlaw_fit fit, bad;
    int left = 5;
    struct bootstrap_options opt = {.stop = stop_after, .arg = &left};

    (void)state;
    assert_int_equal(refit_at_one(NULL, x, 200, work, &fit, NULL), 0);
    fit.xmin = 1;
    assert_int_equal(bootstrap_replicates(x, 200, &fit, &opt, 0, 20, work, r, NULL), ERR_DEADLINE);
    opt = (struct bootstrap_options){.refit = refit_at_one};
    assert_int_equal(bootstrap_replicates(x, 200, &fit, &opt, 0, 200, work, r, NULL), 0);
    assert_int_equal(bootstrap_interval(r, 200, 0.95, &b, NULL), 0);
    assert_true(fabs(b.sd / fit.sigma - 1) < 0.25); /* xmin known: sigma is right */
    assert_int_equal(bootstrap_interval(r, 19, 0.95, &b, NULL), ERR_INVALID);
    assert_int_equal(bootstrap_interval(r, 50, 1, &b, NULL), ERR_INVALID);
    bad = fit;
    bad.alpha = INFINITY;
    assert_int_equal(bootstrap_replicates(x, 200, &bad, &opt, 0, 1, work, r, NULL), ERR_NUMERIC);
    bad = fit;
    bad.xmin = 1e300;
    assert_int_equal(bootstrap_replicates(x, 200, &bad, &opt, 0, 1, work, r, NULL), ERR_NUMERIC);
    free(x);
}

/* Ties, two values, huge ranges: replicates of whatever has a fit. */
static void test_hostile(void **state)
{
    double two[] = {1, 2}, wide[] = {1e-300, 1e-200, 1, 1e150, 1e300}, pair[] = {1, 1, 1, 1, 1e9};
    struct {
        const double *x;
        size_t n;
    } all[] = {{two, 2}, {wide, 5}, {pair, 5}};
    double work[BOOTSTRAP_WORK(5)];
    struct bootstrap_replicate r[50];
    struct bootstrap_options opt = {.seed = 1};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        for (int kind = BOOTSTRAP_MODEL; kind <= BOOTSTRAP_RESAMPLE; kind++) {
            struct powerlaw_fit fit;
            struct bootstrap_interval b;
            double p;

            opt.kind = (enum bootstrap_kind)kind;
            assert_int_equal(powerlaw_fit(all[i].x, all[i].n, work, &fit, NULL), 0);
            assert_int_equal(
                bootstrap_replicates(all[i].x, all[i].n, &fit, &opt, 0, 50, work, r, NULL), 0);
            p = bootstrap_p_value(fit.D, r, 50).p;
            assert_true(p >= 0 && p <= 1);
            assert_int_equal(bootstrap_interval(r, 50, 0.95, &b, NULL), 0);
            assert_true(b.low > 1 && b.low <= b.high && b.sd >= 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams), cmocka_unit_test(test_coverage),
        cmocka_unit_test(test_p_value), cmocka_unit_test(test_width),
        cmocka_unit_test(test_options), cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
