/* test_api_lists.c: lists, pages and single resources, from a real store. */
#include "api_fake.h"

#define ROWS 25

static void commit(struct server *sv, int r, struct err *err)
{
    if (r == 0)
        r = store_commit(sv->svc.store, err);
    if (r < 0)
        fail_msg("store: %s", err->text);
}

/* Ids count up, so that a test can name them. */
static void number_id(char out[IDENT_MAX], const char *prefix, unsigned n)
{
    snprintf(out, IDENT_MAX, "%s%026u", prefix, n);
}

/* 120 jobs; four in a millisecond, so that pages break inside one. */
static void order_jobs(struct server *sv, void *arg)
{
    struct err err;
    int r = store_begin(sv->svc.store, &err);

    (void)arg;
    for (unsigned i = 0; r == 0 && i < 120; i++) {
        char labels[64];
        struct job_record j = {.kind = (char *)(uintptr_t) "analyze",
                               .owner = (char *)(uintptr_t) "local",
                               .source = (char *)(uintptr_t) "{\"path\":\"m\"}",
                               .params = (char *)(uintptr_t) "{\"min_evals\":10}",
                               .labels = labels,
                               .created_ms = 1700000000000 + i / 4};

        snprintf(labels, sizeof labels, "{\"run\":\"a:b&c\",\"step\":\"%u\"}", i % 3);
        number_id(j.id, "job_", i);
        r = store_job_submit(sv->svc.store, &j, &err);
    }
    commit(sv, r, &err);
}

static void put_rows(struct store *st, const struct digest *key, int *r, struct err *err)
{
    struct layer_row row[ROWS];

    for (size_t i = 0; i < ROWS; i++)
        row[i] = (struct layer_row){
            .layer_id = i,
            .longname = xasprintf("layer.%zu", i),
            .json = xasprintf("{\"layer_id\":%zu,\"longname\":\"layer.%zu\"}", i, i)};
    if (*r == 0)
        *r = store_rows_put(st, key, row, ROWS, err);
    for (size_t i = 0; i < ROWS; i++) {
        free(row[i].longname);
        free(row[i].json);
    }
}

/* Analysis 1 has rows, analysis 2 lost them. */
static void order_analyses(struct server *sv, void *arg)
{
    struct err err;
    struct model_record m = {.format = (char *)(uintptr_t) "safetensors",
                             .model_type = (char *)(uintptr_t) "",
                             .name = (char *)(uintptr_t) "caf\xe9.safetensors",
                             .n_tensors = 3,
                             .n_params = 4,
                             .nbytes = 5,
                             .first_seen_ms = 1700000000000,
                             .last_seen_ms = 1700000000001};
    int r = store_begin(sv->svc.store, &err);

    (void)arg;
    number_id(m.id, "mdl_", 1);
    if (r == 0)
        r = store_model_put(sv->svc.store, &m, &err);
    for (unsigned i = 1; r == 0 && i <= 2; i++) {
        struct analysis_record a = {.owner = (char *)(uintptr_t) "local",
                                    .labels = (char *)(uintptr_t) "{\"run\":\"x\"}",
                                    .params = (char *)(uintptr_t) "{}",
                                    .summary = (char *)(uintptr_t) "{\"alpha\":2.5}",
                                    .rows = {{(uint8_t)i}},
                                    .n_layers = ROWS,
                                    .created_ms = 1700000000000 + i};

        number_id(a.id, "ana_", i);
        number_id(a.job, "job_", i);
        number_id(a.model, "mdl_", 1);
        r = store_analysis_put(sv->svc.store, &a, &err);
        if (i == 1)
            put_rows(sv->svc.store, &a.rows, &r, &err);
    }
    commit(sv, r, &err);
}

/* Follow a list to its end, by token or by Link; the number of entries, all different and in
 * falling order of id. */
