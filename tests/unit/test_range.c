/* test_range.c: one range of bytes. */
#include "api/range.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void is_part(const char *header, uint64_t size, uint64_t first, uint64_t len)
{
    uint64_t f = 0, n = 0;

    assert_int_equal(range_parse(header, size, &f, &n), RANGE_PART);
    assert_int_equal(f, first);
    assert_int_equal(n, len);
}

static void is(enum range want, const char *header, uint64_t size)
{
    uint64_t f = 77, n = 88;

    assert_int_equal(range_parse(header, size, &f, &n), want);
    assert_int_equal(f, 77);
    assert_int_equal(n, 88);
}

static void parts(void **state)
{
    (void)state;
    is_part("bytes=0-0", 1, 0, 1);
    is_part("bytes=0-", 10, 0, 10);
    is_part("bytes=9-", 10, 9, 1);
    is_part("bytes=2-5", 10, 2, 4);
    is_part("bytes=2-500", 10, 2, 8);
    is_part("Bytes= 2-5 ", 10, 2, 4);
    is_part("bytes=-1", 10, 9, 1);
    is_part("bytes=-9", 10, 1, 9);
    is_part("bytes=0-18446744073709551615", 10, 0, 10);
    is_part("bytes=0-99999999999999999999999999", 10, 0, 10);
    is_part("bytes=18446744073709551614-", UINT64_MAX, UINT64_MAX - 1, 1);
}

static void what_is_ignored(void **state)
{
    static const char *const headers[] = {
        "",          "bytes",     "bytes=",      "bytes=-",     "bytes=x-1",  "bytes=1",
        "bytes=3-2", "bytes=1-x", "bytes=1-2,4", "bytes=1 -2",  "bytes=+1-2", "bytes=-1-2",
        "words=1-2", "byte=1-2",  "bytes=--1",   "bytes=0x1-2", "bytes=-10",  "bytes=-11",
    };

    (void)state;
    is(RANGE_WHOLE, NULL, 10);
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        is(RANGE_WHOLE, headers[i], 10);
    is(RANGE_WHOLE, "bytes=-5", 0);
}

static void what_is_not_there(void **state)
{
    (void)state;
    is(RANGE_NOT_SATISFIABLE, "bytes=10-", 10);
    is(RANGE_NOT_SATISFIABLE, "bytes=10-11", 10);
    is(RANGE_NOT_SATISFIABLE, "bytes=0-", 0);
    is(RANGE_NOT_SATISFIABLE, "bytes=-0", 10);
    is(RANGE_NOT_SATISFIABLE, "bytes=99999999999999999999999999-", UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts),
        cmocka_unit_test(what_is_ignored),
        cmocka_unit_test(what_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
