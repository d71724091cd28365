/* test_allocate_magnitude.c: one threshold over all weights, against all weights sorted. */
#include "compute/allocate_magnitude.h"

#include "golden.h"
#include "magnitude_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define UNITS 8

struct model {
    size_t n;
    struct tensor tensor[UNITS];
    struct magnitude_runs runs[UNITS];
    struct allocate_magnitude_unit unit[UNITS];
    size_t rounds, refined; /* of the last plan */
};

static void load_runs(struct model *m, size_t u)
{
    AUTO(magnitude_counter_freep) struct magnitude_counter *c = NULL;
    const struct tensor *t = &m->tensor[u];
    struct magnitudes h;

    assert_int_equal(magnitude_counter_new(t->format, 0, NULL, 1, &c, NULL), 0);
    magnitude_count(c, t->bytes, t->n);
    assert_int_equal(magnitude_take(c, 0, &h, NULL), 0);
    assert_int_equal(magnitude_runs_new(&h, &m->runs[u], NULL), 0);
    magnitudes_done(&h);
    m->unit[u].runs = &m->runs[u];
}

static void add(struct model *m, struct tensor t, double min, double max)
{
    m->tensor[m->n] = t;
    m->unit[m->n] =
        (struct allocate_magnitude_unit){.weights = (double)t.n, .min = min, .max = max};
    load_runs(m, m->n++);
}

static void model_done(struct model *m)
{
    for (size_t u = 0; u < m->n; u++) {
        tensor_done(&m->tensor[u]);
        magnitude_runs_done(&m->runs[u]);
    }
    memset(m, 0, sizeof *m);
}

static void refine(struct model *m, const struct magnitude_need *need)
{
    AUTO(magnitude_counter_freep) struct magnitude_counter *c = NULL;
    const struct tensor *t = &m->tensor[need->unit];
    struct magnitudes h;
    struct err err = {0};

    assert_int_equal(magnitude_counter_new(t->format, need->level, &need->prefix, 1, &c, NULL), 0);
    magnitude_count(c, t->bytes, t->n);
    assert_int_equal(magnitude_take(c, 0, &h, NULL), 0);
    assert_true(h.n_weights > 0);
    if (magnitude_runs_refine(&m->runs[need->unit], &h, &err) < 0)
        fail_msg("%s", err.text);
    magnitudes_done(&h);
}

static struct allocate_magnitude_info plan(struct model *m, enum magnitude_score score, double s,
                                           double *out)
{
    struct allocate_magnitude_info info;
    struct err err = {0};

    m->rounds = m->refined = 0;
    for (;;) {
        if (allocate_magnitude(m->unit, m->n, score, s, out, &info, &err) < 0)
            fail_msg("%s", err.text);
        if (info.n_need == 0)
            return info;
        for (size_t i = 0; i < info.n_need; i++)
            refine(m, &info.need[i]);
        m->refined += info.n_need;
        assert_true(++m->rounds <= 3);
        free(info.need);
    }
}

/* --- the same with all weights sorted -------------------------------------------------------- */

struct brute {
    double *score[UNITS]; /* ascending */
};

static void brute_scores(const struct model *m, enum magnitude_score score, struct brute *b)
{
    for (size_t u = 0; u < m->n; u++) {
        const struct tensor *t = &m->tensor[u];
        long double rest = 0;

        b->score[u] = malloc(t->n * sizeof *b->score[u]);
        for (size_t i = t->n; i-- > 0;) {
            double x = t->sorted[i];

            rest += x * x; /* rounded, as in the quotient: the largest has 1 */
            b->score[u][i] = score == MAGNITUDE_GLOBAL ? x : x > 0 ? (double)(x * x / rest) : 0;
        }
    }
}

static size_t brute_below(const double *x, size_t n, double t, bool or_equal)
{
    size_t k = 0;

    for (size_t step = n; step > 0; step /= 2)
        while (k + step <= n && (x[k + step - 1] < t || (or_equal && x[k + step - 1] == t)))
            k += step;
    return k;
}

