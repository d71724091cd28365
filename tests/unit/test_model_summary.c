/* test_model_summary.c: columns over layers, layers out of line, the exponents along the depth.
 * Constants are NumPy's and SciPy's. */
#include "compute/model_summary.h"

#include "common/sort.h"
#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MANY 301

static bool near(double got, double want)
{
    return isnan(want) ? isnan(got) : fabs(got - want) <= 1e-12 * fmax(1, fabs(want));
}

/* Against sorting, for all sizes, with many equal values and without. */
static void medians(void **state)
{
    struct rng rng = {11};

    (void)state;
    assert_true(isnan(median_of(NULL, 0)));
    for (size_t n = 1; n <= MANY; n++)
        for (int kind = 0; kind < 4; kind++) {
            double x[MANY], sorted[MANY];

            for (size_t i = 0; i < n; i++)
                x[i] = kind == 0   ? rng_gauss(&rng)
                       : kind == 1 ? (double)(rng_u64(&rng) % 3)
                       : kind == 2 ? (double)i
                                   : -(double)i;
            memcpy(sorted, x, sizeof x);
            sort_ascending(sorted, n);
            assert_true(near(median_of(x, n), (sorted[(n - 1) / 2] + sorted[n / 2]) / 2));
            sort_ascending(x, n);
            assert_memory_equal(x, sorted, n * sizeof *x); /* nothing is lost */
        }
}

static void one_column(void **state)
{
    static const double x[] = {3, NAN, 3.1, 2.9, 3.3, INFINITY, 9, 2.7};
    static const bool failed[] = {false, true, false, false, false, false, false, false};
    static const double with_failed[] = {3, NAN, 3.1, 2.9, 3.3, NAN, 9, 2.7};
    struct column_summary s;

    (void)state;
    assert_int_equal(column_summary(x, 8, &s, NULL), 0);
    assert_true(s.n == 6 && s.left_out == 2 && s.min == 2.7 && s.max == 9);
    assert_true(near(s.mean, 4) && near(s.median, 3.05) && near(s.spread, 0.29652));
    /* Upstream: a failed layer has -1, and is averaged. */
    assert_true(near(column_mean_upstream(with_failed, failed, 8), (24 - 1) / 7.));
    assert_int_equal(column_summary(x + 1, 1, &s, NULL), 0);
    assert_true(s.n == 0 && s.left_out == 1 && isnan(s.mean) && isnan(s.median) && isnan(s.spread));
    assert_true(isnan(column_mean_upstream(x + 1, failed, 1)));
}

static void by_type(void **state)
{
    static const double x[] = {1, 10, 2, 20, NAN, 30};
    static const size_t type[] = {0, 1, 0, 1, 0, 1}, wrong[] = {0, 1, 0, 1, 0, 3};
    struct column_summary s[3];

    (void)state;
    assert_int_equal(column_summary_by_type(x, type, 6, 3, s, NULL), 0);
    assert_true(s[0].n == 2 && s[0].left_out == 1 && s[0].mean == 1.5);
    assert_true(s[1].n == 3 && s[1].left_out == 0 && s[1].median == 20);
    assert_true(s[2].n == 0 && s[2].left_out == 0 && isnan(s[2].median));
    assert_int_equal(column_summary_by_type(x, wrong, 6, 3, s, NULL), ERR_INVALID);
}

static void out_of_line(void **state)
{
    static const double x[] = {3, 3.1, 2.9, 3.3, 9, 2.7, 100, NAN, 7, 7, 7, 7, 7, 8};
    static const size_t type[] = {0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 2, 2, 2, 2};
    double z[14];

    (void)state;
    assert_int_equal(robust_z_by_type(x, type, 14, 3, z, NULL), 0);
    assert_true(near(z[4], (9 - 3.05) / 0.29652) && near(z[5], (2.7 - 3.05) / 0.29652));
    assert_true(isnan(z[6]));                         /* alone of its type */
    assert_true(isnan(z[7]) && z[8] == 0);            /* missing; most are equal */
    assert_true(near(z[13], 6 / 1.2533141373155003)); /* mean distance 1/6 */
    assert_int_equal(robust_z_by_type(x, type, 4, 1, z, NULL), 0);
    assert_true(isnan(z[0])); /* four are too few */
    assert_int_equal(robust_z_by_type(x, type, 14, 2, z, NULL), ERR_INVALID);
}

