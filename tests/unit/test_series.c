/* test_series.c: a metric over steps: which analyses, in which order, and their values. */
#include "store_fixture.h"

#include "daemon/row_text.h"
#include "api/series.h"
#include "api/table.h"
#include "common/json_text.h"

#include <jansson.h>

/* --- one number of a row --------------------------------------------------------------------- */

static char *number_in(const char *row, const char *name)
{
    AUTO(buf_done) struct buf needle = BUF_INIT;
    const char *at;
    size_t n = 0;

    row_text_needle(name, NULL, &needle);
    at = row_text_number(row, strlen(row), &needle, &n);
    return at ? xasprintf("%.*s", (int)n, at) : NULL;
}

/* Whatever a name holds, it is not taken for a member. */
static void test_hostile_names(void **state)
{
    static const char *const names[] = {"\",\"alpha\":7",
                                        ",\"alpha\":7,",
                                        "\\\",\"alpha\":7",
                                        "x,",
                                        ",\"alpha",
                                        "alpha\":",
                                        "\\",
                                        "\\\\\",\"alpha\":7",
                                        "\x01,\"alpha\":7",
                                        "\xc3\xa9,\"alpha\":7",
                                        "{\"a\":1,\"alpha\":7}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO(buf_done) struct buf b = BUF_INIT;
        AUTO(freep) char *got = NULL;

        buf_printf(&b, "{\"layer_id\":0");
        json_text_key_string(&b, "longname", names[i]);
        buf_printf(&b, ",\"notes\":[\"a\",\"alpha\"],\"alpha_weighted\":3,\"alpha\":-2.5e-3");
        json_text_key_string(&b, "tensor", names[i]);
        buf_printf(&b, "}");
        buf_put_u8(&b, '\0');
        got = number_in((const char *)b.data, "alpha");
        assert_string_equal(got, "-2.5e-3");
    }
    assert_null(number_in("{\"a\":1,\"alpha\":null,\"b\":2}", "alpha"));
    assert_null(number_in("{\"a\":1}", "alpha"));
    assert_null(number_in("", "alpha"));
}

static void test_holds(void **state)
{
    static const char row[] = "{\"name\":\",\\\"role\\\":\\\"k\\\"\",\"role\":\"q\",\"x\":1}";
    AUTO(buf_done) struct buf q = BUF_INIT, k = BUF_INIT, prefix = BUF_INIT;

    (void)state;
    row_text_needle("role", "q", &q);
    row_text_needle("role", "k", &k);
    row_text_needle("role", "", &prefix);
    assert_true(row_text_holds(row, sizeof row - 1, &q));
    assert_false(row_text_holds(row, sizeof row - 1, &k));
    assert_false(row_text_holds(row, sizeof row - 1, &prefix));
}

static void test_metrics(void **state)
{
    const char *name = "kept";

    (void)state;
    assert_true(series_metric("alpha", &name) && strcmp(name, "alpha") == 0);
    assert_true(series_metric("sigma_mp", &name) && strcmp(name, "sigma_mp") == 0);
    assert_true(series_metric("error_bound", &name));
    assert_false(series_metric("phase", &name)); /* a word */
    assert_false(series_metric("longname", &name));
    assert_false(series_metric("", &name));
    assert_false(series_metric("alpha\":1,\"x", &name));
    assert_string_equal(name, "error_bound");
}

/* --- a store with runs ----------------------------------------------------------------------- */

static unsigned n_analyses;

/* An analysis whose layers are `n` times "<prefix><i>" with alpha = first + i. */
static void put(struct store *s, const char *labels, const char *prefix, unsigned n, double first)
{
    struct analysis_record a = {.owner = (char *)(uintptr_t) "local",
                                .labels = (char *)(uintptr_t)labels,
                                .params = (char *)(uintptr_t) "{}",
                                .summary = (char *)(uintptr_t) "{}",
                                .n_layers = n,
                                .created_ms = 1000 + n_analyses};
    struct layer_row *row = xcalloc(n + 1, sizeof *row);

    snprintf(a.id, sizeof a.id, "ana_%04u", n_analyses);
    snprintf(a.job, sizeof a.job, "job_%04u", n_analyses);
    memcpy(a.rows.b, &n_analyses, sizeof n_analyses);
    n_analyses++;
    for (unsigned i = 0; i < n; i++) {
        row[i].layer_id = i;
        row[i].longname = xasprintf("%s%u", prefix, i);
        row[i].json =
            xasprintf("{\"layer_id\":%u,\"longname\":\"%s%u\",\"role\":\"%s\",\"alpha\":%g,"
                      "\"D\":null}",
                      i, prefix, i, i % 2 ? "k" : "q", first + i);
    }
    assert_int_equal(store_rows_put(s, &a.rows, row, n, NULL), 0);
    assert_int_equal(store_analysis_put(s, &a, NULL), 0);
    for (unsigned i = 0; i < n; i++)
        layer_row_done(&row[i]);
    free(row);
}

