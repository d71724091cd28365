/* test_hill.c: the exponents against published values, against a scan without shortcuts, and where
 * there is none. */
#include "compute/hill.h"

#include "common/sort.h"
#include "golden.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define N 1000

static void spectrum_a(double *x)
{
    for (int i = 0; i < N; i++)
        x[i] = 1 / sqrt(1 - (i + .5) / 1000);
}

static void spectrum_b(double *x)
{
    for (int i = 0; i < 990; i++)
        x[i] = 4 * pow((i + .5) / 990, 2);
    for (int k = 0; k < 10; k++)
        x[990 + k] = 4 * pow(1.3, k + 1);
}

static void spectrum_d(double *x)
{
    for (int i = 0; i < N; i++)
        x[i] = exp(3 * sin(M_PI * ((i + .5) / 1000 - .5)));
}

static void spectrum_e(double *x)
{
    for (int i = 0; i < 800; i++)
        x[i] = pow(10, -4 + 4 * (i + .5) / 800);
    for (int i = 0; i < 200; i++)
        x[800 + i] = pow(10, -.55 + .5 * (i + .5) / 200);
}

static void spectrum_f(double *x)
{
    for (int i = 0; i < 900; i++)
        x[i] = 4 * pow((i + .5) / 900, 4) + 1e-6;
    for (int k = 0; k < 100; k++)
        x[900 + k] = 4 * pow(1.05, k + 1);
}

static void spectrum_g(double *x)
{
    spectrum_f(x);
    for (int i = 0; i < N; i++)
        x[i] *= 0.02;
}

static struct hill_fit fit(const double *x, size_t n, enum hill_rule rule, double eps)
{
    static double work[2 * N];
    struct hill_fit f;

    assert_int_equal(hill_fit(x, n, rule, eps, work, &f, NULL), 0);
    return f;
}

static void expect(const char *what, const struct hill_fit *f, double alpha, double d, size_t first)
{
    if (f->status != HILL_OK || fabs(f->alpha - alpha) > 5.1e-7 ||
        (d >= 0 && fabs(f->D - d) > 5.1e-7) || f->first != first)
        fail_msg("%s: alpha %.9f, D %.9f from %zu; want %.6f, %.6f from %zu", what, f->alpha, f->D,
                 f->first, alpha, d, first);
}

/* Computed by the authors' definitions in double, to six digits. */
static void published_values(void **state)
{
    static const struct {
        const char *name;
        void (*make)(double *x);
        struct {
            double alpha, d;
            size_t first;
        } mid, peak, linear, ks;
        double top;
    } want[] = {
        {"A",
         spectrum_a,
         {3.003393, .001345, 500},
         {3.001695, .000673, 0},
         {3.001695, .000673, 0},
         {3.001695, .000673, 0},
         2.996953},
        {"B",
         spectrum_b,
         {2.251175, .181051, 500},
         {1.897376, .154793, 987},
         {1.897376, .154793, 987},
         {1.897376, .154793, 987},
         4.974319},
        {"D",
         spectrum_d,
         {1.524894, .211572, 500},
         {1.333334, .135974, 0},
         {1.333334, .135974, 0},
         {1.333334, .135974, 0},
         11.082035},
        {"E",
         spectrum_e,
         {1.468242, .261134, 500},
         {3.706780, .154236, 807},
         {3.706780, .154236, 807},
         {17.643621, .076564, 976},
         6.035298},
        {"F",
         spectrum_f,
         {1.502241, .111161, 500},
         {1.518386, .107856, 516},
         {1.471635, .123757, 879},
         {1.511326, .107017, 509},
         1.405494},
        {"G",
         spectrum_g,
         {1.502241, .111161, 500},
         {1.511326, .107017, 509},
         {1.471635, .123757, 879},
         {1.511326, .107017, 509},
         1.405494},
    };
    double x[N];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct hill_fit f;

        want[i].make(x);
        sort_ascending(x, N);
        f = fit(x, N, HILL_MID, 0);
        expect(want[i].name, &f, want[i].mid.alpha, want[i].mid.d, want[i].mid.first);
        f = fit(x, N, HILL_PEAK_UPSTREAM, 0);
        expect(want[i].name, &f, want[i].peak.alpha, want[i].peak.d, want[i].peak.first);
        f = fit(x, N, HILL_PEAK_LINEAR, 0);
        expect(want[i].name, &f, want[i].linear.alpha, want[i].linear.d, want[i].linear.first);
        f = fit(x, N, HILL_KS, 0);
        expect(want[i].name, &f, want[i].ks.alpha, want[i].ks.d, want[i].ks.first);
        f = fit(x, N, HILL_TOP, 0);
        expect(want[i].name, &f, want[i].top, -1, 900);
    }
}

