/* test_simpson.c: fits against NumPy and SciPy (tests/data/simpson.json), exact and random orders,
 * every condition of the paradox, and the contest's score. */
#include "compute/contest_score.h"
#include "compute/simpson.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define ROWS   64
#define GROUPS 8

static const struct simpson_options no_orders = {0, 0}, few_orders = {7, 999};

struct rows {
    json_t *data;
    double x[ROWS], y[ROWS];
    size_t group[ROWS], n, n_groups;
    struct simpson_fit fits[GROUPS];
    struct simpson s;
};

static void load(struct rows *r)
{
    json_t *group;
    size_t i;

    memset(r, 0, sizeof *r);
    r->data = json_load_file(TEST_DATA "/simpson.json", 0, NULL);
    assert_non_null(r->data);
    group = json_object_get(r->data, "group");
    r->n = json_array_size(group);
    assert_true(r->n <= ROWS);
    for (i = 0; i < r->n; i++) {
        r->x[i] = json_number_value(json_array_get(json_object_get(r->data, "x"), i));
        r->y[i] = json_number_value(json_array_get(json_object_get(r->data, "y"), i));
        r->group[i] = (size_t)json_integer_value(json_array_get(group, i));
    }
    r->n_groups = json_array_size(json_object_get(r->data, "fits"));
}

static void analyse(struct rows *r, const struct simpson_options *options)
{
    assert_int_equal(
        simpson_analyse(r->x, r->y, r->group, r->n, r->n_groups, options, r->fits, &r->s, NULL), 0);
}

/* null is NaN. */
static void assert_near(double got, const json_t *want)
{
    double w = json_number_value(want);

    if (!json_is_number(want))
        assert_true(isnan(got));
    else if (!(fabs(got - w) <= 1e-10 * fabs(w)))
        fail_msg("%.17g, not %.17g", got, w);
}

static void assert_fit(const struct simpson_fit *f, const json_t *want)
{
    assert_int_equal(f->n, json_integer_value(json_object_get(want, "n")));
    assert_near(f->slope, json_object_get(want, "slope"));
    assert_near(f->intercept, json_object_get(want, "intercept"));
    assert_near(f->r2, json_object_get(want, "r2"));
    assert_near(f->rmse, json_object_get(want, "rmse"));
    assert_near(f->kendall, json_object_get(want, "kendall"));
    assert_near(f->spearman, json_object_get(want, "spearman"));
}

static void as_scipy(void **state)
{
    struct rows r;

    (void)state;
    load(&r);
    analyse(&r, &no_orders);
    assert_fit(&r.s.pooled, json_object_get(r.data, "pooled"));
    for (size_t g = 0; g < r.n_groups; g++)
        assert_fit(&r.fits[g], json_array_get(json_object_get(r.data, "fits"), g));
    assert_near(r.s.within_slope, json_object_get(r.data, "within_slope"));
    assert_near(r.s.between_slope, json_object_get(r.data, "between_slope"));
    assert_near(r.s.within_kendall, json_object_get(r.data, "within_kendall"));
    assert_int_equal(r.s.groups, 5);
    assert_int_equal(r.s.sloped, 4);
    assert_int_equal(r.s.agreeing, 4);
    assert_true(r.s.paradox);
    assert_true(isnan(r.s.pooled.p) && r.s.pooled.replicates == 0);
    json_decref(r.data);
}

/* Group 2 has 6 rows: all 720 orders, as counted in NumPy. */
static void p_exact_and_random(void **state)
{
    struct rows r, again;
    const json_t *want;

    (void)state;
    load(&r);
    analyse(&r, &few_orders);
    want = json_array_get(json_object_get(r.data, "fits"), 2);
    assert_true(r.fits[2].exact && r.fits[2].replicates == 720);
    assert_near(r.fits[2].p, json_object_get(want, "p"));
    assert_true(!r.s.pooled.exact && r.s.pooled.replicates == 999);
    assert_true(r.s.pooled.p >= 0.001 && r.s.pooled.p < 0.01); /* rho .43 of 62 rows */
    assert_true(r.fits[0].p <= 0.003);                         /* rho -.76 of 18 */
    json_decref(r.data);
    load(&again);
    analyse(&again, &few_orders);
    assert_true(again.s.pooled.p == r.s.pooled.p && again.fits[1].p == r.fits[1].p);
    json_decref(again.data);
}

/* Exact ones of 6 rows and random ones of 20: their mean over many draws is a half. */
static void p_is_uniform_without_a_trend(void **state)
{
    struct rng rng = {3};
    static const size_t group[20];
    double exact = 0, random = 0;

    (void)state;
    for (int k = 0; k < 200; k++) {
        double x[20], y[20];
        struct simpson_fit f;
        struct simpson s;

        for (int i = 0; i < 20; i++) {
            x[i] = rng_gauss(&rng);
            y[i] = rng_gauss(&rng);
        }
        assert_int_equal(simpson_analyse(x, y, group, 6, 1, &few_orders, &f, &s, NULL), 0);
        assert_true(f.exact);
        exact += f.p / 200;
        assert_int_equal(simpson_analyse(x, y, group, 20, 1, &few_orders, &f, &s, NULL), 0);
        assert_true(!f.exact && f.p > 0 && f.p <= 1);
        random += f.p / 200;
    }
    assert_true(fabs(exact - 0.5) < 0.07 && fabs(random - 0.5) < 0.07); /* sd 0.02 */
}