struct wish {
    const char *value, *metric, *layer, *role;
    size_t page_size;
    bool csv;
    struct page_cursor from;
};

/* The text of a series; `etag` may be NULL. */
static char *make(struct store *st, struct wish w, char *etag, struct err *err)
{
    struct series_ask a = {.any_value = !w.value,
                           .metric = w.metric ? w.metric : "alpha",
                           .role = w.role,
                           .layer = w.layer ? xstrdup(w.layer) : NULL,
                           .url = xstrdup("/v1/series"),
                           .form = &table_forms[w.csv]};
    struct immutable_text text = {.body = BUF_INIT};
    struct series *s;
    int r;

    strcpy(a.label, "run");
    strcpy(a.step_label, "step");
    snprintf(a.value, sizeof a.value, "%s", w.value ? w.value : "");
    a.page.size = w.page_size ? w.page_size : 1000;
    a.page.from = w.from;
    s = series_new(&a);
    while ((r = series_list_some(s, st, err)) == 1)
        ;
    if (r == 0) {
        series_order(s);
        if (etag)
            series_etag(s, etag);
        while ((r = series_read_some(s, st, err)) == 1)
            ;
    }
    if (r == 0)
        series_write(s, &text);
    series_free(s);
    free(text.link);
    buf_put_u8(&text.body, '\0');
    if (r < 0)
        buf_done(&text.body);
    return (char *)text.body.data;
}

static json_t *make_json(struct store *s, struct wish w)
{
    struct err err = {0};
    AUTO(freep) char *text = make(s, w, NULL, &err);
    json_t *j = text ? json_loads(text, 0, NULL) : NULL;

    if (!j)
        fail_msg("no series: %s %.200s", err.text, text ? text : "");
    return j;
}

static char *order_of(struct store *s, struct wish w)
{
    json_t *j = make_json(s, w), *run, *step;
    struct buf b = BUF_INIT;
    size_t r, i;

    json_array_foreach(json_object_get(j, "series"), r, run)
    {
        buf_printf(&b, "%s%s:", r ? "; " : "", json_string_value(json_object_get(run, "value")));
        json_array_foreach(json_object_get(run, "steps"), i, step)
        {
            const char *text = json_string_value(json_object_get(step, "step"));

            buf_printf(&b, " %s=%s", text ? text : "-",
                       json_string_value(json_object_get(step, "analysis")) + 7);
        }
    }
    buf_put_u8(&b, '\0');
    json_decref(j);
    return (char *)b.data;
}

#define RUN(r, s) "{\"run\":\"" r "\",\"step\":\"" s "\"}"

static void put_runs(struct store *s)
{
    n_analyses = 0;
    put(s, RUN("b", "2"), "l", 2, 1);                 /* 0 */
    put(s, RUN("a", "10"), "l", 3, 2);                /* 1 */
    put(s, RUN("a", "9"), "l", 2, 3);                 /* 2 */
    put(s, "{\"run\":\"a\"}", "l", 1, 4);             /* 3 */
    put(s, RUN("a", "1e1"), "l", 2, 5);               /* 4: the same step as 1 */
    put(s, RUN("t", "10"), "l", 1, 1);                /* 5 */
    put(s, RUN("t", "9"), "l", 1, 1);                 /* 6 */
    put(s, RUN("t", "last"), "l", 1, 1);              /* 7: makes the run's steps text */
    put(s, "{\"run\":\"a\",\"x\":\"1\"}", "m", 1, 6); /* 8 */
    put(s, RUN("a", "-3.5"), "l", 0, 0);              /* 9 */
    put(s, RUN("t", "9"), "l", 1, 1);                 /* a newer one: 10 */
    put(s, "{\"step\":\"1\"}", "l", 1, 0);            /* of no run */
}

