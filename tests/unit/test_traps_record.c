/* test_traps_record.c: traps on their way, and what is none. */
#include "daemon/traps_record.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct trap a_trap(void)
{
    struct trap t = {.lambda = 90,
                     .delta = 2,
                     .share = 0.1,
                     .ipr = 0.9,
                     .q = 0.8,
                     .top_5_mass = 0.7,
                     .top_10_mass = 0.75,
                     .diffuseness = 0.2,
                     .risk = 1,
                     .label = TRAP_LOCALIZED_RISKY,
                     .left = {1, 2, 3, 4, 5, 6},
                     .right = {7, 8, 9, 10, 11, 12},
                     .n_entries = 2};

    t.entry[0] = (struct trap_entry){17, 23, 60, 59, 0.4};
    t.entry[1] = (struct trap_entry){3, 4, -1, -2, 0.1};
    return t;
}

static bool read_back(const struct buf *b, size_t len, uint64_t rows, uint64_t cols,
                      struct trap *out, size_t *n)
{
    struct reader r;

    reader_init(&r, b->data, len);
    return traps_record_get(&r, rows, cols, out, n) && reader_ok(&r);
}

static bool round_trip(const struct trap *t, size_t n)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct trap out[TRAPS_MAX];
    size_t count;

    traps_record_put(&b, t, n);
    return read_back(&b, b.len, 30, 40, out, &count);
}

static void there_and_back(void **state)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct trap in[TRAPS_MAX], out[TRAPS_MAX];
    size_t n;

    (void)state;
    memset(in, 0, sizeof in);
    memset(out, 0, sizeof out);
    in[0] = a_trap();
    in[1] = a_trap();
    in[1].lambda = 80;
    traps_record_put(&b, in, TRAPS_MAX);
    assert_true(read_back(&b, b.len, 30, 40, out, &n));
    assert_int_equal(n, TRAPS_MAX);
    for (size_t k = 0; k < 2; k++) {
        assert_true(out[k].lambda == in[k].lambda && out[k].risk == 1 && out[k].q == 0.8);
        assert_memory_equal(&out[k].left, &in[k].left, sizeof in[k].left);
        assert_memory_equal(&out[k].right, &in[k].right, sizeof in[k].right);
        assert_memory_equal(out[k].entry, in[k].entry, 2 * sizeof in[k].entry[0]);
    }
    for (size_t len = 0; len < b.len; len++)
        assert_false(read_back(&b, len, 30, 40, out, &n));
    assert_false(read_back(&b, b.len, 17, 40, out, &n)); /* row 17 is the last but one too many */
    assert_false(read_back(&b, b.len, 30, 23, out, &n));
    assert_true(read_back(&b, b.len, 18, 24, out, &n));
}

static void hostile(void **state)
{
    static const double no_number[] = {NAN, INFINITY, -INFINITY};
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct trap t[TRAPS_MAX + 1], out[TRAPS_MAX];
    size_t n;

    (void)state;
    for (size_t k = 0; k <= TRAPS_MAX; k++)
        t[k] = a_trap();
    assert_true(round_trip(t, 1));
    traps_record_put(&b, t, TRAPS_MAX + 1);
    assert_false(read_back(&b, b.len, 30, 40, out, &n));
    for (size_t k = 0; k < 3; k++) {
        t[0] = a_trap();
        t[0].risk = no_number[k];
        assert_false(round_trip(t, 1));
        t[0] = a_trap();
        t[0].right.gini = no_number[k];
        assert_false(round_trip(t, 1));
        t[0] = a_trap();
        t[0].entry[1].share = no_number[k];
        assert_false(round_trip(t, 1));
    }
    t[0] = a_trap();
    t[0].label = TRAP_LABEL_COUNT;
    assert_false(round_trip(t, 1));
}

static void keys(void **state)
{
    const struct digest spectrum = {{1}}, another = {{2}};
    const struct measure_options robust = {0}, upstream = {.mp = MP_FIT_UPSTREAM},
                                 compat = {.compat = true}, often = {.replicas = 7};
    struct digest k[6];

    (void)state;
    traps_record_key(&spectrum, 1, &robust, &k[0]);
    traps_record_key(&another, 1, &robust, &k[1]);
    traps_record_key(&spectrum, 0.5, &robust, &k[2]);
    traps_record_key(&spectrum, 1, &upstream, &k[3]);
    traps_record_key(&spectrum, 1, &compat, &k[4]);
    traps_record_key(&spectrum, 1, &often, &k[5]);
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < i; j++)
            assert_false(digest_equal(&k[i], &k[j]));
    assert_true(digest_equal(&k[0], &k[5])); /* other orders have no part in it */
}

static void options(void **state)
{
    struct measure_options o;

    (void)state;
    assert_true(traps_record_options("{\"traps\":true,\"mp_fit\":false,\"compat\":null}", &o));
    assert_true(o.mp == MP_FIT_ROBUST && !o.compat);
    assert_false(traps_record_options("{\"traps\":false,\"mp_fit\":\"upstream\"}", &o));
    assert_true(o.mp == MP_FIT_UPSTREAM && !o.compat);
    (void)traps_record_options("{\"compat\":\"weightwatcher-0.7.5.5\",\"mp_fit\":false}", &o);
    assert_true(o.mp == MP_FIT_UPSTREAM && o.compat);
    (void)traps_record_options("{\"compat\":\"weightwatcher-0.7.5.5\",\"mp_fit\":\"robust\"}", &o);
    assert_true(o.mp == MP_FIT_ROBUST && o.compat);
    assert_false(traps_record_options("?", &o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(hostile),
        cmocka_unit_test(keys),
        cmocka_unit_test(options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
