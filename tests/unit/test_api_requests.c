/* test_api_requests.c: routing, refusals, bodies, slow clients, and the operations calls. */
#include "api_fake.h"

#include <poll.h>

/* --- routing and refusals -------------------------------------------------------------------- */

static void test_routing(void **state)
{
    struct server *sv = *state;
    struct got g = get(sv, "/livez", "");

    assert_int_equal(g.status, 200);
    assert_string_equal(g.body, "ok\n");
    assert_string_equal(header(&g, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(header(&g, "Cache-Control"), "no-store");
    got_done(&g);
    g = get(sv, "/nothing", "");
    assert_problem(&g, 404, "not_found", "");
    g = get(sv, "/v1/jobs/", "");
    assert_problem(&g, 404, "not_found", "");
    g = get(sv, "//v1/jobs", "");
    assert_problem(&g, 404, "not_found", "");
    g = get(sv, "/v1/../livez", "");
    assert_problem(&g, 404, "not_found", "");
    g = get(sv, "/v1/jobs/job_1", "");
    assert_problem(&g, 404, "not_found", "");
    g = get(sv, "/v1/jobs/%zz", "");
    assert_problem(&g, 400, "invalid", "");
    g = get(sv, "/livez%00", "");
    assert_problem(&g, 400, "invalid", "");
    g = get(sv, "/%6civez", "");
    assert_int_equal(g.status, 200);
    got_done(&g);
    g = get(sv, "http://localhost/livez?", "");
    assert_int_equal(g.status, 200);
    got_done(&g);
    g = get(sv, "/livez?loud", "");
    assert_problem(&g, 400, "invalid", "?loud");
}

static void test_methods(void **state)
{
    struct server *sv = *state;
    struct got g = ask(sv, "PUT /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n");

    assert_string_equal(header(&g, "Allow"), "POST, GET, HEAD");
    assert_problem(&g, 405, "method_not_allowed", "");
    g = get(sv, "/v1/jobs/job_00000000000000000000000000:cancel", "");
    assert_string_equal(header(&g, "Allow"), "POST");
    assert_problem(&g, 405, "method_not_allowed", "");
    g = ask(sv, "BREW /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_problem(&g, 405, "method_not_allowed", "");
}

static void test_head_is_get(void **state)
{
    struct server *sv = *state;
    int fd = dial(sv);
    struct got g;

    say(fd, "HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    g = hear_as(fd, true);
    assert_int_equal(g.status, 200);
    assert_string_equal(header(&g, "Content-Length"), "3");
    got_done(&g);
    /* No body came: the next reply starts right here. */
    say(fd, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    g = hear(fd);
    assert_int_equal(g.status, 200);
    got_done(&g);
    close(fd);
}

static void test_host(void **state)
{
    struct server *sv = *state;
    struct got g = ask(sv, "GET /v1/models/mdl_1 HTTP/1.1\r\nHost: evil.example\r\n\r\n");

    assert_problem(&g, 421, "misdirected_request", "");
    g = ask(sv, "GET /metrics HTTP/1.0\r\n\r\n");
    assert_problem(&g, 421, "misdirected_request", "");
    g = ask(sv, "GET /metrics HTTP/1.1\r\nHost: Models.Example:8437\r\n\r\n");
    assert_int_equal(g.status, 200);
    got_done(&g);
    g = ask(sv, "GET /livez HTTP/1.1\r\nHost: probe.example\r\n\r\n");
    assert_int_equal(g.status, 200);
    got_done(&g);
}

static void test_request_id(void **state)
{
    struct server *sv = *state;
    struct got g = get(sv, "/livez", "X-Request-Id: abc/1:2\r\n");

    assert_string_equal(header(&g, "X-Request-Id"), "abc/1:2");
    got_done(&g);
    g = get(sv, "/livez", "X-Request-Id: a b\"c\r\n");
    assert_memory_equal(header(&g, "X-Request-Id"), "req_", 4);
    got_done(&g);
}

static void test_long_targets(void **state)
{
    struct server *sv = *state;
    char target[9000];
    struct got g;

    memset(target, 'a', sizeof target);
    target[0] = '/';
    target[sizeof target - 1] = '\0';
    g = get(sv, target, "");
    assert_problem(&g, 414, "uri_too_long", "");
    memcpy(target, "/livez?", 7);
    target[8192] = '\0';
    g = get(sv, target, "");
    assert_problem(&g, 400, "invalid", "");
}

/* --- bodies ---------------------------------------------------------------------------------- */

static void refuse(const struct server *sv, const char *body, const char *pointer)
{
    struct got g = post(sv, body, "");

    assert_problem(&g, 400, "invalid", pointer);
}

static void test_bad_bodies(void **state)
{
    struct server *sv = *state;
    char deep[1000];

    refuse(sv, "", "");
    refuse(sv, "{", "");
    refuse(sv, "[]", "");
    refuse(sv, "{\"kind\":\"a\",\"kind\":\"b\"}", "");
    refuse(sv, "{\"kind\":\"\xff\"}", "");
    refuse(sv, "{}", "#/kind");
    refuse(sv, "{\"kind\":1}", "#/kind");
    refuse(sv, "{\"kind\":\"analyze\"}", "#/source");
    refuse(sv, "{\"kind\":\"analyze\",\"source\":[]}", "#/source");
    refuse(sv, "{\"kind\":\"analyze\",\"source\":{},\"a/b~\":1}", "#/a~1b~0");
    refuse(sv, "{\"kind\":\"analyze\",\"source\":{},\"params\":3}", "#/params");
    refuse(sv, "{\"kind\":\"analyze\",\"source\":{},\"labels\":[]}", "#/labels");
    refuse(sv, "{\"kind\":\"analyze\",\"source\":{},\"labels\":{\"a\":1}}", "#/labels/a");
    refuse(sv, "{\"kind\":\"analyze\",\"source\":{},\"labels\":{\"a b\":\"1\"}}", "#/labels/a b");
    refuse(sv, "{\"kind\":\"analyze\",\"source\":{},\"labels\":{\"\":\"1\"}}", "#/labels/");
    refuse(sv, "{\"kind\":\"analyze\",\"source\":{}}", "#/source/path"); /* the service's words */
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    refuse(sv, deep, "");
}

static void test_media_type(void **state)
{
    struct server *sv = *state;
    struct got g = ask(sv, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                           "text/plain\r\nContent-Length: 2\r\n\r\n{}");

    assert_problem(&g, 415, "unsupported_media_type", "");
    g = ask(sv, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert_problem(&g, 415, "unsupported_media_type", "");
    g = ask(sv, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                "application/JSON; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}");
    assert_problem(&g, 400, "invalid", "#/kind");
}

/* An announced body that is too large is refused before any of it is sent. */
static void test_announced_too_large(void **state)
{
    struct server *sv = *state;
    struct got g =
        ask(sv, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: 10000000000\r\n\r\n");

    assert_problem(&g, 413, "content_too_large", "");
    g = ask(sv, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: 20000000\r\nExpect: 100-continue\r\n\r\n");
    assert_problem(&g, 413, "content_too_large", "");
}

static void *send_blob(void *arg)
{
    int fd = *(int *)arg;
    char chunk[1 << 14];

    memset(chunk, 'x', sizeof chunk - 1);
    chunk[sizeof chunk - 1] = '\0';
    for (int i = 0; i < 20000000 / (int)sizeof chunk; i++)
        if (!say(fd, "3fff\r\n") || !say(fd, chunk) || !say(fd, "\r\n"))
            break;
    say(fd, "0\r\n\r\n");
    return NULL;
}

/* 20 MB of unknown length: read to its end, dropped, and answered. */
static void test_chunked_too_large(void **state)
{
    struct server *sv = *state;
    int fd = dial(sv);
    pthread_t sender;
    struct got g;

    say(fd, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n");
    pthread_create(&sender, NULL, send_blob, &fd);
    g = hear(fd);
    pthread_join(sender, NULL);
    assert_problem(&g, 413, "content_too_large", "");
    assert_true(closed_by_peer(fd));
    close(fd);
}

static void test_chunked_body(void **state)
{
    struct server *sv = *state;
    struct got g =
        ask(sv, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Transfer-Encoding: chunked\r\n\r\n"
                "11\r\n{\"kind\":\"analyze\"\r\n1\r\n,\r\n1b\r\n\"source\":{\"path\":\"cached\"}}"
                "\r\n0\r\n\r\n");

    assert_int_equal(g.status, 200);
    got_done(&g);
}

/* Bodies above 16 kB are parsed on another thread. */
static void test_large_bodies(void **state)
{
    struct server *sv = *state;
    AUTO(freep) char *filler = xcalloc(1, 900001);
    AUTO(freep) char *good = NULL;
    AUTO(freep) char *bad = NULL;
    struct got g;

    memset(filler, ' ', 900000);
    good = xasprintf("{\"kind\":\"analyze\",%s\"source\":{\"path\":\"cached\"}}", filler);
    bad = xasprintf("{\"kind\":\"analyze\",%s\"kind\":\"analyze\"}", filler);
    g = post(sv, good, "");
    assert_int_equal(g.status, 200);
    got_done(&g);
    g = post(sv, bad, "");
    assert_problem(&g, 400, "invalid", "");
    memset(filler, '[', 900000);
    g = post(sv, filler, "");
    assert_problem(&g, 400, "invalid", "");
}

static void test_framing(void **state)
{
    struct server *sv = *state;
    struct got g =
        ask(sv, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");

    assert_int_equal(g.status, 400);
    got_done(&g);
    g = ask(sv, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}");
    assert_int_equal(g.status, 400);
    got_done(&g);
    g = ask(sv, "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n");
    assert_int_equal(g.status, 400);
    got_done(&g);
}

/* A small refused body is read, and the connection serves on. */
static void test_refused_keeps_connection(void **state)
{
    struct server *sv = *state;
    int fd = dial(sv);
    struct got g;

    say(fd, "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
            "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    g = hear(fd);
    assert_problem(&g, 404, "not_found", "");
    g = hear(fd);
    assert_int_equal(g.status, 200);
    got_done(&g);
    close(fd);
}

/* --- slow clients ------------------------------------------------------------------------------
 */

/* Sends a byte now and then, so that the connection is never idle for the idle timeout. */
static bool served_slowly(const struct server *sv, const char *start, const char *drip)
{
    int fd = dial(sv);
    int64_t end = mono_ns() + 6000000000;
    bool alive = true;

    say(fd, start);
    while (alive && mono_ns() < end) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        alive = say(fd, drip) && poll(&p, 1, 300) == 0;
    }
    close(fd);
    return alive;
}

static void test_slow_clients(void **state)
{
    struct server *sv = *state;

    assert_false(served_slowly(sv, "GET /livez HTTP/1.1\r\n", "X-A: b\r\n"));
    assert_false(served_slowly(sv,
                               "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                               "application/json\r\nContent-Length: 1000\r\n\r\n",
                               " "));
}

/* The end of the stream arrives with the last bytes: the connection must not be kept until the
 * timeouts (here far away) notice. */
static void test_leaves_early(void **state)
{
    static const char *const start[] = {"", "GET /li", "GET /livez HTTP/1.1\r\nHost: lo",
                                        "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /"};
    struct server sv;
    struct got g;

    (void)state;
    server_start(&sv, "127.0.0.1:0", 100, 100);
    for (int i = 0; i < 40; i++) {
        int fd = dial(&sv);

        say(fd, start[i % 4]);
        close(fd);
    }
    sleep(3);
    g = get(&sv, "/metrics", "");
    assert_non_null(strstr(g.body, "spectrald_http_connections 1\n"));
    got_done(&g);
    server_stop(&sv);
}

static void test_half_a_request(void **state)
{
    struct server *sv = *state;
    int fd = dial(sv);

    say(fd, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 1000\r\n\r\n{\"kind\"");
    close(fd); /* nothing is answered, nothing leaks */
    fd = dial(sv);
    say(fd, "GET /li");
    close(fd);
}

/* --- operations ------------------------------------------------------------------------------ */

static void order_unhealthy(struct server *sv, void *arg)
{
    (void)arg;
    sv->svc.health.disk_ok = false;
    strcpy(sv->svc.health.disk_detail, "1 MB free");
}

static void test_ready(void **state)
{
    struct server *sv = *state;
    struct got g = get(sv, "/readyz?verbose", "");

    assert_int_equal(g.status, 200);
    assert_non_null(strstr(g.body, "[+]store ok"));
    got_done(&g);
    on_loop(sv, order_unhealthy, NULL);
    g = get(sv, "/readyz?verbose", "");
    assert_int_equal(g.status, 503);
    assert_non_null(strstr(g.body, "[-]disk failed: 1 MB free"));
    got_done(&g);
    g = get(sv, "/readyz", "");
    assert_problem(&g, 503, "busy", "");
    g = get(sv, "/livez", "");
    assert_int_equal(g.status, 200);
    got_done(&g);
}

static void test_metrics(void **state)
{
    struct server *sv = *state;
    struct got g = get(sv, "/v1/jobs/job_00000000000000000000000000", "");

    assert_problem(&g, 404, "not_found", "");
    g = get(sv, "/no/such/path", "");
    assert_problem(&g, 404, "not_found", "");
    g = get(sv, "/metrics", "");
    assert_non_null(strstr(g.body, "spectrald_http_requests_total{route=\"/v1/jobs/{job}\","
                                   "method=\"GET\",code=\"404\"} 1"));
    assert_non_null(strstr(g.body, "{route=\"none\",method=\"GET\",code=\"404\"} 1"));
    assert_non_null(strstr(g.body, "spectrald_http_connections 1"));
    got_done(&g);
}

static void test_openapi_is_served(void **state)
{
    struct server *sv = *state;
    struct got g = get(sv, "/openapi.yaml", "");

    assert_int_equal(g.status, 200);
    assert_string_equal(header(&g, "Content-Type"), "application/yaml");
    assert_memory_equal(g.body, "openapi: 3.1", 12);
    got_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(test_routing),
        SERVER_TEST(test_methods),
        SERVER_TEST(test_head_is_get),
        SERVER_TEST(test_host),
        SERVER_TEST(test_request_id),
        SERVER_TEST(test_long_targets),
        SERVER_TEST(test_bad_bodies),
        SERVER_TEST(test_media_type),
        SERVER_TEST(test_announced_too_large),
        SERVER_TEST(test_chunked_too_large),
        SERVER_TEST(test_chunked_body),
        SERVER_TEST(test_large_bodies),
        SERVER_TEST(test_framing),
        SERVER_TEST(test_refused_keeps_connection),
        SERVER_TEST(test_slow_clients),
        cmocka_unit_test(test_leaves_early),
        SERVER_TEST(test_half_a_request),
        SERVER_TEST(test_ready),
        SERVER_TEST(test_metrics),
        SERVER_TEST(test_openapi_is_served),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
