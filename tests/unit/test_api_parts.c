/* test_api_parts.c: the pieces of the HTTP side that need no server. */
#include "api/body.h"
#include "daemon/labels.h"
#include "api/host.h"
#include "common/json_out.h"
#include "api/page.h"
#include "api/path.h"
#include "api/prefer.h"
#include "api/problem.h"
#include "api/query.h"
#include "api/route.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <math.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* --- paths ----------------------------------------------------------------------------------- */

static void test_path(void **state)
{
    struct path p;

    (void)state;
    assert_int_equal(path_parse("/v1/a%2Fb/x%20y:cancel?q=%31", &p, NULL), 0);
    assert_int_equal(p.count, 3);
    assert_string_equal(p.segment[1], "a/b");
    assert_string_equal(p.segment[2], "x y");
    assert_string_equal(p.verb, "cancel");
    assert_string_equal(p.query, "q=%31");
    path_done(&p);
    assert_int_equal(path_parse("/a:b/c%3Ad", &p, NULL), 0); /* only the last segment has a verb */
    assert_string_equal(p.segment[0], "a:b");
    assert_string_equal(p.segment[1], "c:d");
    assert_null(p.verb);
    path_done(&p);
    assert_int_equal(path_parse("HTTP://host:1/x?", &p, NULL), 0);
    assert_string_equal(p.segment[0], "x");
    path_done(&p);
}

static void test_bad_paths(void **state)
{
    static const char *const invalid[] = {"/%", "/%1", "/%zz", "/%00", "/a/%0", "/a:%00", "/%%"};
    static const char *const unknown[] = {"",  "*",           "x",
                                          "?", "http://host", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q"};
    struct path p;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(invalid); i++)
        assert_int_equal(path_parse(invalid[i], &p, NULL), ERR_INVALID);
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        assert_int_equal(path_parse(unknown[i], &p, NULL), ERR_NOT_FOUND);
}

/* --- routes ---------------------------------------------------------------------------------- */

static const struct route routes[] = {
    {"list", "GET", "/a", NULL, BODY_NONE, ACCESS_CALLER},
    {"make", "POST", "/a", NULL, BODY_JSON, ACCESS_CALLER},
    {"get", "GET", "/a/{x}", NULL, BODY_NONE, ACCESS_CALLER},
    {"stop", "POST", "/a/{x}:stop", NULL, BODY_NONE, ACCESS_CALLER},
    {"part", "GET", "/a/{x}/b/{y}", NULL, BODY_NONE, ACCESS_CALLER},
    {"all", "POST", "/a:all", NULL, BODY_NONE, ACCESS_CALLER},
};

static struct route_match find(const char *method, const char *target, struct path *p)
{
    struct route_match m;

    assert_int_equal(path_parse(target, p, NULL), 0);
    route_find(routes, ARRAY_LEN(routes), method, p, &m);
    return m;
}

static void assert_route(const char *method, const char *target, const char *operation)
{
    struct path p;
    struct route_match m = find(method, target, &p);

    assert_non_null(m.route);
    assert_string_equal(m.route->operation, operation);
    path_done(&p);
}

static void assert_no_route(const char *method, const char *target, const char *allow)
{
    struct path p;
    struct route_match m = find(method, target, &p);

    assert_null(m.route);
    assert_string_equal(m.allow, allow);
    path_done(&p);
}

static void test_routes(void **state)
{
    struct path p;
    struct route_match m;

    (void)state;
    assert_route("GET", "/a", "list");
    assert_route("HEAD", "/a", "list");
    assert_route("POST", "/a", "make");
    assert_route("POST", "/a:all", "all");
    assert_route("POST", "/a/7:stop", "stop");
    assert_route("GET", "/%61/7", "get");
    m = find("GET", "/a/x%2Fy/b/z%3Aw", &p);
    assert_string_equal(m.route->operation, "part");
    assert_int_equal(m.n_args, 2);
    assert_string_equal(m.arg[0], "x/y");
    assert_string_equal(m.arg[1], "z:w");
    path_done(&p);
}

