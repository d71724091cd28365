/* test_schedule.c: factors against published numbers, against the formulas worked by hand, and
 * what must hold for every input. */
#include "compute/hill.h"
#include "compute/schedule.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define N 5
static const double scores[N] = {2.1, 3.7, 2.9, 5.2, 2.4};

static struct schedule_rule rule_of(enum schedule_map map)
{
    return (struct schedule_rule){
        .map = map, .s1 = 0.5, .s2 = 1.5, .down = 2, .up = 1, .tau = 10, .max = INFINITY};
}

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance * fabs(want))) {
        print_error("got %.17g, want %.17g\n", got, want);
        fail();
    }
}

/* Factors times a base of 0.1, as spec tables give them (ten digits). */
static void check_published(const struct schedule_rule *rule, const double *want)
{
    double f[N];
    struct schedule_summary sum;

    assert_int_equal(schedule_factors(rule, scores, NULL, N, f, &sum, NULL), 0);
    for (size_t i = 0; i < N; i++)
        near(0.1 * f[i], want[i], 2e-8);
    assert_int_equal(sum.n_units, N);
    assert_false(sum.degenerate);
    near(sum.mean, 3.26, 1e-14);
    near(sum.std, sqrt(6.172 / 5), 1e-14); /* deviations -1.16 .44 -.36 1.94 -.86 */
}

static void published_values(void **state)
{
    static const double linear[] = {.05, .1016129032, .0758064516, .15, .0596774194};
    static const double step[] = {.05, .11, .09, .13, .07};
    static const double root[] = {.0813650655, .1080013522, .0956152863, .1280353823, .0869829138};
    static const double log[] = {.0657849885, .1160052936, .0944041759, .1461807921, .0776247499};
    static const double even[] = {.031623444, .3075187248, .0336199446, .3162277633, .0316361825};
    static const double two[] = {.0100004221, .3075187248, .0113030068, .3162277633, .0100084804};
    struct schedule_rule r = rule_of(SCHEDULE_LINEAR);

    (void)state;
    check_published(&r, linear);
    r = rule_of(SCHEDULE_RANK);
    check_published(&r, step);
    r = rule_of(SCHEDULE_SQRT);
    check_published(&r, root);
    r = rule_of(SCHEDULE_LOG2);
    check_published(&r, log);
    r = rule_of(SCHEDULE_SIGMOID);
    check_published(&r, two);
    r.down = 1;
    check_published(&r, even);
}

static void check_score(const double *x, size_t n, double alpha, double D)
{
    double work[128];
    struct hill_fit f;

    assert_int_equal(hill_fit(x, n, HILL_MID, 0, work, &f, NULL), 0);
    assert_int_equal(f.status, HILL_OK);
    near(f.alpha, alpha, 1e-13);
    if (D > 0)
        near(f.D, D, 1e-13);
}

/* The score that is balanced by default is TempBalance's: the tail starts in the middle. */
static void published_scores(void **state)
{
    double count[10], power[64];

    (void)state;
    for (size_t i = 0; i < 10; i++)
        count[i] = (double)i + 1;
    for (size_t i = 0; i < 64; i++)
        power[i] = pow(1.25, (double)i);
    check_score(count, 10, 4.681550358521017, 0.253237800145233);
    check_score(power, 8, 3.9876134118163673, 0);
    check_score(power, 9, 3.2407100588622755, 0);
    check_score(power, 64, 1.2891238785628742, 0.1644471820540545);
}

/* The same from other starts of the tail (training runs with little data take a longer one), and
 * with the threshold of the paper's text, one value lower: 1..10 from 6, over 5. */
