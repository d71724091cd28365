/* test_cli.c: spectralctl's pieces that need no server: text, table, arguments, progress. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/field.h"
#include "cli/http.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/text.h"

/* --- text ---------------------------------------------------------------------------------- */

static void check_clean(const char *in, const char *want)
{
    AUTO(freep) char *out = text_clean(in);

    assert_string_equal(out, want);
}

static void test_clean(void **state)
{
    (void)state;
    check_clean("model.layers.0.\xC3\xA9", "model.layers.0.\xC3\xA9");
    check_clean("a\033[2Jb\nc\td\x7F", "a?[2Jb?c?d?");
    check_clean("\xC2\x9B"
                "31m",
                "?31m");                     /* C1 control sequence introducer */
    check_clean("\xE2\x80\xAEtxt", "?txt");  /* right-to-left override */
    check_clean("\xC0\xAF", "??");           /* overlong slash */
    check_clean("\xED\xA0\x80", "???");      /* surrogate */
    check_clean("\xF4\x90\x80\x80", "????"); /* above the last code point */
    check_clean("a\xE2\x82", "a??");         /* cut in the middle */
    check_clean("\xE4\xB8\xAD", "\xE4\xB8\xAD");
}

static void test_width(void **state)
{
    (void)state;
    assert_int_equal(text_width(""), 0);
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("\xC3\xA9"), 1);
    assert_int_equal(text_width("\xE4\xB8\xAD\xE6\x96\x87"), 4); /* two wide characters */
    assert_int_equal(text_width("e\xCC\x81"), 1);                /* combining accent */
}

/* For every width: never wider than asked, begins and ends as the original does. */
static void test_shorten(void **state)
{
    static const char *const names[] = {"model.layers.10.self_attn.q_proj",
                                        "\xE4\xB8\xAD\xE6\x96\x87\xE4\xB8\xAD\xE6\x96\x87.weight",
                                        "x"};

    (void)state;
    for (size_t n = 0; n < ARRAY_LEN(names); n++) {
        size_t full = text_width(names[n]);

        for (size_t w = 0; w <= full + 2; w++) {
            AUTO(freep) char *s = text_shorten(names[n], w);

            assert_true(text_width(s) <= w);
            if (w >= full)
                assert_string_equal(s, names[n]);
            else if (w > 2)
                assert_non_null(strstr(s, ".."));
        }
    }
    AUTO(freep) char *s = text_shorten("abcdefghij", 6);
    assert_string_equal(s, "ab..ij");
}

static void test_seconds(void **state)
{
    static const struct {
        double s;
        const char *want;
    } cases[] = {{0, "0.0 s"},     {9.94, "9.9 s"},   {9.96, "10 s"},    {59.4, "59 s"},
                 {60, "1:00"},     {3599.4, "59:59"}, {7384, "2:03:04"}, {-1, "?"},
                 {1.0 / 0.0, "?"}, {0.0 / 0.0, "?"},  {1e300, "?"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[TEXT_SECONDS_MAX];

        text_seconds(cases[i].s, out);
        assert_string_equal(out, cases[i].want);
    }
}

/* --- table --------------------------------------------------------------------------------- */

static const struct table_column columns[] = {
    {"id", true, false, 0},    {"layer", false, true, 0}, {"extra", false, false, 2},
    {"alpha", true, false, 0}, {"more", true, false, 3},  {"note", false, false, 1},
};

static char *printed(size_t width)
{
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));
    char *text = NULL;
    size_t len;
    struct term to = {.width = width};

    to.out = open_memstream(&text, &len);
    for (int row = 0; row < 3; row++) {
        table_cell(t, COLOUR_NONE, "%d", row);
        table_cell(t, COLOUR_NONE, "model.layers.%d.self_attn.a_rather_long_name.q_proj", row);
        table_cell(t, COLOUR_NONE, "dense");
        table_number(t, COLOUR_GREEN, row > 0, 3.14159 * row, 2);
        table_number(t, COLOUR_NONE, true, 1e9, 2);
        table_cell(t, COLOUR_RED, "%s", row == 1 ? "bad\nnews" : "");
    }
    table_print(t, &to);
    fclose(to.out);
    return text;
}