static size_t follow(struct server *sv, const char *path, const char *member, bool by_link)
{
    char url[1024], last[64] = "zzzz";
    size_t n = 0;

    snprintf(url, sizeof url, "%s", path);
    for (int pages = 0; *url; pages++) {
        struct got g = get(sv, url, "");
        json_t *list = parse(&g), *item;
        const char *token = text_of(list, "next_page_token");
        const char *link = header(&g, "Link");
        size_t i;

        assert_int_equal(g.status, 200);
        assert_true(pages < 200);
        json_array_foreach(json_object_get(list, member), i, item)
        {
            assert_true(strcmp(text_of(item, "id"), last) < 0);
            snprintf(last, sizeof last, "%s", text_of(item, "id"));
            n++;
        }
        assert_int_equal(*token != '\0', *link != '\0');
        if (*token && by_link)
            assert_int_equal(sscanf(link, "<%1000[^>]>; rel=\"next\"", url), 1);
        else if (*token)
            snprintf(url, sizeof url, "%s%cpage_token=%s", path, strchr(path, '?') ? '&' : '?',
                     token);
        else
            url[0] = '\0';
        json_decref(list);
        got_done(&g);
    }
    return n;
}

static void test_pages(void **state)
{
    struct server *sv = *state;

    assert_int_equal(follow(sv, "/v1/jobs", "jobs", false), 0);
    on_loop(sv, order_jobs, NULL);
    for (int by_link = 0; by_link < 2; by_link++) {
        assert_int_equal(follow(sv, "/v1/jobs", "jobs", by_link), 120);
        assert_int_equal(follow(sv, "/v1/jobs?page_size=1", "jobs", by_link), 120);
        assert_int_equal(follow(sv, "/v1/jobs?page_size=7", "jobs", by_link), 120);
        assert_int_equal(follow(sv, "/v1/jobs?page_size=120", "jobs", by_link), 120);
        assert_int_equal(follow(sv, "/v1/jobs?page_size=9999", "jobs", by_link), 120);
        assert_int_equal(follow(sv, "/v1/jobs?label=step:2&page_size=9", "jobs", by_link), 40);
        assert_int_equal(
            follow(sv, "/v1/jobs?label=run%3Aa%3Ab%26c&state=queued&kind=analyze", "jobs", by_link),
            120);
    }
    assert_int_equal(follow(sv, "/v1/jobs?label=step:9", "jobs", false), 0);
    assert_int_equal(
        follow(sv, "/v1/jobs?label=step&label=run:a%3Ab%26c&page_size=9", "jobs", false), 120);
    assert_int_equal(follow(sv, "/v1/jobs?state=failed", "jobs", false), 0);
    assert_int_equal(follow(sv, "/v1/jobs?kind=prune", "jobs", false), 0);
}

static void test_bad_filters(void **state)
{
    struct server *sv = *state;
    struct got g = get(sv, "/v1/jobs?state=paused", "");

    assert_problem(&g, 400, "invalid", "?state");
    g = get(sv, "/v1/jobs?label=:run", "");
    assert_problem(&g, 400, "invalid", "?label");
    g = get(sv, "/v1/jobs?page_size=many", "");
    assert_problem(&g, 400, "invalid", "?page_size");
    g = get(sv, "/v1/jobs?page_token=AAAA", "");
    assert_problem(&g, 400, "invalid", "?page_token");
    g = get(sv, "/v1/jobs?model=x", "");
    assert_problem(&g, 400, "invalid", "?model");
    g = get(sv, "/v1/models?label=a:b", "");
    assert_problem(&g, 400, "invalid", "?label");
    g = get(sv, "/v1/jobs?kind=a&kind=b", "");
    assert_problem(&g, 400, "invalid", "?kind");
}

/* A token is good for its own list and filters only; the page size may change. */
static void test_tokens_are_bound(void **state)
{
    struct server *sv = *state;
    char token[200], url[400];
    struct got g;
    json_t *list;

    on_loop(sv, order_jobs, NULL);
    g = get(sv, "/v1/jobs?state=queued&page_size=3", "");
    list = parse(&g);
    snprintf(token, sizeof token, "%s", text_of(list, "next_page_token"));
    json_decref(list);
    got_done(&g);
    snprintf(url, sizeof url, "/v1/jobs?state=queued&page_size=5&page_token=%s", token);
    g = get(sv, url, "");
    assert_int_equal(g.status, 200);
    got_done(&g);
    snprintf(url, sizeof url, "/v1/jobs?page_token=%s", token);
    g = get(sv, url, "");
    assert_problem(&g, 400, "invalid", "?page_token");
    snprintf(url, sizeof url, "/v1/analyses?page_token=%s", token);
    g = get(sv, url, "");
    assert_problem(&g, 400, "invalid", "?page_token");
}