static void other_starts(void **state)
{
    static const struct hill_start longer = {.pos = 1.5}, third = {.pos = 3}, two = {.pos = 2},
                                   paper = {.pos = 2, .paper = true};
    double power[64], sum = 0;
    struct hill_fit f, g;
    double work[128];

    (void)state;
    for (size_t i = 0; i < 64; i++)
        power[i] = pow(1.25, (double)i);
    assert_int_equal(hill_fit_from(power, 64, &longer, 0, &f, NULL), 0);
    near(f.alpha, 1.4268019159737668, 1e-13);
    assert_int_equal(f.first, 42);
    assert_int_equal(hill_fit_from(power, 64, &third, 0, &f, NULL), 0);
    near(f.alpha, 1.2134009579868832, 1e-13);
    assert_int_equal(hill_fit_from(power, 64, &two, 0, &f, NULL), 0);
    assert_int_equal(hill_fit(power, 64, HILL_MID, 0, work, &g, NULL), 0);
    assert_true(f.alpha == g.alpha && f.D == g.D && f.first == g.first);
    for (size_t i = 0; i < 10; i++)
        power[i] = (double)i + 1;
    for (size_t i = 5; i < 10; i++)
        sum += log(power[i] / 5);
    assert_int_equal(hill_fit_from(power, 10, &paper, 0, &f, NULL), 0);
    near(f.alpha, 1 + 5 / sum, 1e-14);
    for (double pos = 1; pos >= 0; pos -= 0.5)
        assert_int_equal(hill_fit_from(power, 10, &(struct hill_start){.pos = pos}, 0, &f, NULL),
                         ERR_INVALID);
    assert_int_equal(hill_fit_from(power, 10, &(struct hill_start){.pos = NAN}, 0, &f, NULL),
                     ERR_INVALID);
    assert_int_equal(hill_fit_from(power, 10, &(struct hill_start){.pos = 1 + 1e-16}, 0, &f, NULL),
                     ERR_INVALID);
    assert_int_equal(hill_fit_from(power, 10, &(struct hill_start){.pos = 1 + 1e-15}, 0, &f, NULL),
                     0);
    assert_int_equal(f.status, HILL_ALL_EQUAL);
    assert_int_equal(hill_fit_from(power, 10, &(struct hill_start){.pos = 1e6}, 0, &f, NULL), 0);
    assert_int_equal(f.first, 0);
}

/* Two blocks: means 3 and 5; a matrix gets what its block gets. */
static void blocks(void **state)
{
    static const double s[] = {2, 6, 4, 4};
    static const uint32_t unit[] = {0, 1, 0, 1};
    struct schedule_rule r = rule_of(SCHEDULE_LINEAR);
    struct schedule_summary sum;
    double f[4], up = pow(10, 1 / (1 + exp(-10.0)) - 0.5), down = pow(10, 2 / (1 + exp(10.0)) - 1);

    (void)state;
    r.unit = SCHEDULE_BLOCK;
    assert_int_equal(schedule_factors(&r, s, unit, 4, f, &sum, NULL), 0);
    assert_int_equal(sum.n_units, 2);
    assert_int_equal(sum.n_matrices, 4);
    assert_true(f[0] == 0.5 && f[2] == 0.5 && f[1] == 1.5 && f[3] == 1.5);
    r = rule_of(SCHEDULE_SIGMOID);
    r.unit = SCHEDULE_BLOCK;
    assert_int_equal(schedule_factors(&r, s, unit, 4, f, &sum, NULL), 0);
    near(f[0], down, 1e-14);
    near(f[1], up, 1e-14);
    assert_true(f[2] == f[0] && f[3] == f[1]);
    assert_int_equal(schedule_factors(&r, s, NULL, 4, f, &sum, NULL), ERR_INVALID);
}

/* Blocks of means 3 and 5: 0.5 and 1.5, times 0.5 ... 1.5 inside: (2, 3, 4) and (4, 6). A third,
 * of one matrix and mean 4: 1, times 1, or upstream's 1.5. */
static void within_blocks(void **state)
{
    static const double s[] = {2, 6, 4, 4, 3, 4}, equal[] = {2, 2, 3, 3};
    static const uint32_t unit[] = {0, 1, 0, 1, 0, 2}, pair[] = {0, 0, 1, 1};
    struct schedule_rule r = rule_of(SCHEDULE_LINEAR);
    struct schedule_summary sum;
    double f[6], up;

    (void)state;
    r.unit = SCHEDULE_WITHIN_BLOCK;
    assert_int_equal(schedule_factors(&r, s, unit, 6, f, &sum, NULL), 0);
    assert_int_equal(sum.n_units, 3);
    assert_true(f[0] == 0.25 && f[2] == 0.75 && f[4] == 0.5 && f[1] == 2.25 && f[3] == 0.75);
    assert_true(f[5] == 1);
    r.reference = true;
    assert_int_equal(schedule_factors(&r, s, unit, 6, f, &sum, NULL), 0);
    assert_true(f[0] == 0.25 && f[5] == 1.5);
    r.normalize = true; /* by the mean over matrices: 6 / 6 */
    assert_int_equal(schedule_factors(&r, s, unit, 6, f, &sum, NULL), 0);
    near(f[1], 2.25, 1e-12);
    r = rule_of(SCHEDULE_SIGMOID);
    r.unit = SCHEDULE_WITHIN_BLOCK;
    up = pow(10, 1 / (1 + exp(-5.0)) - 0.5); /* means 2 and 3: 0.5 from theirs, tau 10 */
    assert_int_equal(schedule_factors(&r, equal, pair, 4, f, &sum, NULL), 0);
    near(f[2], up, 1e-14);
    assert_true(f[2] == f[3]);
    r = rule_of(SCHEDULE_SQRT); /* mean 1 of the blocks, which nobody promises inside */
    r.unit = SCHEDULE_WITHIN_BLOCK;
    r.max = 1;
    assert_int_equal(schedule_factors(&r, s, unit, 6, f, &sum, NULL), 0);
    near(f[0], 0.5 * 3 * sqrt(3) / (sqrt(3) + sqrt(4) + sqrt(5)), 1e-14);
    assert_true(f[1] == 1);
}