static void test_order(void **state)
{
    struct store *s = open_store(0);
    AUTO(freep) char *all = NULL, *one = NULL, *none = NULL;

    (void)state;
    none = order_of(s, (struct wish){0});
    assert_string_equal(none, "");
    put_runs(s);
    all = order_of(s, (struct wish){0});
    assert_string_equal(all, "a: -3.5=9 9=2 1e1=4 -=3 -=8; b: 2=0; t: 10=5 9=0 last=7");
    one = order_of(s, (struct wish){.value = "t"});
    assert_string_equal(one, "t: 10=5 9=0 last=7");
    store_close(s);
}

static void test_values(void **state)
{
    struct store *s = open_store(0);
    struct wish w = {.value = "a"};
    AUTO(freep) char *text = NULL, *layer = NULL, *role = NULL, *null = NULL;
    static const char head[] = "{\"metric\":\"alpha\",\"label\":\"run\",\"step_label\":\"step\","
                               "\"series\":[{\"value\":\"a\",\"steps\":[";

    (void)state;
    put_runs(s);
    text = make(s, w, NULL, NULL);
    assert_memory_equal(text, head, sizeof head - 1);
    assert_non_null(strstr(text, "],\"layers\":[{\"longname\":\"l0\",\"values\":[null,3,5,4,null]},"
                                 "{\"longname\":\"l1\",\"values\":[null,4,6,null,null]},"
                                 "{\"longname\":\"m0\",\"values\":[null,null,null,null,6]}],"
                                 "\"mean\":[null,3.5,5.5,4,6]}],\"next_page_token\":\"\"}"));
    w.layer = "l1";
    layer = make(s, w, NULL, NULL);
    assert_non_null(strstr(layer,
                           "\"layers\":[{\"longname\":\"l1\",\"values\":[null,4,6,null,null]}"
                           "],\"mean\":[null,4,6,null,null]"));
    w.layer = NULL;
    w.role = "q";
    role = make(s, w, NULL, NULL);
    assert_null(strstr(role, "\"l1\""));
    w.metric = "D";
    null = make(s, w, NULL, NULL);
    assert_non_null(strstr(null, "\"layers\":[],\"mean\":[null,null,null,null,null]"));
    store_close(s);
}

static void test_csv(void **state)
{
    struct store *s = open_store(0);
    AUTO(freep) char *text = NULL;

    (void)state;
    n_analyses = 0;
    put(s, RUN("x,\\\"y\\\"", "1"), "l", 2, 1.5);
    put(s, "{\"run\":\"z\"}", "l", 1, 1);
    text = make(s, (struct wish){.csv = true}, NULL, NULL);
    assert_string_equal(text, "value,step,analysis,longname,alpha\r\n"
                              "\"x,\"\"y\"\"\",1,ana_0000,l0,1.5\r\n"
                              "\"x,\"\"y\"\"\",1,ana_0000,l1,2.5\r\n"
                              "z,,ana_0001,l0,1\r\n");
    store_close(s);
}

/* Every page size shows the same steps; a run goes on in the next page. */
static void test_pages(void **state)
{
    struct store *s = open_store(0);
    static const char *const all[] = {"9", "2", "4", "3", "8", "0", "5", "0", "7"};

    (void)state;
    put_runs(s);
    for (size_t size = 1; size < 12; size++)
        for (size_t at = 0; at < ARRAY_LEN(all); at += size) {
            struct wish w = {.page_size = size, .from = {.first = at}};
            AUTO(freep) char *got = order_of(s, w);
            size_t left = ARRAY_LEN(all) - at, n = 0;

            for (const char *p = got; (p = strchr(p, '=')); p++, n++)
                assert_int_equal(p[1], *all[at + n]);
            assert_int_equal(n, left < size ? left : size);
        }
    { /* the token's analysis counts, not its place; its place, when it is gone */
        struct wish w = {.page_size = 2, .from = {.first = 1, .before_id = "ana_0000"}};
        AUTO(freep) char *by_id = order_of(s, w), *by_place = NULL;

        assert_string_equal(by_id, "b: 2=0; t: 10=5");
        strcpy(w.from.before_id, "ana_0001"); /* replaced by 4 */
        by_place = order_of(s, w);
        assert_string_equal(by_place, "a: 9=2 1e1=4");
    }
    store_close(s);
}