static void same_rows_in_another_order(void **state)
{
    struct rows r, other;

    (void)state;
    load(&r);
    other = r;
    for (size_t i = 0; i < r.n; i++) {
        other.x[i] = r.x[r.n - 1 - i];
        other.y[i] = r.y[r.n - 1 - i];
        other.group[i] = r.n_groups - 1 - r.group[r.n - 1 - i];
    }
    analyse(&r, &no_orders);
    analyse(&other, &no_orders);
    assert_true(fabs(r.s.within_slope / other.s.within_slope - 1) < 1e-12);
    assert_true(fabs(r.s.within_kendall / other.s.within_kendall - 1) < 1e-12);
    assert_true(fabs(r.fits[1].slope / other.fits[r.n_groups - 2].slope - 1) < 1e-12);
    json_decref(r.data);
}

/* `k` groups of n rows on lines of the given slopes, each moved by (dx, dy) from the one before. */
static struct simpson of_lines(size_t n, size_t k, const double *slope, double dx, double dy)
{
    double x[ROWS], y[ROWS];
    size_t group[ROWS];
    struct simpson_fit fits[GROUPS];
    struct simpson s;

    for (size_t i = 0; i < k * n; i++) {
        group[i] = i / n;
        x[i] = (double)(i % n) + dx * (double)group[i];
        y[i] = slope[group[i]] * (double)(i % n) + dy * (double)group[i];
    }
    assert_int_equal(simpson_analyse(x, y, group, k * n, k, &no_orders, fits, &s, NULL), 0);
    return s;
}

static void conditions(void **state)
{
    static const double down[] = {-1, -1, -1}, up[] = {1, 1, 1}, one_up[] = {-3, 1, -3},
                        two_up[] = {-9, 1, 1};
    struct simpson s = of_lines(5, 3, down, 20, 20);

    (void)state;
    assert_true(s.paradox && s.within_slope == -1 && s.between_slope == 1);
    assert_true(s.within_kendall == -1 && s.pooled.slope > 0 && s.agreeing == 3);
    assert_int_equal(simpson_wrong(&s, -1), SIMPSON_POOLED);
    assert_int_equal(simpson_wrong(&s, 1), SIMPSON_WITHIN);
    assert_int_equal(simpson_wrong(&s, 0), SIMPSON_UNKNOWN);
    s = of_lines(5, 2, down, 20, 20); /* 25 pairs of rows rise, 20 fall: tau 0.11 */
    assert_true(s.opposite && !s.pooled_clear && !s.paradox && s.groups_agree);
    s = of_lines(5, 1, down, 20, 20);
    assert_true(!s.enough_groups && !s.paradox && isnan(s.between_slope));
    s = of_lines(5, 3, up, 20, 20);
    assert_true(!s.paradox && !s.opposite && s.pooled_clear && s.within_clear && s.groups_agree);
    assert_int_equal(simpson_wrong(&s, 1), SIMPSON_NEITHER);
    assert_int_equal(simpson_wrong(&s, -1), SIMPSON_BOTH);
    s = of_lines(5, 3, one_up, 20, 20); /* two of three are enough */
    assert_true(s.agreeing == 2 && s.paradox);
    s = of_lines(5, 3, two_up, 20, 20); /* one is not */
    assert_true(s.opposite && s.within_slope < 0 && s.agreeing == 1 && !s.groups_agree);
    assert_true(!s.paradox && fabs(s.within_kendall - 1. / 3) < 1e-15);
    s = of_lines(3, 3, down, 20, 20); /* groups too small */
    assert_true(s.groups == 0 && isnan(s.within_slope) && !s.paradox && s.pooled.n == 9);
    assert_true(isnan(s.between_slope) && isnan(s.within_kendall));
    assert_int_equal(simpson_wrong(&s, 1), SIMPSON_UNKNOWN);
    s = of_lines(5, 3, down, 0, 0);
    assert_true(!s.opposite && isnan(s.between_slope)); /* the same mean */
}