static size_t widest_line(const char *text)
{
    size_t widest = 0;

    while (*text) {
        size_t len = strcspn(text, "\n");

        if (len > 0)
            assert_int_not_equal(text[len - 1], ' ');
        widest = len > widest ? len : widest;
        text += len + (text[len] == '\n');
    }
    return widest;
}

static void test_table_whole(void **state)
{
    AUTO(freep) char *text = printed(SIZE_MAX);

    (void)state;
    assert_non_null(strstr(text, "model.layers.2.self_attn.a_rather_long_name.q_proj"));
    assert_non_null(strstr(text, "bad?news"));
    assert_non_null(strstr(text, "6.28"));
    assert_non_null(strstr(text, "1.00e+09"));
    assert_null(strchr(text, '\033'));
}

static void test_table_fits(void **state)
{
    size_t whole;
    AUTO(freep) char *text = printed(SIZE_MAX);

    (void)state;
    whole = widest_line(text);
    for (size_t width = 40; width <= whole; width++) {
        AUTO(freep) char *cut = printed(width);

        assert_true(widest_line(cut) <= width);
        assert_non_null(strstr(cut, "alpha")); /* never dropped */
    }
    AUTO(freep) char *less = printed(whole - 4); /* the name gives way first */
    assert_non_null(strstr(less, "more"));
    assert_non_null(strstr(less, ".."));
    AUTO(freep) char *least = printed(60); /* then the column with the highest number */
    assert_null(strstr(least, "more"));
    assert_non_null(strstr(least, "note"));
}

/* --- arguments ----------------------------------------------------------------------------- */

struct settings {
    bool flag;
    const char *text;
    struct arg_count count;
    struct arg_list list;
};

static const struct arg_option options[] = {
    {"flag", ARG_FLAG, offsetof(struct settings, flag), NULL, ""},
    {"text", ARG_TEXT, offsetof(struct settings, text), "T", ""},
    {"count", ARG_COUNT, offsetof(struct settings, count), "N", ""},
    {"list", ARG_LIST, offsetof(struct settings, list), "L", ""},
};
static const struct arg_command cmd = {.name = "test",
                                       .operands = "PATH",
                                       .min_operands = 1,
                                       .max_operands = 2,
                                       .notes = "",
                                       .options = options,
                                       .n_options = ARRAY_LEN(options)};
static const struct arg_command none = {.name = "", .operands = "", .notes = ""};

#define PARSE(s, ops, err, ...)                                                                    \
    parse(s, ops, err, (char *[]){__VA_ARGS__}, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *))

static int parse(struct settings *s, struct arg_operands *ops, struct err *err, char **argv,
                 size_t argc)
{
    int used;

    *s = (struct settings){0};
    ops->count = 0;
    return args_parse(&cmd, s, &none, NULL, (int)argc, argv, ops, &used, err);
}

static void test_args(void **state)
{
    const char *values[4];
    struct arg_operands ops = {.value = values, .max = ARRAY_LEN(values)};
    struct settings s;
    struct err err;

    (void)state;
    assert_int_equal(PARSE(&s, &ops, &err, "p", "--flag", "--text", "a=b", "--count=0", "--list",
                           "x", "--list=y", "--", "--q"),
                     0);
    assert_true(s.flag && s.count.given && s.count.value == 0);
    assert_string_equal(s.text, "a=b");
    assert_int_equal(s.list.count, 2);
    assert_string_equal(s.list.value[1], "y");
    assert_int_equal(ops.count, 2);
    assert_string_equal(ops.value[1], "--q");

    assert_int_equal(PARSE(&s, &ops, &err, "--flag"), ERR_INVALID); /* no operand */
    assert_int_equal(PARSE(&s, &ops, &err, "a", "b", "c"), ERR_INVALID);
    assert_int_equal(PARSE(&s, &ops, &err, "a", "--text"), ERR_INVALID);
    assert_int_equal(PARSE(&s, &ops, &err, "a", "--flag=1"), ERR_INVALID);
    assert_int_equal(PARSE(&s, &ops, &err, "a", "--fla"), ERR_INVALID);
    assert_int_equal(PARSE(&s, &ops, &err, "a", "-x"), ERR_INVALID);
}