static void window(void **state)
{
    static const double s[] = {2, 6, 4, 4};
    static const uint32_t unit[] = {0, 1, 0, 1};
    struct schedule_rule r = rule_of(SCHEDULE_SIGMOID);
    struct schedule_summary sum;
    double f[4];

    (void)state;
    r.unit = SCHEDULE_WINDOW;
    r.window = 1;
    r.window_scale = 0.25;
    assert_int_equal(schedule_factors(&r, s, unit, 4, f, &sum, NULL), 0);
    assert_true(f[0] == 1 && f[2] == 1 && f[1] == 0.25 && f[3] == 0.25);
    assert_int_equal(sum.n_units, 2);
    r.window = 2;
    assert_int_equal(schedule_factors(&r, s, unit, 4, f, &sum, NULL), ERR_INVALID);
    r.window = 0;
    r.window_scale = NAN;
    assert_int_equal(schedule_factors(&r, s, unit, 4, f, &sum, NULL), ERR_INVALID);
}

/* Inside blocks: (2, 4) are -1 and 1 deviations from their mean, (7, 8, 9) are sqrt(3/2). */
static void zscores(void **state)
{
    static const double s[] = {2, 7, 4, 8, 9, 5, 5};
    static const uint32_t unit[] = {0, 1, 0, 1, 1, 2, 2};
    struct schedule_rule r = rule_of(SCHEDULE_ZSCORE);
    struct schedule_summary sum;
    double f[7];

    (void)state;
    r.tau = 4;
    assert_int_equal(schedule_factors(&r, s, unit, 7, f, &sum, NULL), 0);
    near(f[0], 2 / (1 + exp(4.0)), 1e-14);
    near(f[2], 2 / (1 + exp(-4.0)), 1e-14);
    near(f[1], 2 / (1 + exp(4 * sqrt(1.5))), 1e-13);
    near(f[4], 2 / (1 + exp(-4 * sqrt(1.5))), 1e-13);
    assert_true(f[3] == 1 && f[5] == 1 && f[6] == 1);
    assert_int_equal(sum.n_units, 7);
    r.reference = true; /* deviations plus 1e-8 */
    assert_int_equal(schedule_factors(&r, s, unit, 7, f, &sum, NULL), 0);
    near(f[2], 2 / (1 + exp(-4.0 / (1 + 1e-8))), 1e-15);
    assert_true(f[5] == 1);
    assert_int_equal(schedule_factors(&r, s, NULL, 7, f, &sum, NULL), ERR_INVALID);
    r.unit = SCHEDULE_BLOCK;
    assert_int_equal(schedule_factors(&r, s, unit, 7, f, &sum, NULL), ERR_INVALID);
}

/* The mean over matrices, not over blocks. */
static void normalized(void **state)
{
    static const double s[] = {2, 6, 2};
    static const uint32_t unit[] = {0, 1, 0};
    struct schedule_rule r = rule_of(SCHEDULE_LINEAR);
    struct schedule_summary sum;
    double f[3];

    (void)state;
    r.unit = SCHEDULE_BLOCK;
    r.normalize = true; /* .5 1.5 .5 over 2.5/3 */
    assert_int_equal(schedule_factors(&r, s, unit, 3, f, &sum, NULL), 0);
    near(f[0], 0.6, 1e-12);
    near(f[1], 1.8, 1e-12);
    near(f[2], 0.6, 1e-12);
}