static void test_no_routes(void **state)
{
    (void)state;
    assert_no_route("DELETE", "/a", "GET, HEAD, POST");
    assert_no_route("GET", "/a/7:stop", "POST");
    assert_no_route("POST", "/a/7:stopp", "");
    assert_no_route("POST", "/a/7:sto", "");
    assert_no_route("POST", "/a/7%3Astop", "GET, HEAD");
    assert_no_route("GET", "/a/", "");
    assert_no_route("GET", "/a/7/", "");
    assert_no_route("GET", "/a/7/b", "");
    assert_no_route("GET", "/a//b/1", "");
    assert_no_route("GET", "/b", "");
    assert_no_route("GET", "/", "");
    assert_no_route("get", "/a", "GET, HEAD, POST"); /* methods are case-sensitive */
}

/* --- queries --------------------------------------------------------------------------------- */

static void test_query(void **state)
{
    struct query q;
    const char *s, *key, *value;
    uint64_t n;
    bool flag;

    (void)state;
    assert_int_equal(
        query_parse("a=x+y%26&&b&n=007&label=run:a:b&label=step&label=x:&max=9007199254740991"
                    "&big=9007199254740992&huge=99999999999999999999",
                    &q, NULL),
        0);
    assert_int_equal(query_text(&q, "a", 10, &s, NULL), 0);
    assert_string_equal(s, "x y&");
    assert_int_equal(query_text(&q, "a", 3, &s, NULL), ERR_INVALID);
    assert_int_equal(query_text(&q, "c", 3, &s, NULL), 0);
    assert_null(s);
    assert_int_equal(query_flag(&q, "b", &flag, NULL), 0);
    assert_true(flag);
    assert_int_equal(query_size(&q, "n", 1, 100, &n, NULL), 0);
    assert_int_equal(n, 7);
    assert_int_equal(query_size(&q, "max", 1, 100, &n, NULL), 0);
    assert_int_equal(n, 100);
    assert_int_equal(query_size(&q, "big", 1, 100, &n, NULL), ERR_INVALID);
    assert_int_equal(query_size(&q, "huge", 1, 100, &n, NULL), ERR_INVALID);
    assert_int_equal(query_size(&q, "a", 1, 100, &n, NULL), ERR_INVALID);
    assert_int_equal(query_size(&q, "b", 1, 100, &n, NULL), ERR_INVALID);
    assert_int_equal(query_size(&q, "absent", 5, 100, &n, NULL), 0);
    assert_int_equal(n, 5);
    assert_int_equal(query_pair(&q, "label", &key, &value, NULL), 0);
    assert_string_equal(key, "run");
    assert_string_equal(value, "a:b");
    assert_int_equal(query_pair(&q, "label", &key, &value, NULL), 0);
    assert_string_equal(key, "step");
    assert_null(value);
    assert_int_equal(query_pair(&q, "label", &key, &value, NULL), 0);
    assert_string_equal(value, "");
    assert_int_equal(query_pair(&q, "label", &key, &value, NULL), 0);
    assert_null(key);
    assert_int_equal(query_check_unused(&q, NULL), 0);
    query_done(&q);
}

static void test_bad_queries(void **state)
{
    static const char *const bad[] = {"a=1&a=2", "a&a", "%zz=1", "a=%", "a=%00"};
    struct query q;
    const char *key, *value;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(query_parse(bad[i], &q, NULL), ERR_INVALID);
    assert_int_equal(query_parse("page_sise=3&label=:x", &q, NULL), 0);
    assert_int_equal(query_pair(&q, "label", &key, &value, NULL), ERR_INVALID);
    assert_int_equal(query_check_unused(&q, &err), ERR_INVALID);
    assert_string_equal(err.pointer, "?page_sise");
    query_done(&q);
}