static void test_analysis(void **state)
{
    struct server *sv = *state;
    struct got g;
    json_t *a;

    on_loop(sv, order_analyses, NULL);
    g = get(sv, "/v1/analyses/ana_00000000000000000000000001", "");
    a = parse(&g);
    assert_int_equal(g.status, 200);
    assert_string_equal(text_of(a, "model"), "mdl_00000000000000000000000001");
    assert_true(json_real_value(json_object_get(json_object_get(a, "summary"), "alpha")) == 2.5);
    assert_int_equal(json_integer_value(json_object_get(a, "layers_total")), ROWS);
    json_decref(a);
    got_done(&g);
    assert_int_equal(follow(sv, "/v1/analyses?page_size=1", "analyses", true), 2);
    assert_int_equal(follow(sv, "/v1/analyses?model=mdl_00000000000000000000000001&label=run:x",
                            "analyses", true),
                     2);
    assert_int_equal(
        follow(sv, "/v1/analyses?model=mdl_00000000000000000000000002", "analyses", true), 0);
    g = get(sv, "/v1/analyses/ana_00000000000000000000000009", "");
    assert_problem(&g, 404, "not_found", "");
    g = get(sv, "/v1/analyses/x", "");
    assert_problem(&g, 404, "not_found", "");
}

static void test_layers(void **state)
{
    struct server *sv = *state;
    char url[400] = "/v1/analyses/ana_00000000000000000000000001/layers?page_size=10";
    json_int_t next = 0;

    on_loop(sv, order_analyses, NULL);
    for (int page = 0; page < 3; page++) {
        struct got g = get(sv, url, "");
        json_t *list = parse(&g), *row;
        size_t i;

        assert_int_equal(g.status, 200);
        json_array_foreach(json_object_get(list, "layers"), i, row)
            assert_int_equal(json_integer_value(json_object_get(row, "layer_id")), next++);
        assert_int_equal(*text_of(list, "next_page_token") != '\0', page < 2);
        snprintf(url, sizeof url,
                 "/v1/analyses/ana_00000000000000000000000001/layers?page_size=10&page_token=%s",
                 text_of(list, "next_page_token"));
        json_decref(list);
        got_done(&g);
    }
    assert_int_equal(next, ROWS);
}

static void test_lost_layers(void **state)
{
    struct server *sv = *state;
    struct got g;

    on_loop(sv, order_analyses, NULL);
    g = get(sv, "/v1/analyses/ana_00000000000000000000000002/layers", "");
    assert_problem(&g, 410, "gone", "");
    g = get(sv, "/v1/analyses/ana_00000000000000000000000009/layers", "");
    assert_problem(&g, 404, "not_found", "");
    g = get(sv, "/v1/analyses/ana_00000000000000000000000001/layers?format=xml", "");
    assert_problem(&g, 400, "invalid", "?format");
}

#define MANY 25000

static void order_many_rows(struct server *sv, void *arg)
{
    const struct digest key = {{2}}; /* of analysis 2 */
    struct layer_row *row = xcalloc(MANY, sizeof *row);
    struct err err;
    int r;

    (void)arg;
    for (size_t i = 0; i < MANY; i++)
        row[i] = (struct layer_row){
            .layer_id = i,
            .longname = xasprintf("layer.%zu", i),
            .json = xasprintf("{\"layer_id\":%zu,\"longname\":\"layer.%zu\"}", i, i)};
    r = store_begin(sv->svc.store, &err);
    if (r == 0)
        r = store_rows_put(sv->svc.store, &key, row, MANY, &err);
    commit(sv, r, &err);
    for (size_t i = 0; i < MANY; i++)
        layer_row_done(&row[i]);
    free(row);
}