static void test_args_count(void **state)
{
    static char *const bad[] = {"", "-1", "+1", " 1", "1x", "x", "99999999999999999999", "1.5"};
    const char *values[4];
    struct arg_operands ops = {.value = values, .max = ARRAY_LEN(values)};
    struct settings s;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(PARSE(&s, &ops, &err, "p", "--count", bad[i]), ERR_INVALID);
        assert_false(s.count.given);
    }
}

static void test_args_list_limit(void **state)
{
    char *argv[2 * ARG_LIST_MAX + 3] = {"p"};
    const char *values[4];
    struct arg_operands ops = {.value = values, .max = ARRAY_LEN(values)};
    struct settings s;
    struct err err;

    (void)state;
    for (size_t i = 1; i < ARRAY_LEN(argv); i += 2) {
        argv[i] = "--list";
        argv[i + 1] = "x";
    }
    assert_int_equal(parse(&s, &ops, &err, argv, ARRAY_LEN(argv) - 2), 0);
    assert_int_equal(parse(&s, &ops, &err, argv, ARRAY_LEN(argv)), ERR_LIMIT);
}

/* --- progress, replies --------------------------------------------------------------------- */

static void test_progress(void **state)
{
    json_auto_t *job = json_pack(
        "{s:s,s:{s:f,s:i,s:i,s:f,s:s}}", "state", "running", "progress", "fraction", 0.5,
        "layers_done", 18, "layers_total", 29, "eta_s", 75.0, "message",
        "model.layers.2.\033[31mmlp.a_name_that_goes_on_and_on_and_on_and_on_and_on.up_proj");
    json_auto_t *odd = json_pack("{s:s,s:{s:f,s:s,s:n}}", "state", "queued\n", "progress",
                                 "fraction", 7.0, "layers_total", "many", "eta_s");

    (void)state;
    for (size_t width = 64; width < 160; width++) {
        AUTO(freep) char *line = progress_line(job, width);

        assert_true(text_width(line) <= width);
        assert_non_null(strstr(line, " 50%, 18/29 layers, 1:15 left"));
        assert_null(strchr(line, '\033'));
    }
    AUTO(freep) char *line = progress_line(odd, 80);
    assert_string_equal(line, "[########################] queued?");
}

static void test_fields(void **state)
{
    json_auto_t *o = json_pack("{s:i,s:s,s:s,s:s}", "n", 3, "t", "2026-11-21T03:55:31.930Z", "u",
                               "1970-01-01T00:00:00Z", "v", "yesterday");
    double x = 7;

    (void)state;
    assert_string_equal(field_text(o, "n"), "");
    assert_string_equal(field_text(NULL, "n"), "");
    assert_false(field_number(o, "t", &x));
    assert_true(x == 7);
    assert_true(field_number(o, "n", &x) && x == 3);
    assert_int_equal(field_count(o, "t"), 0);
    assert_true(field_time_ms(o, "t") == INT64_C(1795233331930));
    assert_true(field_time_ms(o, "u") == 0);
    assert_true(field_time_ms(o, "v") == -1);
}

static void test_escape(void **state)
{
    AUTO(freep) char *s = http_escape("a/b c?d=%\xC3\xA9~-._Z9");

    (void)state;
    assert_string_equal(s, "a%2Fb%20c%3Fd%3D%25%C3%A9~-._Z9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_width),
        cmocka_unit_test(test_shorten),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_table_whole),
        cmocka_unit_test(test_table_fits),
        cmocka_unit_test(test_args),
        cmocka_unit_test(test_args_count),
        cmocka_unit_test(test_args_list_limit),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_escape),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