static void test_many_parameters(void **state)
{
    char text[512];
    size_t n = 0;
    struct query q;

    (void)state;
    for (int i = 0; i < QUERY_PARAMS_MAX + 1; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "&a%d=1", i);
    assert_int_equal(query_parse(text, &q, NULL), ERR_INVALID);
    *strrchr(text, '&') = '\0';
    assert_int_equal(query_parse(text, &q, NULL), 0);
    query_done(&q);
}

/* --- page tokens ----------------------------------------------------------------------------- */

static int page_of(const char *token, const struct page_key *key, const struct digest *scope,
                   struct page *out, struct err *err)
{
    char text[PAGE_TOKEN_MAX + 40];
    struct query q;
    int r;

    snprintf(text, sizeof text, "page_size=7&page_token=%s", token);
    assert_int_equal(query_parse(text, &q, NULL), 0);
    r = page_read(&q, key, scope, 50, 500, out, err);
    assert_int_equal(query_check_unused(&q, NULL), 0);
    query_done(&q);
    return r;
}

static void test_page_tokens(void **state)
{
    struct page_key key = {{1, 2, 3}}, other_key = {{1, 2, 4}};
    struct digest scope = {{9}}, other_scope = {{8}};
    struct page_cursor next = {.before_ms = 1700000000123, .before_id = "job_x", .first = 42};
    struct page p, again;
    char token[PAGE_TOKEN_MAX], bad[PAGE_TOKEN_MAX + 1];
    struct err err;

    (void)state;
    assert_int_equal(page_of("", &key, &scope, &p, NULL), 0);
    assert_int_equal(p.size, 7);
    assert_int_equal(p.from.before_ms, 0);
    page_token(&p, &next, token);
    assert_int_equal(page_of(token, &key, &scope, &again, NULL), 0);
    assert_memory_equal(&again.from, &next, sizeof next);
    assert_int_equal(page_of(token, &other_key, &scope, &again, NULL), ERR_INVALID);
    assert_int_equal(page_of(token, &key, &other_scope, &again, &err), ERR_INVALID);
    assert_string_equal(err.pointer, "?page_token");
    /* Every other character in every place, and every shorter or longer token, is refused. */
    for (size_t i = 0; token[i]; i++)
        for (int c = 33; c < 127; c++) {
            if (c == token[i] || strchr("%&+#", c))
                continue;
            memcpy(bad, token, sizeof token);
            bad[i] = (char)c;
            assert_int_equal(page_of(bad, &key, &scope, &again, NULL), ERR_INVALID);
        }
    for (size_t i = 1; i < strlen(token); i++) {
        snprintf(bad, sizeof bad, "%.*s", (int)i, token);
        assert_int_equal(page_of(bad, &key, &scope, &again, NULL), ERR_INVALID);
    }
    snprintf(bad, sizeof bad, "%sA", token);
    assert_int_equal(page_of(bad, &key, &scope, &again, NULL), ERR_INVALID);
}

static void test_page_sizes(void **state)
{
    static const struct {
        const char *text;
        size_t size;
    } cases[] = {{"", 50},
                 {"page_size=0", 50},
                 {"page_size=1", 1},
                 {"page_size=501", 500},
                 {"page_size=9007199254740991", 500}};
    struct page_key key = {{0}};
    struct digest scope = {{0}};
    struct query q;
    struct page p;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(query_parse(cases[i].text, &q, NULL), 0);
        assert_int_equal(page_read(&q, &key, &scope, 50, 500, &p, NULL), 0);
        assert_int_equal(p.size, cases[i].size);
        query_done(&q);
    }
    assert_int_equal(query_parse("page_size=-1", &q, NULL), 0);
    assert_int_equal(page_read(&q, &key, &scope, 50, 500, &p, NULL), ERR_INVALID);
    query_done(&q);
}