static void degenerate(void **state)
{
    static const double same[] = {3, 3, 3};
    static const uint32_t one_block[3] = {0};
    double f[3];
    struct schedule_summary sum;

    (void)state;
    for (int map = 0; map < SCHEDULE_MAP_COUNT; map++) {
        struct schedule_rule r = rule_of((enum schedule_map)map);

        for (size_t n = 1; n <= 3; n++) {
            assert_int_equal(schedule_factors(&r, same, one_block, n, f, &sum, NULL), 0);
            assert_true(sum.degenerate);
            for (size_t i = 0; i < n; i++)
                assert_true(f[i] == 1);
        }
        r.reference = true;
        assert_int_equal(schedule_factors(&r, same, one_block, 3, f, &sum, NULL), 0);
        assert_true(sum.degenerate);
        if (map == SCHEDULE_LINEAR)
            assert_true(f[0] == 1.5 && f[2] == 1.5);
        else if (map == SCHEDULE_RANK)
            assert_true(f[0] == 0.5 && fabs(f[2] - 7.0 / 6) < 1e-15);
        else
            near(f[1], 1, 1e-15);
        assert_int_equal(schedule_factors(&r, same, one_block, 0, f, &sum, NULL), 0);
        assert_false(sum.degenerate);
    }
}

/* Equal scores keep their order. */
static void ties(void **state)
{
    static const double s[] = {3, 1, 3, 2};
    struct schedule_rule r = rule_of(SCHEDULE_RANK);
    struct schedule_summary sum;
    double f[4];

    (void)state;
    assert_int_equal(schedule_factors(&r, s, NULL, 4, f, &sum, NULL), 0);
    assert_true(f[1] == 0.5 && f[3] == 0.75 && f[0] == 1 && f[2] == 1.25);
    assert_int_equal(sum.n_ties, 2);
}

/* sqrt of 1, 4, 16: factors 3/7, 6/7, 12/7. At most 1.5: the others share 1.5 as 1 : 2. */
static void bounds(void **state)
{
    static const double s[] = {1, 4, 16};
    struct schedule_rule r = rule_of(SCHEDULE_SQRT);
    struct schedule_summary sum;
    double f[3];
    struct err err = {0};

    (void)state;
    r.max = 1.5;
    assert_int_equal(schedule_factors(&r, s, NULL, 3, f, &sum, NULL), 0);
    near(f[0], 0.5, 1e-12);
    near(f[1], 1, 1e-12);
    near(f[2], 1.5, 1e-12);
    assert_int_equal(sum.n_bounded, 1);
    r.max = 0.9;
    assert_int_equal(schedule_factors(&r, s, NULL, 3, f, &sum, &err), ERR_NUMERIC);
    r.max = INFINITY;
    r.min = 1.1;
    assert_int_equal(schedule_factors(&r, s, NULL, 3, f, &sum, &err), ERR_NUMERIC);
    r = rule_of(SCHEDULE_LINEAR);
    r.min = 0.8;
    r.max = 1.2;
    assert_int_equal(schedule_factors(&r, s, NULL, 3, f, &sum, NULL), 0);
    assert_true(f[0] == 0.8 && f[1] == 0.8 && f[2] == 1.2); /* .5 .7 1.5 */
    assert_int_equal(sum.n_bounded, 3);
}

static void refusals(void **state)
{
    static const double s[] = {1, 4, 16}, odd[] = {1, NAN, 2};
    static const uint32_t gap[] = {0, 2, 2}, far[] = {0, 1, 3};
    struct schedule_summary sum;
    double f[3];
    struct schedule_rule r = rule_of(SCHEDULE_LINEAR);

    (void)state;
    assert_int_equal(schedule_factors(&r, odd, NULL, 3, f, &sum, NULL), ERR_INVALID);
    assert_int_equal(schedule_factors(&r, s, far, 3, f, &sum, NULL), ERR_INVALID);
    r.unit = SCHEDULE_BLOCK;
    assert_int_equal(schedule_factors(&r, s, gap, 3, f, &sum, NULL), ERR_INVALID);
    r.s1 = -1;
    assert_int_equal(schedule_factors(&r, s, NULL, 3, f, &sum, NULL), ERR_INVALID);
    r = rule_of(SCHEDULE_LOG2); /* log2 1 = 0 */
    assert_int_equal(schedule_factors(&r, s, NULL, 3, f, &sum, NULL), ERR_INVALID);
    r = rule_of(SCHEDULE_SIGMOID);
    r.tau = NAN;
    assert_int_equal(schedule_factors(&r, s, NULL, 3, f, &sum, NULL), ERR_INVALID);
    r = rule_of(SCHEDULE_SQRT);
    r.min = 2;
    r.max = 1;
    assert_int_equal(schedule_factors(&r, s, NULL, 3, f, &sum, NULL), ERR_INVALID);
}

