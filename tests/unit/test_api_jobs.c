/* test_api_jobs.c: creating, polling, cancelling; clients that leave; stopping the server. */
#include "api_fake.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* --- jobs ------------------------------------------------------------------------------------ */

#define SLOW_JOB   "{\"kind\":\"analyze\",\"source\":{\"path\":\"slow\"}}"
#define CACHED_JOB "{\"kind\":\"analyze\",\"source\":{\"path\":\"cached\"}}"

static void test_create(void **state)
{
    struct server *sv = *state;
    struct got g = post(sv, SLOW_JOB, "");
    char id[IDENT_MAX], etag[128], location[64];

    assert_int_equal(g.status, 202);
    assert_string_equal(header(&g, "Retry-After"), "1");
    snprintf(location, sizeof location, "%s", header(&g, "Location"));
    job_of(&g, id, etag);
    assert_string_equal(location + strlen("/v1/jobs/"), id);
    g = get(sv, location, "");
    assert_int_equal(g.status, 200);
    assert_string_equal(header(&g, "ETag"), etag);
    got_done(&g);
    g = post(sv, CACHED_JOB, "");
    assert_int_equal(g.status, 200);
    assert_string_equal(header(&g, "Cache-Status"), "spectrald; hit");
    got_done(&g);
}

static void test_create_refused(void **state)
{
    struct server *sv = *state;
    struct got g = post(sv, "{\"kind\":\"a\",\"source\":{\"path\":\"broken-disk\"}}", "");

    assert_null(strstr(g.body, "secret"));
    assert_problem(&g, 503, "io", "");
    g = post(sv, "{\"kind\":\"a\",\"source\":{\"path\":\"busy\"}}", "");
    assert_true(atoi(header(&g, "Retry-After")) > 0);
    assert_problem(&g, 503, "busy", "");
}

static void order_finish(struct server *sv, void *arg)
{
    struct fake_job *j = fake_find(&sv->svc, arg);

    j->rec.state = JOB_SUCCEEDED;
    j->rec.version++;
    fake_change(&sv->svc, j);
}

static void order_progress(struct server *sv, void *arg)
{
    fake_change(&sv->svc, fake_find(&sv->svc, arg));
}

static void order_newest(struct server *sv, void *arg)
{
    snprintf(arg, IDENT_MAX, "%s", sv->svc.job[sv->svc.n_jobs - 1].rec.id);
}

static void order_watches(struct server *sv, void *arg)
{
    *(size_t *)arg = sv->svc.n_watches;
}

static void wait_for_watches(struct server *sv, size_t want)
{
    size_t n = 0;

    for (int i = 0; i < 500; i++) {
        on_loop(sv, order_watches, &n);
        if (n == want)
            return;
        usleep(10000);
    }
    fail_msg("%zu watches, expected %zu", n, want);
}

static void test_create_and_wait(void **state)
{
    struct server *sv = *state;
    AUTO(freep) char *text = post_text(SLOW_JOB, "Prefer: wait=30\r\n");
    char id[IDENT_MAX];
    int fd = dial(sv);
    struct got g;

    say(fd, text);
    wait_for_watches(sv, 1);
    on_loop(sv, order_newest, id);
    on_loop(sv, order_progress, id); /* not the end: the wait goes on */
    on_loop(sv, order_finish, id);
    g = hear(fd);
    assert_int_equal(g.status, 200);
    assert_string_equal(header(&g, "Preference-Applied"), "wait=30");
    assert_string_equal(header(&g, "Cache-Status"), "");
    got_done(&g);
    close(fd);
    g = post(sv, SLOW_JOB, "Prefer: wait=1\r\n");
    assert_int_equal(g.status, 202);
    got_done(&g);
    g = post(sv, SLOW_JOB, "Prefer: wait=50, respond-async\r\n");
    assert_int_equal(g.status, 202);
    assert_string_equal(header(&g, "Preference-Applied"), "respond-async");
    got_done(&g);
}

static int start_poll(struct server *sv, const char *id, const char *etag)
{
    AUTO(freep)
    char *text = xasprintf("GET /v1/jobs/%s HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: %s\r\n"
                           "Prefer: wait=20\r\n\r\n",
                           id, etag);
    int fd = dial(sv);

    say(fd, text);
    return fd;
}

static void test_long_poll(void **state)
{
    struct server *sv = *state;
    struct got g = post(sv, SLOW_JOB, "");
    char id[IDENT_MAX], etag[128], path[64], headers[256];
    int fd;

    job_of(&g, id, etag);
    snprintf(path, sizeof path, "/v1/jobs/%s", id);
    fd = start_poll(sv, id, etag);
    wait_for_watches(sv, 1);
    on_loop(sv, order_progress, id);
    g = hear(fd);
    close(fd);
    assert_int_equal(g.status, 200);
    assert_string_not_equal(header(&g, "ETag"), etag);
    got_done(&g);
    /* An old tag is answered at once; a new one after the wait, with 304. */
    snprintf(headers, sizeof headers, "If-None-Match: %s\r\nPrefer: wait=20\r\n", etag);
    g = get(sv, path, headers);
    assert_int_equal(g.status, 200);
    snprintf(etag, sizeof etag, "%s", header(&g, "ETag"));
    got_done(&g);
    snprintf(headers, sizeof headers, "If-None-Match: \"x\", W/%s\r\nPrefer: wait=1\r\n", etag);
    g = get(sv, path, headers);
    assert_int_equal(g.status, 304);
    assert_int_equal(g.len, 0);
    assert_string_equal(header(&g, "ETag"), etag);
    got_done(&g);
    g = get(sv, path, "If-None-Match: *\r\n");
    assert_int_equal(g.status, 304);
    got_done(&g);
}