static void limits(void **state)
{
    static const double x[] = {1, 2, 3, 4}, bad[] = {1, 2, NAN, 4}, flat[] = {.1, .1, .1, .1};
    static const size_t group[] = {0, 0, 0, 0}, wrong[] = {0, 0, 0, 1};
    static const struct simpson_options many = {0, SIMPSON_REPLICATES_MAX + 1};
    struct simpson_fit f;
    struct simpson s;

    (void)state;
    assert_int_equal(simpson_analyse(x, bad, group, 4, 1, &no_orders, &f, &s, NULL), ERR_INVALID);
    assert_int_equal(simpson_analyse(bad, x, group, 4, 1, &no_orders, &f, &s, NULL), ERR_INVALID);
    assert_int_equal(simpson_analyse(x, x, wrong, 4, 1, &no_orders, &f, &s, NULL), ERR_INVALID);
    assert_int_equal(simpson_analyse(x, x, group, 4, 1, &many, &f, &s, NULL), ERR_INVALID);
    assert_int_equal(simpson_analyse(x, flat, group, 4, 1, &no_orders, &f, &s, NULL), 0);
    assert_true(f.slope == 0 && f.rmse < 1e-16 && isnan(f.r2) && isnan(f.kendall) && isnan(f.p));
    assert_int_equal(simpson_analyse(flat, x, group, 4, 1, &no_orders, &f, &s, NULL), 0);
    assert_true(isnan(f.slope) && isnan(s.within_slope) && s.groups == 1 && s.sloped == 0);
    assert_int_equal(simpson_analyse(x, x, group, 0, 0, &no_orders, &f, &s, NULL), 0);
    assert_true(s.pooled.n == 0 && isnan(s.pooled.slope) && !s.paradox);
    assert_true(simpson_direction("alpha") == -1 && simpson_direction("rand_distance") == 1 &&
                simpson_direction("num_evals") == 0);
}

/* --- the contest's score --------------------------------------------------------------------- */

static void contest_as_numpy(void **state)
{
    json_t *data = json_load_file(TEST_DATA "/simpson.json", 0, NULL),
           *c = json_object_get(data, "contest"), *values = json_object_get(c, "value");
    size_t n = json_array_size(json_object_get(c, "m")), i, value[3 * ROWS];
    double m[ROWS], gap[ROWS], minus[ROWS];
    struct contest_score s, other;

    (void)state;
    assert_true(n <= ROWS && json_array_size(values) == 3 * n);
    for (i = 0; i < 3 * n; i++)
        value[i] = (size_t)json_integer_value(json_array_get(values, i));
    for (i = 0; i < n; i++) {
        m[i] = json_number_value(json_array_get(json_object_get(c, "m"), i));
        gap[i] = json_number_value(json_array_get(json_object_get(c, "gap"), i));
        minus[i] = -gap[i];
    }
    assert_int_equal(contest_score(m, gap, value, n, 3, &s, NULL), 0);
    assert_near(s.score, json_object_get(c, "score"));
    assert_int_equal(s.first, json_integer_value(json_object_get(c, "first")));
    assert_int_equal(s.second, json_integer_value(json_object_get(c, "second")));
    assert_int_equal(contest_score(gap, gap, value, n, 3, &s, NULL), 0);
    assert_true(fabs(s.score - 100) < 1e-9);
    /* Without ties, always wrong is as good as always right. */
    for (i = 0; i < n; i++) {
        gap[i] += 1e-6 * (double)i;
        minus[i] = -gap[i];
    }
    assert_int_equal(contest_score(m, gap, value, n, 3, &s, NULL), 0);
    assert_int_equal(contest_score(minus, gap, value, n, 3, &other, NULL), 0);
    assert_true(other.score > 70); /* pairs of a model with itself: not above in either */
    json_decref(data);
}

static void contest_limits(void **state)
{
    static const double m[] = {1, 2, 3, 4, 5, 6, 7, 8}, flat[] = {2, 2, 2, 2, 2, 2, 2, 2};
    static const size_t grid[] = {0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1},
                        hole[] = {0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1, 0},
                        high[] = {0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 9, 1, 9};
    struct contest_score s;

    (void)state;
    assert_int_equal(contest_score(m, m, grid, 8, 2, &s, NULL), 0);
    assert_true(s.score > 99.9 && s.first == 0 && s.second == 1);
    assert_int_equal(contest_score(m, m, hole, 8, 2, &s, NULL), ERR_INVALID);
    assert_int_equal(contest_score(m, m, high, 8, 2, &s, NULL), ERR_INVALID);
    assert_int_equal(contest_score(m, flat, grid, 8, 2, &s, NULL), ERR_NUMERIC);
    assert_int_equal(contest_score(m, m, grid, 8, 1, &s, NULL), ERR_INVALID);
    assert_int_equal(contest_score(m, m, grid, 0, 2, &s, NULL), ERR_INVALID);
    assert_int_equal(contest_score(m, m, (const size_t[]){0, 0, 0, 1, 1, 0, 1, 1}, 4, 2, &s, NULL),
                     ERR_NUMERIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_scipy),
        cmocka_unit_test(p_exact_and_random),
        cmocka_unit_test(p_is_uniform_without_a_trend),
        cmocka_unit_test(same_rows_in_another_order),
        cmocka_unit_test(conditions),
        cmocka_unit_test(limits),
        cmocka_unit_test(contest_as_numpy),
        cmocka_unit_test(contest_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