/* --- the same by plain loops ----------------------------------------------------------------- */

static double plain_alpha(const double *x, size_t n, size_t i)
{
    long double sum = 0;

    for (size_t j = i; j < n; j++)
        sum += logl((long double)x[j]) - logl((long double)x[i]);
    return (double)(1 + (long double)(n - i) / sum);
}

static double plain_d(const double *x, size_t n, size_t i, double alpha)
{
    double max = 0;

    for (size_t k = 0; i + k < n; k++)
        max = fmax(max, fabs(1 - pow(x[i + k] / x[i], 1 - alpha) - (double)k / (double)(n - i)));
    return max;
}

/* The least D of all candidates, and whether candidate `i` has it. */
static double plain_least(const double *x, size_t n, double low, double high)
{
    double best = INFINITY;

    for (size_t i = 0; i + 1 < n; i++)
        if (x[i] >= low && x[i] <= high)
            best = fmin(best, plain_d(x, n, i, plain_alpha(x, n, i)));
    return best;
}

static double plain_peak(const double *x, size_t n)
{
    double low = log10(x[0]), width = log10(x[n - 1]) - low;
    int count[100] = {0}, best = 0;

    for (size_t i = 0; i < n; i++) {
        int b = (int)((log10(x[i]) - low) / width * 100);

        count[b > 99 ? 99 : b]++;
    }
    for (int b = 99; b >= 0; b--)
        best = count[b] >= count[best] ? b : best;
    return pow(10, low + best * width / 100);
}

static void same_as_plain_loops(void **state)
{
    struct rng r = {11};
    double x[200];

    (void)state;
    for (int round = 0; round < 300; round++) {
        size_t n = 3 + (size_t)(rng_uniform(&r) * 197);
        double shape = 0.3 + 3 * rng_uniform(&r), peak;
        struct hill_fit f;

        for (size_t i = 0; i < n; i++)
            x[i] = pow(1 - rng_uniform(&r), -shape) * (round % 2 ? 1 : 1e-3);
        sort_ascending(x, n);
        peak = plain_peak(x, n);
        f = fit(x, n, HILL_MID, 0);
        assert_true(fabs(f.alpha - plain_alpha(x, n, n / 2)) < 1e-11 * f.alpha);
        assert_true(fabs(f.D - plain_d(x, n, n / 2, f.alpha)) < 1e-12);
        f = fit(x, n, HILL_KS, 0);
        assert_true(fabs(f.D - plain_least(x, n, 0, INFINITY)) < 1e-10);
        assert_true(fabs(f.alpha - plain_alpha(x, n, f.first)) < 1e-10 * f.alpha);
        f = fit(x, n, HILL_PEAK_LINEAR, 0);
        if (f.status == HILL_NO_CANDIDATE)
            assert_true(isinf(plain_least(x, n, 0.95 * peak, 1.5 * peak)));
        else
            assert_true(fabs(f.D - plain_least(x, n, 0.95 * peak, 1.5 * peak)) < 1e-10);
        f = fit(x, n, HILL_PEAK_UPSTREAM, 0);
        if (f.status == HILL_NO_CANDIDATE)
            assert_true(isinf(plain_least(x, n, log10(0.95 * peak), 1.5 * peak)));
        else
            assert_true(fabs(f.D - plain_least(x, n, log10(0.95 * peak), 1.5 * peak)) < 1e-10);
    }
}

