/* test_artifact_manifest.c: the files that a manifest lists. */
#include "daemon/artifact_manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define B2 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void files_are_found(void **state)
{
    struct artifact_manifest m;
    char hex[DIGEST_HEX_LEN + 1];
    struct err err;

    (void)state;
    assert_int_equal(artifact_manifest_parse(
                         "{\"plan\":{\"files\":[1]},\"files\":[{\"name\":\"a \\\"b\",\"bytes\":"
                         "5,\"blake2b\":\"" B2 "\",\"more\":[]},{\"blake2b\":\"" B2
                         "\",\"bytes\":9007199254740993,\"name\":\"\xc3\xa9\"}],\"z\":null}",
                         &m, &err),
                     0);
    assert_int_equal(m.count, 2);
    assert_ptr_equal(artifact_manifest_find(&m, "a \"b"), &m.file[0]);
    assert_int_equal(artifact_manifest_find(&m, "\xc3\xa9")->nbytes, 9007199254740993);
    assert_null(artifact_manifest_find(&m, "a"));
    assert_null(artifact_manifest_find(&m, ""));
    digest_hex(&m.file[1].blake2b, hex);
    assert_string_equal(hex, B2);
    artifact_manifest_done(&m);
    assert_int_equal(artifact_manifest_parse("{\"files\":[]}", &m, &err), 0);
    assert_int_equal(m.count, 0);
    artifact_manifest_done(&m);
}

static void what_leads_elsewhere_is_refused(void **state)
{
    static const char *const names[] = {"", ".", "..", "a/b", "/etc/passwd", "../x", "a\\u0000b"};
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "{\"files\":{}}",
        "{\"files\":[3]}",
        "{\"files\":[{\"name\":\"a\",\"bytes\":-1,\"blake2b\":\"" B2 "\"}]}",
        "{\"files\":[{\"name\":\"a\",\"bytes\":1.5,\"blake2b\":\"" B2 "\"}]}",
        "{\"files\":[{\"name\":\"a\",\"bytes\":1,\"blake2b\":\"" B2 "0\"}]}",
        "{\"files\":[{\"name\":\"a\",\"bytes\":1}]}",
        "{\"files\":[{\"name\":\"a\",\"bytes\":1,\"blake2b\":\"" B2 "\"},{}]}",
        "{\"files\":[",
    };
    struct artifact_manifest m;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO(freep)
        char *text = xasprintf("{\"files\":[{\"name\":\"%s\",\"bytes\":1,\"blake2b\":\"" B2 "\"}]}",
                               names[i]);

        assert_int_equal(artifact_manifest_parse(text, &m, &err), ERR_INTERNAL);
    }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(artifact_manifest_parse(texts[i], &m, &err), ERR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_found),
        cmocka_unit_test(what_leads_elsewhere_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