static void test_page_key(void **state)
{
    char dir[] = "/tmp/test_api_XXXXXX", path[64];
    struct page_key a, b;
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/token.key", dir);
    assert_int_equal(page_key_load(dir, &a, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, PAGE_KEY_LEN);
    assert_int_equal(page_key_load(dir, &b, NULL), 0);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(truncate(path, 5), 0); /* damaged: replaced, not padded */
    assert_int_equal(page_key_load(dir, &b, NULL), 0);
    assert_memory_not_equal(&a, &b, sizeof a);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(page_key_load(dir, &b, NULL), ERR_NOT_FOUND);
}

/* --- problems -------------------------------------------------------------------------------- */

static void test_problem_table(void **state)
{
    (void)state;
    for (int code = ERR_GONE; code <= FAULT_NOT_ACCEPTABLE; code++) {
        const struct problem_type *t = problem_type(code);

        if (code == ERR_OK)
            continue;
        assert_int_equal(t->code, code);
        assert_in_range(t->status, 400, 599);
        assert_ptr_equal(problem_type_named(t->name), t);
        assert_memory_equal(t->uri, "/problems/", 10);
        for (size_t i = 0; t->name[i]; i++) /* the same words, as a path */
            assert_int_equal(t->uri[10 + i], t->name[i] == '_' ? '-' : t->name[i]);
        if (code < 0)
            assert_string_equal(t->name, err_name(code));
    }
    assert_int_equal(problem_type(12345)->code, ERR_INTERNAL);
    assert_int_equal(problem_type_named("x")->code, ERR_INTERNAL);
}

static void assert_member(const json_t *j, const char *key, const char *want)
{
    assert_non_null(json_object_get(j, key));
    assert_string_equal(json_string_value(json_object_get(j, key)), want);
}

static void test_problem_json(void **state)
{
    json_t *p = problem_json(ERR_INVALID, "/params/x", "too \"big\"");

    (void)state;
    assert_member(p, "type", "/problems/invalid");
    assert_member(p, "detail", "too \"big\"");
    assert_member(json_array_get(json_object_get(p, "errors"), 0), "pointer", "#/params/x");
    json_decref(p);
    p = problem_json(ERR_INVALID, "?x", "no");
    assert_member(json_array_get(json_object_get(p, "errors"), 0), "parameter", "x");
    json_decref(p);
    p = problem_json(ERR_IO, "", "cannot open /secret");
    assert_member(p, "detail", problem_type(ERR_IO)->title);
    assert_null(json_object_get(p, "errors"));
    json_decref(p);
    p = problem_json(ERR_NOT_FOUND, "?\xff", "bad byte \xc3 here");
    assert_member(p, "detail", "bad byte ? here");
    json_decref(p);
}

/* --- Prefer ---------------------------------------------------------------------------------- */

static unsigned wait_of(const char *first, const char *second)
{
    struct prefer p = {0};

    prefer_add(&p, first);
    if (second)
        prefer_add(&p, second);
    return prefer_wait(&p);
}

static void test_prefer(void **state)
{
    (void)state;
    assert_int_equal(wait_of("wait=10", NULL), 10);
    assert_int_equal(wait_of(" Foo=1 , WAIT = \"12\" ; x=y", NULL), 12);
    assert_int_equal(wait_of("wait=600", NULL), PREFER_WAIT_MAX);
    assert_int_equal(wait_of("wait=99999999999999999999", NULL), PREFER_WAIT_MAX);
    assert_int_equal(wait_of("wait=5", "wait=7"), 5);
    assert_int_equal(wait_of("handling=lenient", "wait=7"), 7);
    assert_int_equal(wait_of("wait=5, respond-async", NULL), 0);
    assert_int_equal(wait_of("wait=-5", NULL), 0);
    assert_int_equal(wait_of("wait=5s", NULL), 0);
    assert_int_equal(wait_of("wait=", NULL), 0);
    assert_int_equal(wait_of("wait", NULL), 0);
    assert_int_equal(wait_of("await=5", NULL), 0);
    assert_int_equal(wait_of(",,;=,\"", NULL), 0);
}

/* --- hosts ----------------------------------------------------------------------------------- */

static bool allowed(const char *header)
{
    struct sockaddr_in local = {.sin_family = AF_INET};

    inet_pton(AF_INET, "10.1.2.3", &local.sin_addr);
    return host_allowed(header, "spectral.lan", "a.example, b.example", (struct sockaddr *)&local);
}

static void test_hosts(void **state)
{
    static const char *const yes[] = {"localhost", "LOCALHOST.:80", "127.0.0.1:8437", "127.9.9.9",
                                      "[::1]",     "[::1]:8437",    "spectral.lan",   "A.example:1",
                                      "b.example", "10.1.2.3:8437"};
    static const char *const no[] = {"",
                                     "evil.example",
                                     "localhost.evil.example",
                                     "10.1.2.4",
                                     "localhost:80x",
                                     "[::1",
                                     "[::2]",
                                     "::1",
                                     "a.example.evil",
                                     "127.0.0.1.evil.example",
                                     "0.0.0.0",
                                     "localhost:80:90",
                                     "x@localhost",
                                     "a.exampl",
                                     "."};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (!allowed(yes[i]))
            fail_msg("\"%s\" refused", yes[i]);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (allowed(no[i]))
            fail_msg("\"%s\" allowed", no[i]);
    assert_false(allowed(NULL));
    assert_true(host_allowed("x.example", "", "*", NULL));
    assert_false(host_allowed("x.example", "", NULL, NULL));
}

/* --- bodies and JSON ------------------------------------------------------------------------- */

static int parse_text(const char *text)
{
    struct buf b = {(uint8_t *)(uintptr_t)text, strlen(text), 0};
    json_t *j = NULL;
    int r = body_parse(&b, &j, NULL);

    json_decref(j);
    return r;
}

static void test_body_depth(void **state)
{
    char text[2 * BODY_DEPTH_MAX + 20];
    size_t n;

    (void)state;
    for (int extra = 0; extra < 2; extra++) { /* {"a":[[…]]} */
        size_t arrays = BODY_DEPTH_MAX - 1 + (size_t)extra;

        n = (size_t)snprintf(text, sizeof text, "{\"a\":");
        memset(text + n, '[', arrays);
        memset(text + n + arrays, ']', arrays);
        strcpy(text + n + 2 * arrays, "}");
        assert_int_equal(parse_text(text), extra ? ERR_INVALID : 0);
    }
    assert_int_equal(
        parse_text("{\"[[[\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                   "[[[[[[[[\":1}"),
        0); /* in a string they are text */
}

static void test_pointer(void **state)
{
    char out[ERR_POINTER_MAX], key[300];

    (void)state;
    err_pointer(out, "/labels", "a/b~c");
    assert_string_equal(out, "/labels/a~1b~0c");
    memset(key, 0, sizeof key);
    for (size_t i = 0; i + 3 < sizeof key; i += 3)
        memcpy(key + i, "\xE2\x82\xAC", 3);
    for (size_t shift = 0; shift < 3; shift++) { /* cut at each place inside a character */
        json_t *j;

        memset(key, 'x', shift);
        err_pointer(out, "", key + shift % 3);
        j = json_string(out + 1 + strspn(out + 1, "x\x82\xAC"));
        assert_non_null(j);
        json_decref(j);
    }
}

static void test_labels(void **state)
{
    json_t *labels = json_object();
    char key[LABEL_KEY_MAX + 2];
    struct err err;

    (void)state;
    memset(key, 'k', sizeof key - 1);
    key[LABEL_KEY_MAX] = '\0';
    json_object_set_new(labels, key, json_string("v"));
    assert_int_equal(labels_check(labels, &err), 0);
    key[LABEL_KEY_MAX] = 'k';
    key[LABEL_KEY_MAX + 1] = '\0';
    json_object_set_new(labels, key, json_string("v"));
    assert_int_equal(labels_check(labels, &err), ERR_INVALID);
    json_object_clear(labels);
    for (int i = 0; i < LABELS_MAX; i++) {
        snprintf(key, sizeof key, "k%d", i);
        json_object_set_new(labels, key, json_string("v"));
    }
    assert_int_equal(labels_check(labels, &err), 0);
    json_object_set_new(labels, "one/more", json_string("v"));
    assert_int_equal(labels_check(labels, &err), ERR_INVALID);
    json_decref(labels);
}

static int merge(const char *stored, const char *patch, char **out)
{
    json_t *p = json_loads(patch, 0, NULL);
    struct err err;
    int r = labels_check_patch(p, &err);

    if (r == 0)
        r = labels_merge(stored, p, out, &err);
    json_decref(p);
    return r;
}

static void test_label_patches(void **state)
{
    static const char *const good[][3] = {
        {"{}", "{}", "{}"},
        {"{}", "{\"a\":\"1\"}", "{\"a\":\"1\"}"},
        {"{\"a\":\"1\",\"b\":\"2\"}", "{\"a\":null,\"b\":\"3\",\"x\":null}", "{\"b\":\"3\"}"},
        {"{\"a\":\"1\"}", "{\"a\":\"\\u00e9\\\"\"}", "{\"a\":\"\xc3\xa9\\\"\"}"},
    };
    static const char *const bad[] = {"[]",           "{\"a\":1}",      "{\"a\":{}}",
                                      "{\"\":\"x\"}", "{\"a b\":null}", "null"};
    char stored[LABELS_MAX * 16] = "{";
    char *out = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(merge(good[i][0], good[i][1], &out), 0);
        assert_string_equal(out, good[i][2]);
        free(out);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(merge("{}", bad[i], &out), ERR_INVALID);
    for (int i = 0; i < LABELS_MAX; i++) /* full: one in is one too many, unless one goes */
        snprintf(stored + strlen(stored), 16, "%s\"k%d\":\"v\"", i ? "," : "", i);
    strcat(stored, "}");
    assert_int_equal(merge(stored, "{\"new\":\"v\"}", &out), ERR_INVALID);
    assert_int_equal(merge(stored, "{\"new\":\"v\",\"k3\":null}", &out), 0);
    free(out);
}

static void test_json_out(void **state)
{
    static const char *const raw[] = {"plain",
                                      "q\"b\\n\n\x01",
                                      "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80",
                                      "a\xff",
                                      "\xC3",
                                      "\xC0\xAF",
                                      "\xED\xA0\x80",
                                      "\xF4\x90\x80\x80",
                                      "\xF8\x88\x80\x80\x80",
                                      "\xE2\x82",
                                      "\xFB\x93\x9E\x9D"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(raw); i++) {
        struct buf b = BUF_INIT;
        json_t *j;

        buf_printf(&b, "{");
        json_out_text(&b, "s", raw[i]);
        json_out_text(&b, "n", NULL);
        json_out_raw(&b, "r", "[1]");
        json_out_raw(&b, "z", "");
        json_out_time(&b, "t", 1700000000123);
        json_out_time(&b, "never", 0);
        buf_printf(&b, "}");
        j = json_loadb((const char *)b.data, b.len, 0, NULL);
        assert_non_null(j);
        if (i < 3)
            assert_member(j, "s", raw[i]);
        else
            assert_non_null(strstr(json_string_value(json_object_get(j, "s")), "\xEF\xBF\xBD"));
        assert_true(json_is_null(json_object_get(j, "n")) && json_is_null(json_object_get(j, "z")));
        assert_true(json_is_null(json_object_get(j, "never")));
        assert_member(j, "t", "2023-11-14T22:13:20.123Z");
        json_decref(j);
        buf_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_bad_paths),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_no_routes),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_bad_queries),
        cmocka_unit_test(test_many_parameters),
        cmocka_unit_test(test_page_tokens),
        cmocka_unit_test(test_page_sizes),
        cmocka_unit_test(test_page_key),
        cmocka_unit_test(test_problem_table),
        cmocka_unit_test(test_problem_json),
        cmocka_unit_test(test_prefer),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_body_depth),
        cmocka_unit_test(test_pointer),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_label_patches),
        cmocka_unit_test(test_json_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