/* --- edges ----------------------------------------------------------------------------------- */

static void none_is_never_zero(void **state)
{
    static const double equal[] = {2, 2, 2, 2}, zero[] = {0, 0, 0}, one[] = {0, 0, 3};
    static const double top_equal[] = {1, 2, 5, 5, 5};
    static const double bimodal[] = {1, 1, 1, 1, 1, 100};

    (void)state;
    for (int rule = HILL_MID; rule <= HILL_TOP; rule++) {
        enum hill_rule h = (enum hill_rule)rule;
        struct hill_fit f = fit(equal, 4, h, DBL_EPSILON);

        assert_int_equal(f.status, HILL_ALL_EQUAL);
        assert_true(isnan(f.alpha) && isnan(f.D) && isnan(f.xmin));
        assert_int_equal(fit(zero, 3, h, DBL_EPSILON).status, HILL_TOO_FEW);
        assert_int_equal(fit(zero, 0, h, DBL_EPSILON).status, HILL_TOO_FEW);
        f = fit(one, 3, h, 0);
        assert_int_equal(f.status, HILL_TOO_FEW);
        assert_int_equal(f.n_zero, 2);
    }
    assert_int_equal(fit(top_equal, 5, HILL_MID, 0).status, HILL_ALL_EQUAL);
    assert_int_equal(fit(bimodal, 6, HILL_MID, 0).status, HILL_OK);
    for (int s = HILL_OK; s <= HILL_NO_CANDIDATE; s++)
        assert_non_null(hill_status_name((enum hill_status)s));
    assert_null(hill_status_name((enum hill_status)9));
}

static void no_candidate(void **state)
{
    /* The fullest bin is the last one, and it holds the largest value alone below 1.5 xp. */
    static const double x[] = {1, 2, 3, 8000, 10000};
    struct hill_fit f = fit(x, 2, HILL_PEAK_LINEAR, 0);

    (void)state;
    assert_int_equal(f.status, HILL_OK);
    assert_int_equal(f.first, 0);
    /* Bins of one value each: the first is taken, and x_0 is the only candidate. */
    f = fit(x, 5, HILL_PEAK_LINEAR, 0);
    assert_int_equal(f.first, 0);
}

static void zeros_are_left_out(void **state)
{
    double x[N], padded[N + 100];
    static double work[2 * N + 200];
    struct hill_fit a, b;
    struct err err;

    (void)state;
    spectrum_f(x);
    a = fit(x, N, HILL_MID, DBL_EPSILON);
    assert_int_equal(a.n_zero, 0);
    for (int i = 0; i < 100; i++)
        padded[i] = i * 1e-16;
    for (int i = 0; i < N; i++)
        padded[100 + i] = x[i];
    assert_int_equal(hill_fit(padded, N + 100, HILL_MID, DBL_EPSILON, work, &b, NULL), 0);
    assert_int_equal(b.n_zero, 100);
    assert_true(a.alpha == b.alpha && a.first == b.first);
    assert_int_equal(hill_fit(padded, N + 100, HILL_MID, 0, work, &b, NULL), 0);
    assert_int_equal(b.n_zero, 1); /* a zero has no logarithm */
    padded[5] = -1;
    assert_int_equal(hill_fit(padded, N + 100, HILL_MID, 0, work, &b, &err), ERR_INVALID);
    padded[5] = NAN;
    assert_int_equal(hill_fit(padded, N + 100, HILL_MID, 0, work, &b, &err), ERR_INVALID);
    padded[5] = 1;
    assert_int_equal(hill_fit(padded, N + 100, HILL_MID, 0, work, &b, &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),   cmocka_unit_test(same_as_plain_loops),
        cmocka_unit_test(none_is_never_zero), cmocka_unit_test(no_candidate),
        cmocka_unit_test(zeros_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