static double brute_share(const struct model *m, const struct brute *b, size_t u, double t,
                          double theta)
{
    double n = (double)m->tensor[u].n;
    double below = (double)brute_below(b->score[u], m->tensor[u].n, t, false);
    double with = (double)brute_below(b->score[u], m->tensor[u].n, t, true);
    double s = (below + theta * (with - below)) / n;

    return fmin(fmax(s, m->unit[u].min), m->unit[u].max);
}

static double brute_sum(const struct model *m, const struct brute *b, double t, double theta)
{
    double sum = 0;

    for (size_t u = 0; u < m->n; u++)
        sum += (double)m->tensor[u].n * brute_share(m, b, u, t, theta);
    return sum;
}

static void brute_plan(const struct model *m, enum magnitude_score score, double s, double *out)
{
    struct brute b;
    double *all = NULL, goal = 0, low = 0, high = 1;
    size_t total = 0, left = 0, right;

    brute_scores(m, score, &b);
    for (size_t u = 0; u < m->n; u++) {
        all = realloc(all, (total + m->tensor[u].n) * sizeof *all);
        memcpy(all + total, b.score[u], m->tensor[u].n * sizeof *all);
        total += m->tensor[u].n;
        goal += s * (double)m->tensor[u].n;
    }
    qsort(all, total, sizeof *all, by_size);
    right = total;
    while (right - left > 1) { /* the largest score below which no more than the goal lies */
        size_t middle = (left + right) / 2;

        if (brute_sum(m, &b, all[middle], 0) <= goal)
            left = middle;
        else
            right = middle;
    }
    for (int i = 0; i < 100; i++) {
        double middle = (low + high) / 2;

        if (brute_sum(m, &b, all[left], middle) <= goal)
            low = middle;
        else
            high = middle;
    }
    for (size_t u = 0; u < m->n; u++) {
        out[u] = brute_share(m, &b, u, all[left], low);
        free(b.score[u]);
    }
    free(all);
}

static double achieved(const struct model *m, const double *s)
{
    double sum = 0, all = 0;

    for (size_t u = 0; u < m->n; u++) {
        sum += (double)m->tensor[u].n * s[u];
        all += (double)m->tensor[u].n;
    }
    return sum / all;
}

static void check_plan(struct model *m, enum magnitude_score score, double s)
{
    double got[UNITS], want[UNITS];

    (void)plan(m, score, s, got);
    brute_plan(m, score, s, want);
    if (fabs(achieved(m, got) - s) > 1e-12)
        fail_msg("%.17g instead of %.17g", achieved(m, got), s);
    for (size_t u = 0; u < m->n; u++)
        if (fabs(got[u] - want[u]) > 1e-9)
            fail_msg("score %d, S %g, tensor %zu: got %.12g, want %.12g (of %zu)", (int)score, s, u,
                     got[u], want[u], m->tensor[u].n);
}

static const double targets[] = {0.003, 0.2, 0.5, 0.7, 0.95, 0.9999};

static void check_targets(struct model *m)
{
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        check_plan(m, MAGNITUDE_GLOBAL, targets[i]);
        check_plan(m, MAGNITUDE_LAMP, targets[i]);
    }
}

/* --- tests ----------------------------------------------------------------------------------- */

static void by_hand(void **state)
{
    double a[] = {1, 2, 3, 4}, b[] = {2, -2, 2, 10}, s[2];
    struct model m = {0};
    struct allocate_magnitude_info info;

    (void)state;
    add(&m, tensor_of(MAGNITUDE_BF16, a, 4), 0, 1);
    add(&m, tensor_of(MAGNITUDE_F16, b, 4), 0, 1);
    /* 1 | 2 2 2 2 | 3 4 10: three are one and two of the four twos */
    info = plan(&m, MAGNITUDE_GLOBAL, 3. / 8, s);
    assert_true(info.threshold == 2);
    assert_true(fabs(s[0] - 1.5 / 4) < 1e-12 && fabs(s[1] - 1.5 / 4) < 1e-12);
    /* 1/30, 4/29, 9/25, 1 and 4/112, 4/108, 4/104, 1 */
    info = plan(&m, MAGNITUDE_LAMP, 3.5 / 8, s);
    assert_true(info.threshold == 4. / 104);
    assert_true(fabs(s[0] - 1. / 4) < 1e-12 && fabs(s[1] - 2.5 / 4) < 1e-12);
    model_done(&m);
}