static void exclusions(void **state)
{
    static const double s[] = {9, 2, NAN, 3, 0.5, 4, 9}, eigs[] = {60, 60, 60, 49, 50, NAN, 60};
    const struct schedule_exclude both = {.first = true, .last = true, .min_eigs = 50};
    const struct schedule_exclude none = {.first = false};
    enum schedule_state at[7] = {SCHEDULE_OTHER}, one[1] = {SCHEDULE_IN};

    (void)state;
    schedule_leave_out(&both, SCHEDULE_LOG2, s, eigs, 7, at);
    assert_int_equal(at[0], SCHEDULE_OTHER); /* not the first matrix: the caller's */
    assert_int_equal(at[1], SCHEDULE_FIRST);
    assert_int_equal(at[2], SCHEDULE_NONFINITE);
    assert_int_equal(at[3], SCHEDULE_FEW_EIGS);
    assert_int_equal(at[4], SCHEDULE_DOMAIN);
    assert_int_equal(at[5], SCHEDULE_IN);
    assert_int_equal(at[6], SCHEDULE_LAST);
    schedule_leave_out(&both, SCHEDULE_LINEAR, s, eigs, 1, one);
    assert_int_equal(one[0], SCHEDULE_FIRST);
    one[0] = SCHEDULE_IN;
    schedule_leave_out(&none, SCHEDULE_SQRT, s, eigs, 1, one);
    assert_int_equal(one[0], SCHEDULE_IN);
    schedule_leave_out(&both, SCHEDULE_SQRT, s, eigs, 0, one);
}

/* Whatever the scores: more score is never less factor, the order of the input does not matter,
 * mean 1 where it is promised, bounds are kept. */
static void properties(void **state)
{
    static const uint32_t one_block[40] = {0};
    struct rng rng = {11};

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct schedule_rule r = rule_of((enum schedule_map)(round % SCHEDULE_MAP_COUNT));
        double s[40], back[40], f[40], g[40], mean = 0;
        size_t n = 2 + (size_t)(rng_uniform(&rng) * 38);
        struct schedule_summary sum;

        r.down = r.up; /* the halves of an uneven sigmoid meet at 1, monotone as well */
        r.normalize = round % 3 == 0;
        if (round % 2) {
            r.min = 0.9 * rng_uniform(&rng);
            r.max = 1.1 + rng_uniform(&rng);
        }
        for (size_t i = 0; i < n; i++)
            back[n - 1 - i] = s[i] = 1.1 + 6 * rng_uniform(&rng);
        if (schedule_factors(&r, s, one_block, n, f, &sum, NULL) < 0) {
            assert_true(r.normalize); /* s1 = 0.5 of 0.5 … 1.5 can always be scaled: never */
            fail();
        }
        assert_int_equal(schedule_factors(&r, back, one_block, n, g, &sum, NULL), 0);
        for (size_t i = 0; i < n; i++) {
            mean += f[i] / (double)n;
            near(g[n - 1 - i], f[i], 1e-9);
            assert_true(f[i] >= r.min && f[i] <= r.max);
            for (size_t k = 0; k < n; k++)
                if (s[i] > s[k])
                    assert_true(f[i] >= f[k]);
        }
        if (r.normalize || r.map == SCHEDULE_SQRT || r.map == SCHEDULE_LOG2)
            near(mean, 1, 1e-9);
    }
}

static void names(void **state)
{
    (void)state;
    for (int m = 0; m < SCHEDULE_MAP_COUNT; m++)
        assert_int_equal(schedule_map_from_name(schedule_map_name((enum schedule_map)m)), m);
    assert_int_equal(schedule_map_from_name("cubic"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),
        cmocka_unit_test(published_scores),
        cmocka_unit_test(other_starts),
        cmocka_unit_test(blocks),
        cmocka_unit_test(within_blocks),
        cmocka_unit_test(window),
        cmocka_unit_test(zscores),
        cmocka_unit_test(normalized),
        cmocka_unit_test(degenerate),
        cmocka_unit_test(ties),
        cmocka_unit_test(bounds),
        cmocka_unit_test(refusals),
        cmocka_unit_test(exclusions),
        cmocka_unit_test(properties),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
