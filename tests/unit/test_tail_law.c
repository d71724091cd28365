/* test_tail_law.c: alternatives to the power law and their comparison: against powerlaw 1.5
 * (compat), against each other, against the conditions of a maximum, and on hostile data.
 */
#include "compute/vuong.h"

#include "tail_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* The tail that upstream compared on. */
static double *tail_of(const json_t *o, double *xmin, size_t *n)
{
    double *x = sorted_array(json_object_get(o, "data"), n);
    size_t first = 0;

    *xmin = number_at(json_object_get(o, "pl"), "xmin");
    while (x[first] < *xmin)
        first++;
    *n -= first;
    memmove(x, x + first, *n * sizeof *x);
    return x;
}

static void check_parameters(const json_t *o, const struct tail_law *law, const char *sample)
{
    static const char *const par[TAIL_LAW_COUNT][2] = {
        [TAIL_TRUNCATED] = {"alpha", "Lambda"},
        [TAIL_EXPONENTIAL] = {"Lambda", NULL},
        [TAIL_STRETCHED] = {"Lambda", "beta"},
        [TAIL_LOGNORMAL] = {"mu", "sigma"},
    };
    const json_t *want = json_object_get(json_object_get(o, "at_xmin"), tail_law_name(law->kind));

    if (isnan(number_at(want, "D"))) /* upstream's normaliser had underflowed */
        return;
    if (law->kind == TAIL_STRETCHED && law->par[0] > 1e3) { /* the search was stopped on its way:
                                                             * where depends on rounding */
        assert_true(fabs(law->log_likelihood - number_at(want, "loglikelihood")) < 0.01);
        return;
    }
    for (int k = 0; k < 2 && par[law->kind][k]; k++)
        if (!near(law->par[k], number_at(want, par[law->kind][k]), 1e-6)) {
            print_error("%s %s %s: %.12g, not %.12g\n", sample, tail_law_name(law->kind),
                        par[law->kind][k], law->par[k], number_at(want, par[law->kind][k]));
            fail();
        }
    assert_true(near(law->log_likelihood, number_at(want, "loglikelihood"), 1e-9));
    assert_true(near(law->D, number_at(want, "D"), 1e-6));
}

static enum tail_law_kind kind_of(const json_t *name)
{
    for (int k = 0; k < TAIL_LAW_COUNT; k++)
        if (strcmp(json_string_value(name), tail_law_name((enum tail_law_kind)k)) == 0)
            return (enum tail_law_kind)k;
    fail();
    return TAIL_POWER_LAW;
}

static void check_comparisons(const json_t *o, const struct best_fit *b, const double *x, size_t n,
                              const char *sample)
{
    const json_t *want;
    size_t i;

    json_array_foreach(json_object_get(o, "compare"), i, want)
    {
        enum tail_law_kind first = kind_of(json_object_get(want, "first"));
        enum tail_law_kind second = kind_of(json_object_get(want, "second"));
        double *work = malloc(2 * n * sizeof *work), R = number_at(want, "R");
        double p = number_at(want, "p");
        struct vuong v = vuong_compare(&b->law[first], &b->law[second], x, n, true, work);

        free(work);
        if (isnan(R) || (second == TAIL_LOGNORMAL && b->law[second].par[0] < -100))
            continue; /* upstream's normaliser had underflowed */
        if (second == TAIL_STRETCHED && b->law[second].par[0] > 1e3)
            continue; /* stopped on the way to the limit: where depends on rounding */
        if (fabs(v.R - R) > 1e-5 * (1 + fabs(R)) || fabs(v.p - p) > 1e-5) {
            print_error("%s %s %s: R %.9g p %.9g, not %.9g %.9g\n", sample, tail_law_name(first),
                        tail_law_name(second), v.R, v.p, R, p);
            fail();
        }
        assert_true(fabs(v.sum - number_at(want, "sum")) < 1e-5);
    }
}