static void random_tensors(void **state)
{
    (void)state;
    for (int f = 0; f < MAGNITUDE_FORMAT_COUNT; f++) {
        struct rng rng = {(uint64_t)f + 1};
        struct model m = {0};

        for (size_t u = 0; u < 5; u++)
            add(&m,
                tensor_random(&rng, (enum magnitude_format)f, 500 + 700 * u, 0.01 * (double)(u + 1),
                              0),
                0, 1);
        check_targets(&m);
        model_done(&m);
    }
}

static void tied_tensors(void **state)
{
    (void)state;
    for (int f = 0; f < MAGNITUDE_FORMAT_COUNT; f++)
        for (int steps = 1; steps < 20; steps *= 4) {
            struct rng rng = {(uint64_t)f + 1};
            struct model m = {0};

            for (size_t u = 0; u < 4; u++)
                add(&m,
                    tensor_random(&rng, (enum magnitude_format)f, 400 + 300 * u,
                                  0.5 * (double)(u + 1), steps),
                    0, 1);
            check_targets(&m);
            model_done(&m);
        }
}

static void mixed_formats(void **state)
{
    struct rng rng = {7};
    struct model m = {0};

    (void)state;
    for (size_t u = 0; u < UNITS; u++)
        add(&m,
            tensor_random(&rng, (enum magnitude_format)(u % 4), 300 + 211 * u,
                          0.02 * (double)(u % 3 + 1), u >= 4 ? 500 : 0),
            0, 1);
    check_targets(&m);
    model_done(&m);
}

/* One f32 tensor is refined once, a little, however large it is. */
static void little_is_refined(void **state)
{
    struct rng rng = {9};
    struct model m = {0};
    double s[UNITS];

    (void)state;
    for (size_t u = 0; u < 4; u++)
        add(&m, tensor_random(&rng, MAGNITUDE_F32, 20000, 0.02 * (double)(u + 1), 0), 0, 1);
    (void)plan(&m, MAGNITUDE_GLOBAL, 0.7, s);
    assert_int_equal(m.rounds, 1);
    assert_int_equal(m.refined, 4);
    (void)plan(&m, MAGNITUDE_GLOBAL, 0.7, s);
    assert_int_equal(m.rounds, 0);
    (void)plan(&m, MAGNITUDE_LAMP, 0.4, s);
    assert_int_equal(m.rounds, 1);
    assert_in_range(m.refined, 4, 16);
    model_done(&m);
}

static void limits_and_properties(void **state)
{
    struct rng rng = {13};

    (void)state;
    for (int i = 0; i < 300; i++) {
        struct model m = {0};
        double low = 0, high = 0, all = 0, s;

        for (size_t u = 0; u < 5; u++) {
            double min = 0.6 * rng_uniform(&rng), max = min + (1 - min) * rng_uniform(&rng);
            enum magnitude_format f = (enum magnitude_format)(rng_u64(&rng) % 4);
            size_t n = 50 + rng_u64(&rng) % 500;

            add(&m,
                tensor_random(&rng, f, n, 0.3 * rng_uniform(&rng) + 0.01,
                              rng_uniform(&rng) < 0.5 ? 30 : 0),
                min, max);
            low += (double)n * min;
            high += (double)n * max;
            all += (double)n;
        }
        s = (low + (high - low) * (i % 10 == 0 ? 0 : i % 10 == 9 ? 1 : rng_uniform(&rng))) / all;
        if (i % 10 != 0 && i % 10 != 9) {
            check_plan(&m, MAGNITUDE_GLOBAL, s);
            check_plan(&m, MAGNITUDE_LAMP, s);
        } else {
            double got[UNITS];

            (void)plan(&m, MAGNITUDE_LAMP, s, got);
            assert_true(fabs(achieved(&m, got) - s) < 1e-11);
        }
        model_done(&m);
    }
}

