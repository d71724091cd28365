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
#include "cli/body.h"
#include "cli/field.h"
#include "cli/http.h"
#include "cli/http_reply.h"
#include "cli/plan_options.h"
#include "cli/plot.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/upload.h"
#include "common/tar.h"

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

static void test_args_letters_and_choices(void **state)
{
    static const struct arg_option lettered[] = {
        {"quiet", ARG_FLAG, offsetof(struct settings, flag), NULL, ""},
        {"output", ARG_TEXT, offsetof(struct settings, text), "FILE", ""},
        {"format", ARG_TEXT, offsetof(struct settings, text), "csv|json", ""},
    };
    static const struct arg_command c = {
        .name = "test", .operands = "", .options = lettered, .n_options = ARRAY_LEN(lettered)};
    static const struct {
        char *argv[2];
        int argc, want;
        const char *text;
    } cases[] = {
        {{"-q"}, 1, 0, NULL},
        {{"-o", "x"}, 2, 0, "x"},
        {{"--format", "csv"}, 2, 0, "csv"},
        {{"--format=json"}, 1, 0, "json"},
        {{"--format", "cs"}, 2, ERR_INVALID, NULL},
        {{"--format", "csv|json"}, 2, ERR_INVALID, NULL},
        {{"--format", ""}, 2, ERR_INVALID, NULL},
        {{"-o"}, 1, ERR_INVALID, NULL},
        {{"-qo"}, 1, ERR_INVALID, NULL},
        {{"-x"}, 1, ERR_INVALID, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arg_operands ops = {0};
        struct settings s = {0};
        struct err err = {0};
        char *argv[2] = {cases[i].argv[0], cases[i].argv[1]};
        int used;

        assert_int_equal(args_parse(&c, &s, &none, NULL, cases[i].argc, argv, &ops, &used, &err),
                         cases[i].want);
        if (cases[i].text)
            assert_string_equal(s.text, cases[i].text);
    }
    assert_true(args_is_choice("a|b"));
    assert_false(args_is_choice("ID|NAME") || args_is_choice("x") || args_is_choice(NULL));
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

/* --- table as CSV -------------------------------------------------------------------------- */

static void test_table_csv(void **state)
{
    static const struct table_column two[] = {{.title = "a"}, {.title = "b"}};
    AUTO(table_freep) struct table *t = table_new(two, 2);
    json_auto_t *x = json_real(0.1);
    AUTO(freep) char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    (void)state;
    table_cell(t, COLOUR_RED, "plain");
    table_cell(t, COLOUR_NONE, "with, comma");
    table_cell(t, COLOUR_NONE, "a \"quote\"");
    table_json(t, x);
    table_print_csv(t, out);
    fclose(out);
    assert_string_equal(text, "a,b\nplain,\"with, comma\"\n\"a \"\"quote\"\"\",0.1\n");
}

/* --- servers ------------------------------------------------------------------------------- */

static void test_local_servers(void **state)
{
    static const struct {
        const char *server;
        bool local;
    } cases[] = {{"unix:/run/x.sock", true},
                 {"http://127.0.0.1:8437", true},
                 {"127.8.8.8", true},
                 {"localhost:1", true},
                 {"https://localhost/", true},
                 {"http://[::1]:8437", true},
                 {"http://localhost.evil", false},
                 {"http://10.0.0.1:8437", false},
                 {"spectra.example.org", false},
                 {"http://[::2]:1", false},
                 {"http://x/127.0.0.1", false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(http_client_freep) struct http_client *c = NULL;
        struct err err = {0};

        assert_int_equal(http_client_new(cases[i].server, &c, &err), 0);
        assert_int_equal(http_client_is_local(c), cases[i].local);
    }
}

/* --- replies ------------------------------------------------------------------------------- */

static void header(struct http_reply *r, const char *line)
{
    http_reply_header(r, line, strlen(line));
}

static void test_reply_headers(void **state)
{
    struct http_reply r = HTTP_REPLY_INIT;

    (void)state;
    header(&r, "Link: <http://elsewhere/v1/x>; rel=\"next\"\r\n"); /* only paths of this server */
    header(&r, "Link: </v1/x>; rel=\"prev\"\r\n");
    header(&r, "Link: </v1/x\r\n");
    header(&r, "Linker: </v1/x>; rel=\"next\"\r\n");
    assert_null(r.next);
    header(&r, "link:</v1/x?a=b&page_token=c>; rel=\"next\"\r\n");
    assert_string_equal(r.next, "/v1/x?a=b&page_token=c");
    header(&r, "ETag:  \"v1\" \r\n");
    assert_string_equal(r.etag, "\"v1\"");
    http_reply_done(&r);
}

static int finish_with(long status, const char *body, bool as_bytes, struct http_reply *r,
                       struct err *err)
{
    struct buf b = BUF_INIT;
    int code;

    *r = (struct http_reply)HTTP_REPLY_INIT;
    buf_put(&b, body, strlen(body));
    code = http_reply_finish(r, status, &b, as_bytes, "here", err);
    buf_done(&b);
    return code;
}

static void test_reply_codes(void **state)
{
    static const struct {
        long status;
        int code;
    } refusals[] = {{400, ERR_INVALID},  {403, ERR_FORBIDDEN}, {404, ERR_NOT_FOUND},
                    {409, ERR_CONFLICT}, {412, ERR_CONFLICT},  {413, ERR_FULL},
                    {507, ERR_FULL},     {429, ERR_BUSY},      {503, ERR_BUSY},
                    {500, ERR_INVALID}};
    struct http_reply r;
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        assert_int_equal(finish_with(refusals[i].status, "{\"detail\":\"no\"}", true, &r, &err),
                         refusals[i].code);
        assert_non_null(strstr(err.text, "no (HTTP "));
    }
    assert_int_equal(finish_with(200, "<html>", false, &r, &err), ERR_UNSUPPORTED);
    assert_int_equal(finish_with(301, "", false, &r, &err), ERR_UNSUPPORTED);
    assert_int_equal(finish_with(200, "a,b\n", true, &r, &err), 0);
    assert_int_equal(r.raw.len, 4);
    http_reply_done(&r);
    assert_int_equal(finish_with(200, "{}", false, &r, &err), 0);
    assert_non_null(r.body);
    http_reply_done(&r);
    assert_int_equal(finish_with(304, "", false, &r, &err), 0);
}

/* --- uploads ------------------------------------------------------------------------------- */

static unsigned checksum_of(const uint8_t *block)
{
    unsigned sum = 0;

    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : block[i];
    return sum;
}

static void test_tar_headers(void **state)
{
    struct buf b = BUF_INIT;
    char longest[256];

    (void)state;
    tar_header(&b, "config.json", 1234, 0);
    assert_int_equal(b.len, TAR_BLOCK);
    assert_string_equal((char *)b.data, "config.json");
    assert_string_equal((char *)b.data + 124, "00000002322");
    assert_string_equal((char *)b.data + 257, "ustar");
    assert_int_equal(strtoul((char *)b.data + 148, NULL, 8), checksum_of(b.data));

    buf_reset(&b);
    tar_header(&b, "big", (UINT64_C(1) << 33) - 1, 0); /* the last that fits */
    assert_int_equal(b.len, TAR_BLOCK);
    assert_string_equal((char *)b.data + 124, "77777777777");
    buf_reset(&b);
    tar_header(&b, "bigger", UINT64_C(1) << 33, 0);
    assert_int_equal(b.len, 3 * TAR_BLOCK);
    assert_int_equal(b.data[156], 'x');
    assert_string_equal((char *)b.data + TAR_BLOCK, "19 size=8589934592\n");
    assert_int_equal(b.data[2 * TAR_BLOCK + 156], '0');

    buf_reset(&b);
    memset(longest, 'n', 255);
    longest[255] = 0;
    tar_header(&b, longest, 0, 0);
    assert_int_equal(b.len, 3 * TAR_BLOCK);
    assert_memory_equal(b.data + TAR_BLOCK, "265 path=nnn", 12);
    assert_int_equal(b.data[TAR_BLOCK + 264], '\n');
    buf_done(&b);
    assert_int_equal(tar_padding(0), 0);
    assert_int_equal(tar_padding(1), 511);
    assert_int_equal(tar_padding(512), 0);
}

/* What is put into a body: nothing for what was not given, and no body at all for a wrong number.
 */
static void check_body(const json_t *body, const char *want)
{
    AUTO(freep) char *text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);

    assert_string_equal(text, want);
}

static void test_body(void **state)
{
    const struct arg_list good = {{"a=b", "run=x=y", "e="}, 3}, bad = {{"a=b", "=x"}, 2};
    const struct arg_count nothing = {false, 7}, zero = {true, 0};
    json_auto_t *body = json_object();

    (void)state;
    body_text(body, "text", NULL);
    body_count(body, "count", &nothing);
    assert_true(body_number(body, "o", "number", NULL));
    check_body(body, "{}");
    body_text(body, "text", "");
    body_count(body, "count", &zero);
    assert_true(body_number(body, "o", "number", "-5e-1"));
    check_body(body, "{\"count\":0,\"number\":-0.5,\"text\":\"\"}");
    assert_false(body_number(body, "o", "number", ""));
    assert_false(body_number(body, "o", "number", "1x"));
    assert_false(body_number(body, "o", "number", "nan"));
    assert_false(body_number(body, "o", "number", "1e999"));
    (void)json_object_clear(body);
    assert_true(body_labels(body, &good));
    check_body(body, "{\"labels\":{\"a\":\"b\",\"e\":\"\",\"run\":\"x=y\"}}");
    assert_false(body_labels(body, &bad));
}

static void test_plan_options(void **state)
{
    const struct plan_options nothing = {.method = NULL}, method = {.method = "owl"};
    const struct plan_options all = {.method = "alphapruning",
                                     .metric = "alpha",
                                     .epsilon = "0.25",
                                     .mapping = "mixed",
                                     .low = "0.5",
                                     .exclude = "x",
                                     .m = {true, 8}};
    const struct plan_options wrong = {.high = "much"};
    json_auto_t *body = json_object();

    (void)state;
    assert_false(plan_options_given(&nothing) || plan_options_measure(&nothing));
    assert_false(plan_options_given(&method));
    assert_true(plan_options_measure(&method));
    assert_true(plan_options_given(&all));
    assert_false(plan_options_measure(&all));
    assert_true(plan_options_put(body, &nothing));
    check_body(body, "{}");
    assert_true(plan_options_put(body, &all));
    check_body(body, "{\"epsilon\":0.25,\"exclude\":\"x\",\"limits\":{\"min\":0.5},\"m\":8,"
                     "\"mapping\":\"mixed\",\"method\":\"alphapruning\",\"metric\":\"alpha\"}");
    assert_false(plan_options_put(body, &wrong));
}

static void test_upload_line(void **state)
{
    AUTO(freep) char *half = upload_line(1500000000, 3000000000, 10);
    AUTO(freep) char *start = upload_line(0, 3000, 0);
    AUTO(freep) char *end = upload_line(3000, 3000, 1);
    AUTO(freep) char *none_sent = upload_line(0, 0, 0);

    (void)state;
    assert_string_equal(half,
                        "[############............]  50%, 1.5 GB of 3.0 GB, 150 MB/s, 10 s left");
    assert_non_null(strstr(start, "  0%, 0 B of 3.0 kB, 0 B/s, ? left"));
    assert_non_null(strstr(end, "100%, 3.0 kB sent, waiting"));
    assert_non_null(strstr(none_sent, "100%"));
}

static void test_sizes(void **state)
{
    static const struct {
        double n;
        const char *want;
    } cases[] = {{0, "0 B"},         {999, "999 B"},     {1000, "1.0 kB"},   {9940, "9.9 kB"},
                 {9960, "10 kB"},    {999400, "999 kB"}, {999600, "1.0 MB"}, {5e9, "5.0 GB"},
                 {7.5e12, "7.5 TB"}, {3e18, "3000 PB"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[UPLOAD_SIZE_MAX];

        upload_size(cases[i].n, out);
        assert_string_equal(out, cases[i].want);
    }
}

/* --- plot ---------------------------------------------------------------------------------- */

static char *plotted(const struct plot *p, size_t width, bool utf8)
{
    char *text = NULL;
    size_t len;
    struct term to = {.width = width, .utf8 = utf8};

    to.out = open_memstream(&text, &len);
    plot_draw(p, &to);
    fclose(to.out);
    return text;
}

static void test_plot(void **state)
{
    static const double edges[] = {0.01, 0.1, 1, 10, 100}, counts[] = {900, 90, 9, 1};
    struct plot p = {.bins = 4,
                     .edges = edges,
                     .counts = counts,
                     .total = 1000,
                     .log = true,
                     .fitted = true,
                     .xmin = 0.1,
                     .alpha = 2,
                     .tail = 100};

    (void)state;
    for (size_t width = 40; width < 200; width += 7) {
        AUTO(freep) char *ascii = plotted(&p, width, false);
        AUTO(freep) char *blocks = plotted(&p, width, true);

        assert_true(widest_line(ascii) < width);
        for (const char *s = ascii; *s; s++)
            assert_true((unsigned char)*s < 0x80);
        assert_non_null(strstr(ascii, "xmin 0.1"));
        assert_non_null(strchr(ascii, 'o')); /* the fitted line */
        assert_non_null(strstr(blocks, "\xE2\x96\x88"));
        assert_non_null(strstr(blocks, "\xE2\x96\xB2"));
    }
}

/* Whatever comes, nothing outside the canvas and no infinite loop. */
static void test_plot_edges(void **state)
{
    static const double edges[] = {1, 1.0000001, 2}, none_inside[] = {0, 0}, one[] = {0, 1};
    static const double wide[] = {1e-300, 1, 1e300};
    struct plot plots[] = {
        {.bins = 2, .edges = edges, .counts = none_inside, .total = 1, .log = true},
        {.bins = 2, .edges = edges, .counts = one, .total = 1, .log = true},
        {.bins = 2, .edges = edges, .counts = one, .total = 1},
        {.bins = 2, .edges = wide, .counts = one, .total = 1, .log = true},
        {.bins = 2, .edges = wide, .counts = one, .total = 1},
        {.bins = 2,
         .edges = edges,
         .counts = one,
         .total = 1,
         .log = true,
         .fitted = true,
         .xmin = 1e-9,
         .alpha = 99,
         .tail = 1},
        {.bins = 2,
         .edges = edges,
         .counts = one,
         .total = 1,
         .log = true,
         .fitted = true,
         .xmin = 1e9,
         .alpha = 1,
         .tail = 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plots); i++) {
        AUTO(freep) char *text = plotted(&plots[i], 80, false);

        assert_true(widest_line(text) < 80);
    }
    assert_int_equal(plot_columns(SIZE_MAX), plot_columns(80));
    assert_true(plot_columns(1) >= 10);
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
        cmocka_unit_test(test_args_letters_and_choices),
        cmocka_unit_test(test_args_list_limit),
        cmocka_unit_test(test_table_csv),
        cmocka_unit_test(test_local_servers),
        cmocka_unit_test(test_reply_headers),
        cmocka_unit_test(test_reply_codes),
        cmocka_unit_test(test_tar_headers),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_plan_options),
        cmocka_unit_test(test_upload_line),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_plot),
        cmocka_unit_test(test_plot_edges),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_escape),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