/* A client that left while it was waiting is not noticed before the wait ends; then everything
 * it held must be gone (teardown counts the watches). */
static void test_client_leaves(void **state)
{
    struct server *sv = *state;
    struct got g = post(sv, SLOW_JOB, "");
    char id[IDENT_MAX], etag[128];
    int fd;

    job_of(&g, id, etag);
    for (int i = 0; i < 5; i++) {
        fd = start_poll(sv, id, etag);
        wait_for_watches(sv, (size_t)i + 1);
        close(fd);
    }
    on_loop(sv, order_finish, id);
    wait_for_watches(sv, 0);
    g = get(sv, "/livez", "");
    assert_int_equal(g.status, 200);
    got_done(&g);
}

/* A client may close its sending side and still take the reply. */
static void test_half_closed(void **state)
{
    struct server *sv = *state;
    struct got g = post(sv, SLOW_JOB, "");
    char id[IDENT_MAX], etag[128];
    int fd;

    job_of(&g, id, etag);
    fd = start_poll(sv, id, etag);
    shutdown(fd, SHUT_WR);
    wait_for_watches(sv, 1);
    on_loop(sv, order_finish, id);
    g = hear(fd);
    assert_int_equal(g.status, 200);
    got_done(&g);
    close(fd);
}

static void test_cancel_and_delete(void **state)
{
    struct server *sv = *state;
    struct got g = post(sv, SLOW_JOB, "");
    char id[IDENT_MAX], etag[128], text[256], waiting[256];
    int fd;

    job_of(&g, id, etag);
    snprintf(text, sizeof text, "DELETE /v1/jobs/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", id);
    g = ask(sv, text);
    assert_problem(&g, 409, "conflict", "");
    snprintf(text, sizeof text,
             "POST /v1/jobs/%s:cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
             id);
    g = ask(sv, text);
    assert_int_equal(g.status, 202);
    got_done(&g);
    fd = dial(sv);
    snprintf(waiting, sizeof waiting,
             "POST /v1/jobs/%s:cancel HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=20\r\n\r\n", id);
    say(fd, waiting);
    wait_for_watches(sv, 1);
    on_loop(sv, order_finish, id);
    g = hear(fd);
    close(fd);
    assert_int_equal(g.status, 200);
    got_done(&g);
    g = ask(sv, text);
    assert_int_equal(g.status, 200);
    got_done(&g);
    snprintf(text, sizeof text, "DELETE /v1/jobs/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", id);
    g = ask(sv, text);
    assert_int_equal(g.status, 204);
    got_done(&g);
}

/* --- connections ----------------------------------------------------------------------------- */

static void test_pipelined(void **state)
{
    struct server *sv = *state;
    AUTO(freep) char *job = post_text(CACHED_JOB, "");
    AUTO(freep)
    char *text = xasprintf("%sGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n%s", job, job);
    int fd = dial(sv);
    const int want[] = {200, 200, 200};

    say(fd, text);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct got g = hear(fd);

        assert_int_equal(g.status, want[i]);
        got_done(&g);
    }
    close(fd);
}

/* --- stopping -------------------------------------------------------------------------------- */

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

/* One client waits for a job, one for the store, one for the service: all get an answer, and the
 * callbacks that come later find nobody. */
static void test_stop_answers_all(void **state)
{
    struct server *sv = *state;
    AUTO(freep) char *job = post_text(SLOW_JOB, "");
    struct got g = post(sv, SLOW_JOB, "");
    char id[IDENT_MAX], etag[128];
    int64_t start;
    size_t pending = 0;
    int fd[3];

    job_of(&g, id, etag);
    fd[0] = start_poll(sv, id, etag);
    wait_for_watches(sv, 1);
    on_loop(sv, order_hold, NULL);
    fd[1] = dial(sv);
    say(fd[1], "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n");
    fd[2] = dial(sv);
    say(fd[2], job);
    while (pending < 2)
        on_loop(sv, order_pending, &pending);
    start = mono_ns();
    on_loop(sv, order_stop, NULL);
    assert_true(mono_ns() - start < 1000000000);
    for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
        g = hear(fd[i]);
        assert_problem(&g, 503, "busy", "");
        assert_true(closed_by_peer(fd[i]));
        close(fd[i]);
    }
}

static void test_unix_socket(void **state)
{
    struct server sv;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct api *second = NULL;
    char listen[128];
    struct stat st;
    struct err err;
    struct got g;
    int fd;

    (void)state;
    snprintf(sa.sun_path, sizeof sa.sun_path, "/tmp/test_api_%d.sock", (int)getpid());
    snprintf(listen, sizeof listen, "unix:%s", sa.sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0); /* a file left by a crash */
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    close(fd);
    server_start(&sv, listen, 1, 2);
    assert_string_equal(sv.address, listen);
    assert_int_equal(stat(sa.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(api_start(&second, &sv.svc, &err), ERR_CONFLICT);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    say(fd, "GET /metrics HTTP/1.1\r\nHost: anything.example\r\n\r\n");
    g = hear(fd);
    assert_int_equal(g.status, 200);
    got_done(&g);
    close(fd);
    server_stop(&sv);
    assert_int_equal(access(sa.sun_path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(test_create),
        SERVER_TEST(test_create_refused),
        SERVER_TEST(test_create_and_wait),
        SERVER_TEST(test_long_poll),
        SERVER_TEST(test_client_leaves),
        SERVER_TEST(test_half_closed),
        SERVER_TEST(test_cancel_and_delete),
        SERVER_TEST(test_pipelined),
        SERVER_TEST(test_stop_answers_all),
        cmocka_unit_test(test_unix_socket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