static void test_compat(void **state)
{
    json_t *all = powerlaw_tails(), *o;
    const char *sample;

    (void)state;
    json_object_foreach(all, sample, o)
    {
        double xmin, *x, *work;
        struct best_fit b;
        size_t n;

        if (!json_is_object(o))
            continue;
        x = tail_of(o, &xmin, &n);
        work = malloc(BEST_FIT_WORK(n) * sizeof *work);
        assert_int_equal(best_fit(x, n, xmin, true, BEST_FIT_LEVEL, work, &b, NULL), 0);
        for (int k = TAIL_TRUNCATED; k < TAIL_LAW_COUNT; k++)
            check_parameters(o, &b.law[k], sample);
        check_comparisons(o, &b, x, n, sample);
        assert_string_equal(best_fit_name(b.best), json_string_value(json_object_get(o, "best")));
        free(work);
        free(x);
    }
    json_decref(all);
}

static double likelihood_at(const struct tail_law *law, double a, double b, const double *x,
                            size_t n, double *work)
{
    struct tail_law moved = *law;
    double sum = 0;

    moved.par[0] = a;
    moved.par[1] = b;
    moved.c = pow(a * law->xmin, b);
    tail_law_log_density(&moved, x, n, work);
    for (size_t k = 0; k < n; k++)
        sum += work[k];
    return sum;
}

/* No step from the parameters found makes the tail more likely. */
static void check_maximum(const struct tail_law *law, const double *x, size_t n, double *work)
{
    double best = law->log_likelihood, h = 1e-4, a = law->par[0], b = law->par[1];
    double step_a = law->kind == TAIL_LOGNORMAL ? h * law->par[1] : h * a;

    assert_true(fabs(likelihood_at(law, a, b, x, n, work) - best) < 1e-9 * (1 + fabs(best)));
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++) {
            double to = a + i * step_a;

            if (law->kind == TAIL_TRUNCATED && to < 1) /* the edge of what is allowed */
                to = 1;
            assert_true(likelihood_at(law, to, b * (1 + h * j), x, n, work) <=
                        best + 1e-9 * (1 + fabs(best)));
        }
}

static void test_maximum(void **state)
{
    size_t n = 1000;
    double *work = malloc(BEST_FIT_WORK(n) * sizeof *work);

    (void)state;
    for (int sample = 0; sample < SAMPLE_COUNT; sample++)
        for (int k = 0; k < TAIL_LAW_COUNT; k++) {
            double *x = sample_new((enum sample)sample, n, 3), xmin = x[n / 3];
            size_t first = n / 3, m;
            struct tail_law law, rough;

            while (first > 0 && x[first - 1] == xmin)
                first--;
            m = n - first;
            assert_int_equal(
                tail_law_fit((enum tail_law_kind)k, x + first, m, xmin, false, work, &law, NULL),
                0);
            if (!law.is_limit)
                check_maximum(&law, x + first, m, work);
            assert_true(law.D > 0 && law.D < 1 && law.n_tail == m);
            assert_int_equal(
                tail_law_fit((enum tail_law_kind)k, x + first, m, xmin, true, work, &rough, NULL),
                0);
            /* upstream's search comes no higher, and near where it has somewhere to go */
            assert_true(rough.log_likelihood <= law.log_likelihood + 1e-7);
            free(x);
        }
    free(work);
}

/* Where the likelihood rises towards the power law, being nearer to it is being better. */
static void test_limit(void **state)
{
    size_t n = 2000;
    double *x = sample_new(SAMPLE_VERY_HEAVY, n, 8),
           *work = malloc(BEST_FIT_WORK(n) * sizeof *work);
    struct tail_law pl, law, near_limit;
    int limits = 0;

    (void)state;
    for (size_t first = 0; first < n - 100; first += 100) {
        size_t m = n - first;

        assert_int_equal(
            tail_law_fit(TAIL_POWER_LAW, x + first, m, x[first], false, work, &pl, NULL), 0);
        for (int k = TAIL_STRETCHED; k <= TAIL_LOGNORMAL; k++) {
            assert_int_equal(tail_law_fit((enum tail_law_kind)k, x + first, m, x[first], false,
                                          work, &law, NULL),
                             0);
            assert_true(law.log_likelihood >= pl.log_likelihood - 1e-9);
            limits += law.is_limit;
            if (!law.is_limit)
                continue;
            assert_true(near(law.log_likelihood, pl.log_likelihood, 1e-12));
            assert_true(law.limit_alpha == pl.par[0] && isnan(law.par[0]) && law.D == pl.D);
            near_limit = law;
            near_limit.is_limit = false;
            if (k == TAIL_LOGNORMAL) { /* sigma large, slope of the density that of the power law */
                near_limit.par[1] = 100 / (pl.par[0] - 1);
                near_limit.par[0] =
                    log(x[first]) - (pl.par[0] - 1) * near_limit.par[1] * near_limit.par[1];
            } else {
                near_limit.par[1] = 0.05; /* c beta = alpha - 1: the power law's slope at xmin */
                near_limit.par[0] = pow((pl.par[0] - 1) / 0.05, 20) / x[first];
            }
            assert_true(likelihood_at(&near_limit, near_limit.par[0], near_limit.par[1], x + first,
                                      m, work) < law.log_likelihood);
        }
    }
    assert_true(limits > 0);
    free(work);
    free(x);
}