static void infeasible(void **state)
{
    struct rng rng = {17};
    struct model m = {0};
    struct allocate_magnitude_info info;
    struct err err = {0};
    double s[UNITS];

    (void)state;
    add(&m, tensor_random(&rng, MAGNITUDE_BF16, 100, 1, 0), 0.2, 0.5);
    add(&m, tensor_random(&rng, MAGNITUDE_F32, 300, 1, 0), 0, 0.9);
    assert_int_equal(allocate_magnitude(m.unit, 2, MAGNITUDE_LAMP, 0.81, s, &info, &err),
                     ERR_LIMIT);
    assert_true(fabs(info.least - 0.05) < 1e-15 && fabs(info.most - 0.8) < 1e-15);
    assert_int_equal(allocate_magnitude(m.unit, 2, MAGNITUDE_LAMP, 0.04, s, &info, &err),
                     ERR_LIMIT);
    (void)plan(&m, MAGNITUDE_GLOBAL, 0.8, s);
    assert_true(s[0] == 0.5 && s[1] == 0.9);
    (void)plan(&m, MAGNITUDE_GLOBAL, 0.05, s);
    assert_true(s[0] == 0.2 && s[1] == 0);
    assert_int_equal(allocate_magnitude(m.unit, 0, MAGNITUDE_LAMP, 0.5, s, &info, &err),
                     ERR_INVALID);
    assert_int_equal(allocate_magnitude(m.unit, 2, MAGNITUDE_LAMP, NAN, s, &info, &err),
                     ERR_INVALID);
    m.unit[0].weights = 99;
    assert_int_equal(allocate_magnitude(m.unit, 2, MAGNITUDE_LAMP, 0.5, s, &info, &err),
                     ERR_INVALID);
    model_done(&m);
}

/* A tensor without weights gets S while the others can make up for it. */
static void missing_weights(void **state)
{
    struct rng rng = {19};
    struct model m = {0};
    struct allocate_magnitude_info info;
    double s[UNITS];

    (void)state;
    add(&m, tensor_random(&rng, MAGNITUDE_BF16, 100, 1, 0), 0, 1);
    add(&m, tensor_random(&rng, MAGNITUDE_F64, 300, 1, 0), 0, 0.4);
    add(&m, tensor_random(&rng, MAGNITUDE_F32, 200, 1, 0), 0, 1);
    m.unit[0].runs = NULL;
    info = plan(&m, MAGNITUDE_LAMP, 0.5, s);
    assert_int_equal(info.n_missing, 1);
    assert_true(s[0] == 0.5 && fabs(achieved(&m, s) - 0.5) < 1e-12);
    (void)plan(&m, MAGNITUDE_LAMP, 0.65, s); /* (0.65 600 - 120 - 200) / 100 */
    assert_true(s[1] == 0.4 && s[2] == 1 && fabs(s[0] - 0.7) < 1e-12);
    m.unit[1].runs = m.unit[2].runs = NULL;
    info = plan(&m, MAGNITUDE_GLOBAL, 0.5, s);
    assert_int_equal(info.n_missing, 3);
    assert_true(s[1] == 0.4 && fabs(achieved(&m, s) - 0.5) < 1e-12);
    model_done(&m);
}