static void test_etag(void **state)
{
    struct store *s = open_store(0);
    char tag[5][DOC_ETAG_MAX];
    struct analysis_record a;

    (void)state;
    put_runs(s);
    free(make(s, (struct wish){0}, tag[0], NULL));
    free(make(s, (struct wish){0}, tag[1], NULL));
    assert_string_equal(tag[0], tag[1]);
    free(make(s, (struct wish){.csv = true}, tag[1], NULL));
    assert_string_not_equal(tag[0], tag[1]);
    assert_int_equal(store_analysis_label(s, "ana_0003", RUN("a", "4"), &a, NULL), 0);
    analysis_record_done(&a);
    free(make(s, (struct wish){0}, tag[2], NULL));
    assert_string_not_equal(tag[0], tag[2]);
    put(s, RUN("new", "1"), "l", 1, 1);
    free(make(s, (struct wish){0}, tag[3], NULL));
    assert_string_not_equal(tag[2], tag[3]);
    free(make(s, (struct wish){.page_size = 2}, tag[4], NULL));
    put(s, RUN("z", "1"), "l", 1, 1); /* on another page */
    free(make(s, (struct wish){.page_size = 2}, tag[3], NULL));
    assert_string_equal(tag[3], tag[4]);
    store_close(s);
}

/* --- limits ---------------------------------------------------------------------------------- */

static size_t count_steps(struct store *s, size_t at, bool *more)
{
    json_t *j = make_json(s, (struct wish){.from = {.first = at}}), *run;
    size_t r, n = 0;

    json_array_foreach(json_object_get(j, "series"), r, run)
    {
        size_t steps = json_array_size(json_object_get(run, "steps")), l;
        json_t *layer;

        assert_true(steps > 0);
        json_array_foreach(json_object_get(run, "layers"), l, layer)
            assert_int_equal(json_array_size(json_object_get(layer, "values")), steps);
        assert_int_equal(json_array_size(json_object_get(run, "mean")), steps);
        n += steps;
    }
    *more = *json_string_value(json_object_get(j, "next_page_token"));
    json_decref(j);
    return n;
}

static void test_too_many_layers(void **state)
{
    struct store *s = open_store(0);
    struct err err = {0};
    bool more;

    (void)state;
    n_analyses = 0;
    assert_int_equal(store_begin(s, NULL), 0);
    put(s, RUN("a", "1"), "x", 6000, 1);
    put(s, RUN("a", "2"), "x", 6000, 1); /* the same layers: fits */
    put(s, RUN("a", "3"), "y", 6000, 1); /* others: the page ends before it */
    put(s, RUN("b", "1"), "x", 6000, 1); /* another run: as well */
    put(s, RUN("c", "1"), "x", SERIES_LAYERS_MAX + 1, 1);
    assert_int_equal(store_commit(s, NULL), 0);
    assert_int_equal(count_steps(s, 0, &more), 2);
    assert_true(more);
    assert_int_equal(count_steps(s, 2, &more), 1);
    assert_int_equal(count_steps(s, 3, &more), 1);
    assert_true(more);
    assert_null(make(s, (struct wish){.from = {.first = 4}}, NULL, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    store_close(s);
}

static void test_too_many_values(void **state)
{
    struct store *s = open_store(0);
    size_t at = 0, n, pages = 0;
    bool more = true;

    (void)state;
    n_analyses = 0;
    assert_int_equal(store_begin(s, NULL), 0);
    put(s, RUN("a", "0"), "x", 9000, 1);
    for (int i = 1; i < 250; i++) {
        char labels[64];

        snprintf(labels, sizeof labels, "{\"run\":\"a\",\"step\":\"%d\"}", i);
        put(s, labels, "x", 1, 1);
    }
    assert_int_equal(store_commit(s, NULL), 0);
    for (; more; at += n, pages++) {
        n = count_steps(s, at, &more);
        assert_true(n > 0 && (pages > 0 || n == SERIES_VALUES_MAX / 9000));
    }
    assert_int_equal(at, 250);
    assert_int_equal(pages, 2);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_metrics),
        STORE_TEST(test_order),
        STORE_TEST(test_values),
        STORE_TEST(test_csv),
        STORE_TEST(test_pages),
        STORE_TEST(test_etag),
        STORE_TEST(test_too_many_layers),
        STORE_TEST(test_too_many_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
