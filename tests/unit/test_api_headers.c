/* test_api_headers.c: request headers with a grammar of their own. */
#include "api/etag.h"
#include "api/idempotency.h"
#include "api/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_idempotency_keys(void **state)
{
    static const char *const good[][2] = {{"abc", "abc"},
                                          {"\"abc\"", "abc"},
                                          {"a\"b", "a\"b"},
                                          {"\"a\\\"b\\\\\"", "a\"b\\"},
                                          {"~!", "~!"}};
    static const char *const bad[] = {"",         "\"\"",  "\"a",   "\"a\"b",   "a b", "\"a b\"",
                                      "\"a\\b\"", "\"a\\", "a\x7f", "\xc3\xa9", "\"",  "\t"};
    char out[IDEMPOTENCY_KEY_MAX + 1] = "kept", longest[IDEMPOTENCY_KEY_MAX + 2];
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(idempotency_key_parse(bad[i], out, &err), ERR_INVALID);
        assert_non_null(strstr(err.text, "Idempotency-Key"));
        assert_string_equal(out, "kept");
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(idempotency_key_parse(good[i][0], out, &err), 0);
        assert_string_equal(out, good[i][1]);
    }
    memset(longest, 'x', sizeof longest);
    longest[IDEMPOTENCY_KEY_MAX + 1] = '\0';
    assert_int_equal(idempotency_key_parse(longest, out, &err), ERR_INVALID);
    longest[IDEMPOTENCY_KEY_MAX] = '\0';
    assert_int_equal(idempotency_key_parse(longest, out, &err), 0);
    assert_string_equal(out, longest);
}

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"

static void test_traceparent(void **state)
{
    static const char zero32[] = "00000000000000000000000000000000";
    static const char *const bad[] = {
        "",
        "00",
        "00-" TRACE "-" SPAN,
        "00-" TRACE "-" SPAN "-",
        "00-" TRACE "-" SPAN "-0",
        "00-" TRACE "-" SPAN "-001",
        "00-" TRACE "-" SPAN "-01-x",
        "01-" TRACE "-" SPAN "-01",
        "ff-" TRACE "-" SPAN "-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
        "00-" TRACE "-B7AD6B7169203331-01",
        "00-" TRACE "-" SPAN "-0G",
        "00-" TRACE "_" SPAN "-01",
        "00-" TRACE "-" SPAN "_01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" TRACE "-0000000000000000-01",
        " 00-" TRACE "-" SPAN "-01",
    };
    char id[TRACE_ID_MAX] = "kept", other[TRACE_ID_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(trace_parse(bad[i], id));
        assert_string_equal(id, "kept");
    }
    assert_true(trace_parse("00-" TRACE "-" SPAN "-00", id));
    assert_string_equal(id, TRACE);
    trace_new(id);
    trace_new(other);
    assert_int_equal(strspn(id, "0123456789abcdef"), 32);
    assert_int_equal(strlen(id), 32);
    assert_string_not_equal(id, other);
    assert_string_not_equal(id, zero32);
}

static void test_etags(void **state)
{
    static const struct {
        const char *list;
        bool match, none_match;
    } cases[] = {
        {"\"v3\"", true, true},
        {"*", true, true},
        {"W/\"v3\"", false, true},
        {"\"v2\", \"v3\"", true, true},
        {"\"v2\",W/\"v3\"", false, true},
        {"\"v3-gz\"", true, true}, /* compressed, it is still that version */
        {"v3", false, false},
        {"\"v3", false, false},
        {"\"v33\"", false, false},
        {"\"v\"", false, false},
        {"\"*\"", false, false},
        {"", false, false},
        {",,", false, false},
        {"\"\"", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(etag_listed(cases[i].list, "\"v3\"", false), cases[i].match);
        assert_int_equal(etag_listed(cases[i].list, "\"v3\"", true), cases[i].none_match);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idempotency_keys),
        cmocka_unit_test(test_traceparent),
        cmocka_unit_test(test_etags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
