/* test_api_headers.c: request headers with a grammar of their own. */
#include "api/idempotency.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idempotency_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