static void collapse(void **state)
{
    static const struct collapse_rule usual = {0, -1}, any = {0, 0}, strict = {30, -1};
    double x[12] = {1.0, 1.1, .9, 1.05, .95, -1.0, 1.02, -3, -3.1, -2.9, -3.05, -2.95}, z[12];
    size_t type[12] = {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1}, count;
    bool collapsed[12];

    (void)state;
    assert_int_equal(scale_collapse(x, type, 12, 2, &usual, z, collapsed, &count, NULL), 0);
    assert_true(count == 1 && collapsed[5] && z[5] < -3.5); /* small for its type alone */
    assert_int_equal(scale_collapse(x, type, 12, 2, &strict, z, collapsed, &count, NULL), 0);
    assert_true(count == 0);
    x[5] = 4; /* large is no collapse */
    assert_int_equal(scale_collapse(x, type, 12, 2, &usual, z, collapsed, &count, NULL), 0);
    assert_true(count == 0 && z[5] > 3.5);
    x[5] = .75; /* alike, but for a quarter decade */
    assert_int_equal(scale_collapse(x, type, 12, 2, &usual, z, collapsed, &count, NULL), 0);
    assert_true(count == 0);
    for (int i = 0; i < 7; i++)
        x[i] = i == 5 ? .75 : 1 + .01 * i;
    assert_int_equal(scale_collapse(x, type, 12, 2, &usual, z, collapsed, &count, NULL), 0);
    assert_true(count == 0 && z[5] < -3.5);
    assert_int_equal(scale_collapse(x, type, 12, 2, &any, z, collapsed, &count, NULL), 0);
    assert_true(count == 1);
    x[5] = -INFINITY; /* a zero matrix has no scale */
    assert_int_equal(scale_collapse(x, type, 12, 2, &usual, z, collapsed, &count, NULL), 0);
    assert_true(count == 0 && isnan(z[5]));
}

static void flow(void **state)
{
    static const double alpha[] = {1.8, 2.2, 2.9, NAN, 3.5, 6.5, 7.1, NAN, 6.2, 4.0, 2.1},
                        flat[] = {2, 2, 2, 2}, low[] = {1.5, 1.7, 3, 1.9};
    double long_one[3000];
    struct correlation_flow f;

    (void)state;
    assert_int_equal(correlation_flow(alpha, 11, &f, NULL), 0);
    assert_true(f.n == 9 && f.above == 3 && f.below == 1);
    assert_true(f.plateau.first == 5 && f.plateau.length == 3); /* across the missing one */
    assert_true(f.valley.first == 0 && f.valley.length == 1);
    assert_true(near(f.first, 2.2) && near(f.last, 4.0) && near(f.roughness, 0.8));
    assert_true(near(f.kendall, 0.3333333333333333) && near(f.slope, 0.21764705882352942));
    assert_true(near(f.theil_sen, 0.3500000000000001));
    assert_int_equal(correlation_flow(flat, 4, &f, NULL), 0);
    assert_true(f.slope == 0 && f.theil_sen == 0 && isnan(f.kendall) && f.plateau.length == 0);
    assert_int_equal(correlation_flow(low, 4, &f, NULL), 0);
    assert_true(f.below == 3 && f.valley.first == 0 && f.valley.length == 2);
    assert_int_equal(correlation_flow(alpha, 2, &f, NULL), 0);
    assert_true(f.n == 2 && isnan(f.slope) && f.below == 1);
    for (int i = 0; i < 3000; i++)
        long_one[i] = 3 + 1e-3 * i;
    assert_int_equal(correlation_flow(long_one, 3000, &f, NULL), 0);
    assert_true(fabs(f.theil_sen - 1e-3) < 1e-12 && fabs(f.slope - 1e-3) < 1e-12 && f.kendall == 1);
}

/* --- published ------------------------------------------------------------------------------- */

/* GPT-2 small: exponent (fitted with xmax forced), largest eigenvalue and stable rank of its 50
 * layers, as published with Martin, Peng and Mahoney, Nature Comm. 12 (2021) 4122, rounded. */
