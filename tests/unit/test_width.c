/* test_width.c: widths by hand, and what holds for all of them. */
#include "compute/width.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define GROUPS 30

static void by_hand(void **state)
{
    struct width_group g[3] = {
        {100, 10, 3, 0.47, 0, 1}, {100, 10, 3, 0.34, 0, 1}, {40, 8, 2, 0.5, 0, 1}};
    uint64_t k[3];

    (void)state;
    /* Wanted 53, 66 and 20: down to 50, 60 and 16. 680 weights at all, half are 340; kept so far
     * 150 + 180 + 32 = 362, too many by 22. The last of the remainders, 0.3, 0.6, 0.5, gives 10
     * widths (30 weights) back: 8 too few, which no step of 30 or 16 brings closer. */
    assert_int_equal(width_round(g, 3, 0.5, k, NULL), 0);
    assert_int_equal(k[0], 40);
    assert_int_equal(k[1], 60);
    assert_int_equal(k[2], 16);
    /* 400 to keep: 38 missing, 30 of them in the group with the remainder 0.6. */
    assert_int_equal(width_round(g, 3, 1 - 400.0 / 680, k, NULL), 0);
    assert_int_equal(k[0], 50);
    assert_int_equal(k[1], 70);
    assert_int_equal(k[2], 16);
}

static void ends(void **state)
{
    struct width_group g[2] = {{100, 64, 1, 0, 0, 1}, {8, 1, 4096, 0, 0, 1}};
    uint64_t k[2] = {7, 7};

    (void)state;
    assert_int_equal(width_round(g, 2, 0, k, NULL), 0); /* no multiple of 64, but the whole */
    assert_int_equal(k[0], 100);
    assert_int_equal(k[1], 8);
    g[0].ratio = 0.3;
    assert_int_equal(width_round(g, 1, 0.3, k, NULL), 0);
    assert_int_equal(k[0], 64);
    g[0].ratio = g[1].ratio = 1; /* something stays, which misses this target by too much */
    assert_int_equal(width_round(g, 1, 1, k, NULL), ERR_LIMIT);
    g[0].ratio = 0.4;
    g[0].min = 0.37;
    g[0].max = 0.45;
    k[0] = 7;
    assert_int_equal(width_round(g, 1, 0.4, k, NULL), ERR_LIMIT); /* 55 to 63 */
    assert_int_equal(k[0], 7);
    g[0].multiple = 200; /* only the whole */
    g[0].min = 0;
    assert_int_equal(width_round(g, 1, 0.1, k, NULL), 0);
    assert_int_equal(k[0], 100);
}

static void refused(void **state)
{
    const struct width_group good = {100, 10, 3, 0.5, 0, 1};
    struct width_group g = good;
    uint64_t k;

    (void)state;
#define REFUSED(field, value)                                                                      \
    g = good;                                                                                      \
    g.field = value;                                                                               \
    assert_int_equal(width_round(&g, 1, 0.5, &k, NULL), ERR_INVALID)
    REFUSED(of, 0);
    REFUSED(of, (UINT64_C(1) << 32) + 1);
    REFUSED(multiple, 0);
    REFUSED(cost, 0);
    REFUSED(cost, INFINITY);
    REFUSED(ratio, NAN);
    REFUSED(ratio, 1.1);
    REFUSED(min, -1);
    REFUSED(max, 2);
    assert_int_equal(width_round(&good, 1, 1.5, &k, NULL), ERR_INVALID);
    assert_int_equal(width_round(&good, 1, NAN, &k, NULL), ERR_INVALID);
    assert_int_equal(width_round(&good, 0, 0.5, &k, NULL), ERR_INVALID);
}

static void random_group(struct rng *r, struct width_group *g, bool limits)
{
    *g = (struct width_group){.of = 1 + (uint64_t)(rng_uniform(r) * 2000),
                              .multiple = 1 + (uint64_t)(rng_uniform(r) * 70),
                              .cost = 1 + floor(rng_uniform(r) * 9000),
                              .ratio = rng_uniform(r),
                              .max = 1};
    if (limits) {
        g->min = g->ratio * rng_uniform(r);
        g->max = g->ratio + (1 - g->ratio) * rng_uniform(r);
    }
}

static void keeps_the_budget(void **state)
{
    struct rng r = {3};
    int met = 0;

    (void)state;
    for (int round = 0; round < 5000; round++) {
        struct width_group g[GROUPS];
        size_t n = 1 + (size_t)(rng_uniform(&r) * GROUPS);
        double wanted = 0, all = 0, kept = 0, largest = 0;
        uint64_t k[GROUPS];

        for (size_t i = 0; i < n; i++) {
            random_group(&r, &g[i], round % 2);
            all += (double)g[i].of * g[i].cost;
            wanted += (double)g[i].of * g[i].cost * g[i].ratio;
            largest = fmax(largest,
                           g[i].cost * (double)(g[i].multiple < g[i].of ? g[i].multiple : g[i].of));
        }
        if (width_round(g, n, wanted / all, k, NULL) < 0)
            continue;
        met++;
        for (size_t i = 0; i < n; i++) {
            double removed = 1 - (double)k[i] / (double)g[i].of;

            assert_true(k[i] >= 1 && k[i] <= g[i].of);
            assert_true(k[i] == g[i].of || k[i] % g[i].multiple == 0);
            assert_true(removed >= g[i].min - 1e-9 && removed <= g[i].max + 1e-9);
            kept += (double)k[i] * g[i].cost;
        }
        assert_true(fabs(kept - (all - wanted)) <= largest / 2 * (1 + 1e-8));
    }
    assert_true(met > 2500);
}

/* Without limits and with one size, every width is a neighbour of what was wanted. */
static void stays_near(void **state)
{
    struct rng r = {8};

    (void)state;
    for (int round = 0; round < 500; round++) {
        struct width_group g[GROUPS];
        double wanted = 0;
        uint64_t k[GROUPS];

        for (size_t i = 0; i < GROUPS; i++) {
            g[i] = (struct width_group){11008, 64, 12288, 0.1 + 0.8 * rng_uniform(&r), 0, 1};
            wanted += g[i].ratio / GROUPS;
        }
        assert_int_equal(width_round(g, GROUPS, wanted, k, NULL), 0);
        for (size_t i = 0; i < GROUPS; i++)
            assert_true(fabs((double)k[i] - (1 - g[i].ratio) * 11008) < 64 + 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),          cmocka_unit_test(ends),       cmocka_unit_test(refused),
        cmocka_unit_test(keeps_the_budget), cmocka_unit_test(stays_near),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
