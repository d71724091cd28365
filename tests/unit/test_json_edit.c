/* test_json_edit.c: one member changes, and no other byte. */
#include "models/json_edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATH(...)                                                                                  \
    (const char *const[]){__VA_ARGS__},                                                            \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)

static void same(struct buf *b, const char *want)
{
    buf_put_u8(b, 0);
    assert_string_equal((const char *)b->data, want);
    buf_done(b);
}

static void set(const char *text, const char *const *path, size_t n, const char *json,
                const char *want)
{
    struct buf b = BUF_INIT;

    assert_int_equal(json_edit_set(text, strlen(text), path, n, json, &b, NULL), 0);
    same(&b, want);
}

static void cut(const char *text, const char *const *path, size_t n, const char *want)
{
    struct buf b = BUF_INIT;

    assert_int_equal(json_edit_remove(text, strlen(text), path, n, &b, NULL), 0);
    same(&b, want);
}

static const char config[] = "{\n"
                             "  \"architectures\": [\"X\"],\n"
                             "  \"rms_norm_eps\": 1e-05,\n"
                             "  \"text_config\": {\n"
                             "    \"num_experts\" : 8,\n"
                             "    \"theta\": 10000.0\n"
                             "  },\n"
                             "  \"vocab\": 3\n"
                             "}\n";

static void a_value_changes(void **state)
{
    (void)state;
    set(config, PATH("text_config", "num_experts"), "6",
        "{\n"
        "  \"architectures\": [\"X\"],\n"
        "  \"rms_norm_eps\": 1e-05,\n"
        "  \"text_config\": {\n"
        "    \"num_experts\" : 6,\n"
        "    \"theta\": 10000.0\n"
        "  },\n"
        "  \"vocab\": 3\n"
        "}\n");
    set("{\"a\":[1,{\"a\":2}],\"b\":1.0}", PATH("a"), "null", "{\"a\":null,\"b\":1.0}");
    set("{\"\\u0061\":1}", PATH("a"), "2", "{\"\\u0061\":2}"); /* a key as it is meant */
    set(" {\"x\":{\"a\":1},\"a\":1} ", PATH("a"), "2", " {\"x\":{\"a\":1},\"a\":2} ");
}

static void a_member_comes_last(void **state)
{
    (void)state;
    set(config, PATH("text_config", "new"), "{\n  \"a\": [],\n  \"b\": 1\n}",
        "{\n"
        "  \"architectures\": [\"X\"],\n"
        "  \"rms_norm_eps\": 1e-05,\n"
        "  \"text_config\": {\n"
        "    \"num_experts\" : 8,\n"
        "    \"theta\": 10000.0,\n"
        "    \"new\": {\n"
        "      \"a\": [],\n"
        "      \"b\": 1\n"
        "    }\n"
        "  },\n"
        "  \"vocab\": 3\n"
        "}\n");
    set("{}", PATH("a \"b\""), "1", "{\"a \\\"b\\\"\": 1}");
    set("{\"a\":1}", PATH("b"), "2", "{\"a\":1,\"b\":2}");
    set("{\"a\": 1}", PATH("b"), "2", "{\"a\": 1, \"b\": 2}");
    set("{\"a\": 1, \"b\": 2 }", PATH("c"), "3", "{\"a\": 1, \"b\": 2, \"c\": 3 }");
}

static void a_member_goes(void **state)
{
    (void)state;
    cut(config, PATH("rms_norm_eps"),
        "{\n"
        "  \"architectures\": [\"X\"],\n"
        "  \"text_config\": {\n"
        "    \"num_experts\" : 8,\n"
        "    \"theta\": 10000.0\n"
        "  },\n"
        "  \"vocab\": 3\n"
        "}\n");
    cut("{\"a\": 1, \"b\": 2, \"c\": 3}", PATH("a"), "{\"b\": 2, \"c\": 3}");
    cut("{\"a\": 1, \"b\": 2, \"c\": 3}", PATH("c"), "{\"a\": 1, \"b\": 2}");
    cut("{\"x\": { \"a\": 1\n} }", PATH("x", "a"), "{\"x\": {} }");
}

/* What is set and removed again leaves no trace. */
static void there_and_back(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    assert_int_equal(json_edit_set(config, strlen(config), PATH("q"), "{\"a\": 1}", &b, NULL), 0);
    buf_put_u8(&b, 0);
    cut((const char *)b.data, PATH("q"), config);
    buf_done(&b);
}

static void refused(const char *text, const char *const *path, size_t n, const char *json, int code)
{
    struct buf b = BUF_INIT;
    struct err err = {0};

    assert_int_equal(json_edit_set(text, strlen(text), path, n, json, &b, &err), code);
    assert_int_equal(err.code, code);
    assert_int_equal(b.len, 0);
}

static void what_is_no_object_is_refused(void **state)
{
    static const char *const bad[] = {"",       "[]",         "{",           "{\"a\":1,}",
                                      "1",      "{\"a\":01}", "{\"a\":1} x", "{\"a\":1,\"a\":2}",
                                      "{'a':1}"};
    char deep[200] = "{\"a\":";
    struct buf b = BUF_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refused(bad[i], PATH("a"), "1", ERR_FORMAT);
    for (size_t i = 0; i < 40; i++)
        strcat(deep, "[");
    for (size_t i = 0; i < 40; i++)
        strcat(deep, "]");
    strcat(deep, "}");
    refused(deep, PATH("a"), "1", ERR_FORMAT);
    refused("{}", PATH("a"), "{", ERR_INVALID);
    refused("{}", PATH("a", "b"), "1", ERR_NOT_FOUND);
    refused("{\"a\":[1]}", PATH("a", "b"), "1", ERR_NOT_FOUND);
    assert_int_equal(json_edit_remove("{}", 2, PATH("a"), &b, NULL), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_changes),
        cmocka_unit_test(a_member_comes_last),
        cmocka_unit_test(a_member_goes),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_is_no_object_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