/* Samples are recognised, and a law is never preferred to itself. */
static void test_best(void **state)
{
    static const struct {
        enum sample sample;
        enum tail_law_kind want;
    } known[] = {{SAMPLE_POWER_LAW, TAIL_POWER_LAW},
                 {SAMPLE_TRUNCATED, TAIL_TRUNCATED},
                 {SAMPLE_EXPONENTIAL, TAIL_EXPONENTIAL}};
    size_t n = 3000;
    double *work = malloc(BEST_FIT_WORK(n) * sizeof *work);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        double *x = sample_new(known[i].sample, n, 17);
        struct best_fit b;
        struct vuong v, w;

        assert_int_equal(best_fit(x, n, x[0], false, BEST_FIT_LEVEL, work, &b, NULL), 0);
        assert_int_equal(b.best, known[i].want);
        v = vuong_compare(&b.law[1], &b.law[1], x, n, false, work);
        assert_true(v.R == 0 && v.p == 1);
        v = vuong_compare(&b.law[0], &b.law[4], x, n, false, work);
        w = vuong_compare(&b.law[4], &b.law[0], x, n, false, work);
        assert_true(v.R == -w.R && v.p == w.p);
        assert_true(b.vs_pl[TAIL_TRUNCATED].nested && b.vs_pl[TAIL_TRUNCATED].sum <= 1e-9);
        v = vuong_compare(&b.law[0], &b.law[1], x, n, true, work);
        assert_true(v.R == 0 || near(v.p, 2 * b.vs_pl[TAIL_TRUNCATED].p, 1e-12));
        free(x);
    }
    free(work);
}

static void test_hostile(void **state)
{
    double two[] = {1, 2}, same[] = {3, 3, 3}, wide[] = {1e-300, 1e-200, 1, 1e150, 1e300};
    double close[] = {1, 1 + 1e-15, 1 + 1e-14}, top[] = {1, 2, 3, 1e308, 1e308}, nan[] = {1, NAN};
    double work[TAIL_LAW_WORK(5)];
    struct {
        const double *x;
        size_t n;
    } all[] = {{two, 2}, {wide, 5}, {close, 3}, {top, 5}};
    struct tail_law law;
    struct best_fit b;

    (void)state;
    for (int k = 0; k < TAIL_LAW_COUNT; k++) {
        enum tail_law_kind kind = (enum tail_law_kind)k;

        assert_int_equal(tail_law_fit(kind, same, 3, 3, false, work, &law, NULL), ERR_NUMERIC);
        assert_int_equal(tail_law_fit(kind, nan, 2, 1, false, work, &law, NULL), ERR_INVALID);
        assert_int_equal(tail_law_fit(kind, two, 2, 1.5, false, work, &law, NULL), ERR_INVALID);
        assert_int_equal(tail_law_fit(kind, two, 2, 0, false, work, &law, NULL), ERR_INVALID);
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            for (int compat = 0; compat < 2; compat++) {
                int r =
                    tail_law_fit(kind, all[i].x, all[i].n, all[i].x[0], compat, work, &law, NULL);

                assert_true(r == ERR_NUMERIC || (r == 0 && isfinite(law.log_likelihood)));
            }
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        assert_int_equal(best_fit(all[i].x, all[i].n, all[i].x[0], false, 0.05, work, &b, NULL), 0);
    assert_null(tail_law_name(TAIL_LAW_COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compat), cmocka_unit_test(test_maximum), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_best),   cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