static void order_does_not_matter(void **state)
{
    struct rng rng = {23};
    struct model m = {0};
    struct allocate_magnitude_unit unit[UNITS];
    double s[UNITS], permuted[UNITS];

    (void)state;
    for (size_t u = 0; u < UNITS; u++)
        add(&m,
            tensor_random(&rng, (enum magnitude_format)(u % 4), 300 + 17 * u, 0.1, u % 2 ? 50 : 0),
            0.01 * (double)u, 0.9);
    for (int score = 0; score < 2; score++) {
        struct allocate_magnitude_info info;

        (void)plan(&m, (enum magnitude_score)score, 0.6, s);
        for (size_t u = 0; u < UNITS; u++)
            unit[u] = m.unit[(5 * u + 3) % UNITS];
        assert_int_equal(allocate_magnitude(unit, UNITS, (enum magnitude_score)score, 0.6, permuted,
                                            &info, NULL),
                         0);
        assert_int_equal(info.n_need, 0);
        for (size_t u = 0; u < UNITS; u++)
            assert_true(fabs(permuted[u] - s[(5 * u + 3) % UNITS]) < 1e-13);
    }
    model_done(&m);
}

static void all_zero(void **state)
{
    double zeros[10] = {0}, ones[10] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, s[2];
    struct model m = {0};

    (void)state;
    add(&m, tensor_of(MAGNITUDE_F32, zeros, 10), 0, 1);
    add(&m, tensor_of(MAGNITUDE_F16, ones, 10), 0, 1);
    for (int score = 0; score < 2; score++) {
        (void)plan(&m, (enum magnitude_score)score, 0.25, s);
        assert_true(fabs(s[0] - 0.5) < 1e-12 && s[1] == 0);
        (void)plan(&m, (enum magnitude_score)score, 0.75, s);
        assert_true(s[0] == 1 && fabs(s[1] - 0.5) < 1e-12);
    }
    model_done(&m);
}

/* Squares of f64 may overflow: lamp does not know such a tensor, the other method does. */
static void overflow(void **state)
{
    double v[4] = {1e200, 2e200, 3e200, 4e200}, w[4] = {1, 2, 3, 4}, s[2];
    struct model m = {0};
    struct allocate_magnitude_info info;

    (void)state;
    add(&m, tensor_of(MAGNITUDE_F64, v, 4), 0, 1);
    add(&m, tensor_of(MAGNITUDE_F64, w, 4), 0, 1);
    info = plan(&m, MAGNITUDE_LAMP, 0.5, s);
    assert_int_equal(info.n_missing, 1);
    assert_true(s[0] == 0.5 && s[1] == 0.5);
    (void)plan(&m, MAGNITUDE_GLOBAL, 0.5, s);
    assert_true(s[0] == 0 && s[1] == 1);
    model_done(&m);
}

static void wrong_refinement(void **state)
{
    struct rng rng = {29};
    struct model m = {0};
    struct magnitudes h = {.format = MAGNITUDE_F32, .level = 1};
    struct magnitude_bin bin = {.index = 5, .count = 1000000, .squares = 1};

    (void)state;
    add(&m, tensor_random(&rng, MAGNITUDE_F32, 100, 1, 0), 0, 1);
    assert_int_equal(magnitude_runs_refine(&m.runs[0], &h, NULL), ERR_INVALID);
    h.prefix = m.runs[0].run[3].prefix;
    h.n_weights = 1000000;
    h.bin = &bin;
    h.n_bins = 1;
    assert_int_equal(magnitude_runs_refine(&m.runs[0], &h, NULL), ERR_CHANGED);
    h.format = MAGNITUDE_F64;
    assert_int_equal(magnitude_runs_refine(&m.runs[0], &h, NULL), ERR_INVALID);
    model_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(random_tensors),
        cmocka_unit_test(tied_tensors),
        cmocka_unit_test(mixed_formats),
        cmocka_unit_test(little_is_refined),
        cmocka_unit_test(limits_and_properties),
        cmocka_unit_test(infeasible),
        cmocka_unit_test(missing_weights),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(all_zero),
        cmocka_unit_test(overflow),
        cmocka_unit_test(wrong_refinement),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
