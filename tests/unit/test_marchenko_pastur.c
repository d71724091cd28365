/* test_marchenko_pastur.c: each law in two ways, published quantiles, and noise itself. */
#include "compute/marchenko_pastur.h"
#include "compute/random.h"
#include "compute/spectrum.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const double ratios[] = {1, 1.0001, 1.5, 2, 4, 10.7, 1000};

/* The closed form against Simpson's rule over the density in theta, and mean and mean square. */
static void cdf_is_the_integral(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(ratios); k++) {
        double q = ratios[k], sigma = 0.7, a = mp_lower(q, sigma), b = mp_upper(q, sigma);
        double mass = 0, mean = 0, square = 0, last = 0;
        int n = 50000;

        for (int i = 0; i < n; i++) {
            double t = M_PI * (i + 0.5) / n, x = (a + b) / 2 - (b - a) / 2 * cos(t);
            double w = mp_density(x, q, sigma) * (b - a) / 2 * sin(t) * M_PI / n;

            mass += w;
            mean += w * x;
            square += w * x * x;
            if (i % 97 == 0) {
                double edge = (a + b) / 2 - (b - a) / 2 * cos(M_PI * (i + 1.) / n);

                assert_true(fabs(mp_cdf(edge, q, sigma) - mass) < 1e-6);
                assert_true(mp_cdf(edge, q, sigma) >= last);
                last = mp_cdf(edge, q, sigma);
            }
        }
        assert_true(fabs(mass - 1) < 1e-6);
        assert_true(fabs(mean - sigma * sigma) < 1e-6);
        assert_true(fabs(square - pow(sigma, 4) * (1 + 1 / q)) < 1e-6);
        assert_true(mp_cdf(a - 1e-3, q, sigma) == 0 && mp_cdf(b + 1e-3, q, sigma) == 1);
        assert_true(mp_density(b * 1.01, q, sigma) == 0);
    }
}

static void quantile_is_the_inverse(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(ratios); k++)
        for (double p = 0.001; p < 1; p += 0.0499) {
            double x = mp_quantile(p, ratios[k], 1.3);

            assert_true(fabs(mp_cdf(x, ratios[k], 1.3) - p) < 1e-9);
        }
    assert_true(mp_quantile(0, 2, 1) == mp_lower(2, 1) && mp_quantile(1, 2, 1) == mp_upper(2, 1));
    /* The median singular value of Gavish and Donoho (2014), table IV: 1 / sqrt(mu) = 2.858 / (4/
     * sqrt 3) for a square matrix. */
    assert_true(fabs(4 / sqrt(3) / sqrt(mp_quantile(0.5, 1, 1)) - 2.858) < 5e-4);
}

/* Singular values of a square matrix: the quarter circle, also for sigma other than 1. */
static void quarter_circle(void **state)
{
    (void)state;
    for (double t = 0.05; t < 2.6; t += 0.1) {
        double direct = quarter_circle_density(t, 1.3), x = t * t;

        assert_true(fabs(direct - 2 * t * mp_density(x, 1, 1.3)) < 1e-12);
    }
    assert_true(quarter_circle_density(2.61, 1.3) == 0 && quarter_circle_density(-1, 1.3) == 0);
    assert_true(fabs(mp_mean_root(0, 5, 1) - 8 / (3 * M_PI)) < 1e-9);
}

static void mean_root(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(ratios); k++) {
        double q = ratios[k], sum = 0, low = mp_quantile(0.3, q, 1);
        int n = 10000;

        for (int i = 0; i < n; i++)
            sum += sqrt(mp_quantile(0.3 + 0.7 * (i + 0.5) / n, q, 1)) * 0.7 / n;
        assert_true(fabs(mp_mean_root(low, 9, q) - sum) < 1e-4);
        assert_true(
            fabs(mp_mean_root(0, low, q) + mp_mean_root(low, 9, q) - mp_mean_root(0, 9, q)) < 1e-7);
    }
    assert_true(mp_mean_root(3, 2, 2) == 0);
}

/* Quantiles as printed by Bejan (2005) and Johnstone (2001); mean -1.2065, deviation 1.2680. */
static void tracy_widom(void **state)
{
    static const double known[][2] = {{0.01, -3.8954}, {0.05, -3.1804}, {0.1, -2.7824},
                                      {0.5, -1.2686},  {0.9, 0.4501},   {0.95, 0.9793},
                                      {0.99, 2.0234},  {0.995, 2.4224}, {0.999, 3.2722}};
    double mean = 0, square = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        assert_true(fabs(tracy_widom_quantile(known[i][0]) - known[i][1]) < 2e-4);
        assert_true(fabs(tracy_widom_cdf(known[i][1]) - known[i][0]) < 1e-4);
    }
    for (double s = -9; s < 12; s += 0.001) {
        double p = tracy_widom_cdf(s + 0.001) - tracy_widom_cdf(s);

        assert_true(p >= 0);
        mean += p * (s + 0.0005);
        square += p * (s + 0.0005) * (s + 0.0005);
    }
    assert_true(fabs(mean + 1.2065336) < 1e-4);
    assert_true(fabs(sqrt(square - mean * mean) - 1.2679815) < 1e-4);
    assert_true(isfinite(tracy_widom_quantile(0)) && isfinite(tracy_widom_quantile(1)));
}

/* Each of 400 matrices of noise is above its 95 % edge with probability about 0.05. */
static void noise_stays_below_the_edge(void **state)
{
    size_t shape[][2] = {{60, 30}, {40, 40}};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(shape); k++) {
        size_t n = shape[k][0], m = shape[k][1], above = 0;
        double edge = mp_edge(n, m, 2, 0.95, 1), *w = malloc(n * m * sizeof *w), lambda[40];

        for (uint64_t t = 0; t < 400; t++) {
            struct memory_matrix mm = {w, n, m};
            struct matrix_source src = memory_source(&mm);
            struct spectrum_options opt = {0};
            struct spectrum_info info;
            struct random r;

            random_init(&r, 11, t);
            for (size_t i = 0; i < n * m; i++)
                w[i] = 2 * random_normal(&r);
            assert_int_equal(spectrum_compute(&src, &opt, lambda, &info, NULL), 0);
            above += lambda[m - 1] / (double)n > edge;
        }
        assert_in_range(above, 5, 38);
        free(w);
    }
    assert_true(mp_edge(60, 30, 2, 0.95, 9) > mp_edge(60, 30, 2, 0.95, 1));
    assert_true(isfinite(mp_edge(1, 1, 1, 0.95, 1)));
}

static void spikes(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(ratios); k++) {
        double q = ratios[k], least = mp_spike_least(q);

        assert_true(fabs(mp_spike_position(least * (1 + 1e-12), q) / mp_upper(q, 1) - 1) < 1e-9);
        assert_true(mp_spike_position(least / 2, q) == mp_upper(q, 1));
        for (double s = least * 1.1; s < 30 * least; s *= 1.7)
            assert_true(fabs(mp_spike_strength2(mp_spike_position(s, q), q) / (s * s) - 1) < 1e-9);
        assert_true(isnan(mp_spike_strength2(mp_upper(q, 1) * 0.99, q)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cdf_is_the_integral),
        cmocka_unit_test(quantile_is_the_inverse),
        cmocka_unit_test(quarter_circle),
        cmocka_unit_test(mean_root),
        cmocka_unit_test(tracy_widom),
        cmocka_unit_test(noise_stays_below_the_edge),
        cmocka_unit_test(spikes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