static const struct {
    double alpha, lambda_max, stable_rank;
} gpt2_small[] = {
    {3.5058, 108374.86, 3.68}, {1.5523, 1918.59, 3.09},  {2.5508, 1001.06, 35.22},
    {2.7424, 356.06, 18.01},   {3.9750, 886.43, 26.52},  {3.2973, 313.33, 29.13},
    {3.1572, 264.13, 65.69},   {2.5044, 362.95, 8.44},   {3.4383, 746.51, 27.00},
    {3.4726, 412.03, 21.77},   {3.5001, 311.62, 66.17},  {3.5776, 97.06, 19.95},
    {3.1869, 750.83, 28.05},   {3.3199, 731.70, 13.97},  {3.1786, 233.50, 76.17},
    {4.6880, 84.14, 24.80},    {3.6420, 527.80, 37.58},  {3.5163, 832.36, 11.95},
    {2.9307, 221.16, 85.71},   {4.6884, 105.34, 24.20},  {3.4477, 505.58, 39.28},
    {3.6015, 500.39, 19.52},   {2.9920, 136.89, 105.87}, {3.6522, 82.52, 31.43},
    {3.9049, 523.01, 36.25},   {3.5949, 381.37, 29.32},  {3.0445, 120.78, 117.71},
    {4.8906, 112.14, 33.99},   {3.5046, 491.07, 38.37},  {3.8750, 439.21, 30.94},
    {3.5836, 130.13, 113.05},  {4.9393, 148.07, 25.85},  {3.7426, 502.68, 37.54},
    {4.0407, 456.84, 36.40},   {4.8809, 115.45, 123.44}, {5.2294, 202.08, 21.85},
    {4.0096, 491.64, 38.88},   {4.1755, 482.85, 44.79},  {4.5972, 111.68, 126.18},
    {5.4894, 252.05, 21.90},   {3.6723, 500.92, 38.37},  {4.6052, 537.32, 53.34},
    {6.2455, 112.06, 126.64},  {4.9591, 534.37, 11.87},  {3.5882, 524.69, 36.66},
    {4.5285, 864.66, 43.30},   {5.8562, 111.37, 131.04}, {2.9869, 1498.63, 6.51},
    {3.3930, 701.37, 28.43},   {4.2222, 1860.08, 24.92},
};

/* The means that were published with them. log F is half of log10 (stable rank lambda_max). The
 * largest eigenvalues of ten layers came from an iteration that was stopped early: up to 0.1 %
 * low, which alpha-hat, made of better ones, shows. */
static void published_means(void **state)
{
    enum { N = ARRAY_LEN(gpt2_small), COLUMNS = 5 };
    static const double want[COLUMNS] = {3.83356, 9.78035, 2.59139, 2.05084, 44.015},
                        within[COLUMNS] = {1e-5, 3e-4, 1e-5, 3e-5, 5e-4};
    double x[COLUMNS][N];

    (void)state;
    for (int i = 0; i < N; i++) {
        double log_max = log10(gpt2_small[i].lambda_max);

        x[0][i] = gpt2_small[i].alpha;
        x[1][i] = gpt2_small[i].alpha * log_max;
        x[2][i] = log_max;
        x[3][i] = (log10(gpt2_small[i].stable_rank) + log_max) / 2;
        x[4][i] = gpt2_small[i].stable_rank;
    }
    for (int c = 0; c < COLUMNS; c++) {
        struct column_summary s;

        assert_int_equal(column_summary(x[c], N, &s, NULL), 0);
        assert_true(s.n == N && fabs(s.mean - want[c]) < within[c]);
    }
}

/* Nearly all exponents are below 6 there; they rise a little with depth, and no layer's scale has
 * collapsed, which is what the authors say of GPT-2 against GPT. */
static void published_flow(void **state)
{
    enum { N = ARRAY_LEN(gpt2_small) };
    static const struct collapse_rule usual = {0, -1};
    double alpha[N], scale[N], z[N];
    bool collapsed[N];
    size_t type[N], count;
    struct correlation_flow f;

    (void)state;
    for (int i = 0; i < N; i++) {
        alpha[i] = gpt2_small[i].alpha;
        scale[i] = log10(gpt2_small[i].lambda_max);
        type[i] = i < 2 ? 4 : (size_t)i % 4; /* two embeddings, then four kinds in turn */
    }
    assert_int_equal(correlation_flow(alpha, N, &f, NULL), 0);
    assert_true(f.above == 1 && f.below == 1 && f.plateau.length == 1);
    assert_true(f.kendall > 0 && f.first < f.last && f.last < 5);
    assert_int_equal(scale_collapse(scale, type, N, 5, &usual, z, collapsed, &count, NULL), 0);
    assert_int_equal(count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(medians),         cmocka_unit_test(one_column),
        cmocka_unit_test(by_type),         cmocka_unit_test(out_of_line),
        cmocka_unit_test(collapse),        cmocka_unit_test(flow),
        cmocka_unit_test(published_means), cmocka_unit_test(published_flow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
