/* test_flights.c: who computes what, and what has landed. */
#include "daemon/flights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct digest key_of(unsigned n)
{
    struct digest d = {{0}};

    memcpy(d.b, &n, sizeof n);
    return d;
}

static void one_at_a_time(void **state)
{
    struct flights *f = flights_new();
    struct digest k = key_of(1), other = key_of(2);
    int a, b;

    (void)state;
    assert_false(flights_busy(f, &k, &a));
    flights_begin(f, &k, &a);
    flights_begin(f, &k, &a);
    assert_false(flights_busy(f, &k, &a));
    assert_true(flights_busy(f, &k, &b));
    assert_false(flights_busy(f, &other, &b));
    assert_false(flights_end(f, &k, &b)); /* not b's */
    assert_true(flights_busy(f, &k, &b));
    assert_true(flights_end(f, &k, &a));
    assert_false(flights_end(f, &k, &a));
    assert_false(flights_busy(f, &k, &b));
    flights_free(f);
}

static void leaving_ends_everything(void **state)
{
    struct flights *f = flights_new();
    int a, b;

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        struct digest k = key_of(i);

        flights_begin(f, &k, i % 2 ? &a : &b);
    }
    assert_true(flights_leave(f, &a));
    assert_false(flights_leave(f, &a));
    for (unsigned i = 0; i < 10; i++) {
        struct digest k = key_of(i);

        assert_int_equal(flights_busy(f, &k, &a), i % 2 == 0);
    }
    flights_free(f); /* with b's still there */
}

static void landed(void **state)
{
    struct flights *f = flights_new();

    (void)state;
    for (unsigned i = 0; i < FLIGHTS_LANDED_MAX + 5; i++) {
        struct digest k = key_of(i);

        flights_land(f, &k);
        flights_land(f, &k);
    }
    for (unsigned i = 0; i < FLIGHTS_LANDED_MAX + 5; i += 1000) {
        struct digest k = key_of(i);

        assert_int_equal(flights_landed(f, &k), i < FLIGHTS_LANDED_MAX);
    }
    flights_clear_landed(f);
    struct digest k = key_of(0);
    assert_false(flights_landed(f, &k));
    flights_land(f, &k);
    assert_true(flights_landed(f, &k));
    flights_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(leaving_ends_everything),
        cmocka_unit_test(landed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