/* A filter that matches little: no call reads through all rows, the tokens lead to the match. */
static void test_filters_look_at_so_many_rows(void **state)
{
    static const char path[] = "/v1/analyses/ana_00000000000000000000000002/layers?name=r.24999";
    struct server *sv = *state;
    char url[400];
    size_t pages = 0, found = 0;

    on_loop(sv, order_analyses, NULL);
    on_loop(sv, order_many_rows, NULL);
    snprintf(url, sizeof url, "%s", path);
    while (*url) {
        struct got g = get(sv, url, "");
        json_t *list = parse(&g);
        const char *token = text_of(list, "next_page_token");

        assert_int_equal(g.status, 200);
        found += json_array_size(json_object_get(list, "layers"));
        assert_int_equal(found, *token == '\0');
        snprintf(url, sizeof url, "%s%s%s", *token ? path : "", *token ? "&page_token=" : "",
                 token);
        pages++;
        json_decref(list);
        got_done(&g);
    }
    assert_int_equal(pages, 3);
}

static void order_hold(struct server *sv, void *arg)
{
    (void)arg;
    sv->svc.hold = true;
}

static void order_stop(struct server *sv, void *arg)
{
    (void)arg;
    api_stop(TAKE(sv->api));
}

static void order_pending(struct server *sv, void *arg)
{
    *(size_t *)arg = sv->svc.n_pending;
}

/* The rows come when the server is gone: the client had its answer, nothing leaks. */
static void test_stop_while_layers_are_read(void **state)
{
    struct server *sv = *state;
    size_t pending = 0;
    struct got g;
    int fd;

    on_loop(sv, order_analyses, NULL);
    on_loop(sv, order_hold, NULL);
    fd = dial(sv);
    say(fd, "GET /v1/analyses/ana_00000000000000000000000001/layers HTTP/1.1\r\n"
            "Host: localhost\r\n\r\n");
    while (pending < 1)
        on_loop(sv, order_pending, &pending);
    on_loop(sv, order_stop, NULL);
    g = hear(fd);
    assert_problem(&g, 503, "busy", "");
    close(fd);
}

/* Many ask at once for what is in memory for none of them: all get the same. */
static void test_layers_asked_for_at_once(void **state)
{
    struct server *sv = *state;
    char etag[128] = "";
    int fd[20];

    on_loop(sv, order_analyses, NULL);
    for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
        fd[i] = dial(sv);
        say(fd[i], "GET /v1/analyses/ana_00000000000000000000000001/layers HTTP/1.1\r\n"
                   "Host: localhost\r\n\r\n");
    }
    for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
        struct got g = hear(fd[i]);

        assert_int_equal(g.status, 200);
        if (i > 0)
            assert_string_equal(header(&g, "ETag"), etag);
        snprintf(etag, sizeof etag, "%s", header(&g, "ETag"));
        got_done(&g);
        close(fd[i]);
    }
}

/* A file name need not be UTF-8; JSON must. */
static void test_model(void **state)
{
    struct server *sv = *state;
    struct got g;
    json_t *m;

    on_loop(sv, order_analyses, NULL);
    g = get(sv, "/v1/models/mdl_00000000000000000000000001", "");
    m = parse(&g);
    assert_int_equal(g.status, 200);
    assert_string_equal(text_of(m, "name"), "caf\xEF\xBF\xBD.safetensors");
    assert_true(json_is_null(json_object_get(m, "model_type")));
    assert_int_equal(json_integer_value(json_object_get(m, "bytes")), 5);
    json_decref(m);
    got_done(&g);
    assert_int_equal(follow(sv, "/v1/models", "models", false), 1);
    g = get(sv, "/v1/models/mdl_00000000000000000000000002", "");
    assert_problem(&g, 404, "not_found", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(test_pages),
        SERVER_TEST(test_bad_filters),
        SERVER_TEST(test_tokens_are_bound),
        SERVER_TEST(test_analysis),
        SERVER_TEST(test_layers),
        SERVER_TEST(test_lost_layers),
        SERVER_TEST(test_filters_look_at_so_many_rows),
        SERVER_TEST(test_stop_while_layers_are_read),
        SERVER_TEST(test_layers_asked_for_at_once),
        SERVER_TEST(test_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
