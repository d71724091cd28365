/* test_api_http.c: the HTTP side over real sockets, with a service that the test controls.
 *
 * The server's loop runs in a thread; the test is the client. Jobs live in the fake service: it
 * reports exactly what a test tells it to, so long polls, refusals and late callbacks can be
 * tried in every order.
 */
#include "api/server.h"

#include "common/ident.h"
#include "daemon/service.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define JOBS 32

/* --- the fake service ------------------------------------------------------------------------ */

struct job_watch {
    struct job_watch *next;
    job_cb *cb;
    void *arg;
};

struct fake_job {
    struct job_record rec;
    uint64_t change;
    bool active;
    struct job_watch *watches;
};

struct service {
    struct loop *loop;
    struct metrics *metrics;
    struct config config;
    struct fake_job job[JOBS];
    size_t n_jobs, n_watches, n_pending;
    bool hold; /* keep callbacks back until fake_release() */
    struct pending *held;
    struct health health;
};

struct pending {
    struct pending *next;
    struct service *svc;
    job_cb *cb;
    void *arg;
    struct fake_job *job; /* NULL: err */
    struct err err;
    void (*run)(void *arg, struct store *st);
    void (*done)(void *arg);
};

struct loop *service_loop(struct service *s)
{
    return s->loop;
}

struct metrics *service_metrics(struct service *s)
{
    return s->metrics;
}

const struct config *service_config(struct service *s)
{
    return &s->config;
}

bool service_draining(const struct service *s)
{
    return s->health.draining;
}

void service_health(const struct service *s, struct health *out)
{
    *out = s->health;
}

static struct job_view view_of(const struct fake_job *j)
{
    return (struct job_view){.job = &j->rec, .fraction = 0.25, .eta_s = 3, .message = "layer",
                             .change = j->change};
}

static struct fake_job *find(struct service *s, const char *id)
{
    for (size_t i = 0; i < s->n_jobs; i++)
        if (strcmp(s->job[i].rec.id, id) == 0)
            return &s->job[i];
    return NULL;
}

static void fire(void *arg)
{
    struct pending *p = arg;
    struct job_view v;

    p->svc->n_pending--;
    if (p->run) {
        p->run(p->arg, NULL);
        p->done(p->arg);
    } else if (p->job) {
        v = view_of(p->job);
        p->cb(p->arg, NULL, &v);
    } else {
        p->cb(p->arg, p->err.code ? &p->err : NULL, NULL);
    }
    free(p);
}

static void later(struct service *s, struct pending *p)
{
    p->svc = s;
    s->n_pending++;
    if (s->hold) {
        p->next = s->held;
        s->held = p;
    } else {
        loop_post(s->loop, fire, p);
    }
}

static void fake_release(struct service *s)
{
    s->hold = false;
    while (s->held) {
        struct pending *p = s->held;

        s->held = p->next;
        fire(p);
    }
}

static void answer(struct service *s, struct fake_job *j, int code, const char *pointer,
                   const char *text, job_cb *cb, void *arg)
{
    struct pending *p = xcalloc(1, sizeof *p);

    *p = (struct pending){.cb = cb, .arg = arg, .job = j};
    if (!j && code)
        err_set_at(&p->err, code, pointer, "%s", text);
    later(s, p);
}

static struct fake_job *add_job(struct service *s, enum job_state state, bool active)
{
    struct fake_job *j = &s->job[s->n_jobs++];

    assert_true(s->n_jobs <= JOBS);
    ident_new(j->rec.id, "job_");
    j->rec.kind = xstrdup("analyze");
    j->rec.owner = xstrdup("local");
    j->rec.source = xstrdup("{\"path\":\"m\"}");
    j->rec.params = xstrdup("{}");
    j->rec.labels = xstrdup("{}");
    j->rec.created_ms = 1700000000000;
    j->rec.state = state;
    j->active = active;
    return j;
}

/* What source.path says decides what becomes of a job. */
void service_job_submit(struct service *s, const struct job_request *rq, job_cb *cb, void *arg)
{
    const char *path = json_string_value(json_object_get(rq->source, "path"));

    if (!path)
        answer(s, NULL, ERR_INVALID, "/source/path", "no path", cb, arg);
    else if (strcmp(path, "broken-disk") == 0)
        answer(s, NULL, ERR_IO, "", "cannot read /srv/secret/state.db", cb, arg);
    else if (strcmp(path, "busy") == 0)
        answer(s, NULL, ERR_BUSY, "", "the queue is full", cb, arg);
    else if (strcmp(path, "cached") == 0)
        answer(s, add_job(s, JOB_SUCCEEDED, false), 0, "", "", cb, arg);
    else
        answer(s, add_job(s, JOB_RUNNING, true), 0, "", "", cb, arg);
}

void service_job_get(struct service *s, const char *id, job_cb *cb, void *arg)
{
    answer(s, find(s, id), ERR_NOT_FOUND, "", "no such job", cb, arg);
}

void service_job_cancel(struct service *s, const char *id, job_cb *cb, void *arg)
{
    struct fake_job *j = find(s, id);

    if (j && !job_state_final(j->rec.state))
        j->rec.state = JOB_CANCELLING;
    answer(s, j, ERR_NOT_FOUND, "", "no such job", cb, arg);
}

void service_job_delete(struct service *s, const char *id, job_cb *cb, void *arg)
{
    struct fake_job *j = find(s, id);
    bool final = j && job_state_final(j->rec.state);

    answer(s, NULL, !j ? ERR_NOT_FOUND : final ? 0 : ERR_CONFLICT, "", "no", cb, arg);
}

const struct job_view *service_job_live(struct service *s, const char *id, struct job_view *buf)
{
    struct fake_job *j = find(s, id);

    if (!j || !j->active)
        return NULL;
    *buf = view_of(j);
    return buf;
}

struct job_watch *service_job_watch(struct service *s, const char *id, job_cb *cb, void *arg)
{
    struct fake_job *j = find(s, id);
    struct job_watch *w;

    if (!j || !j->active)
        return NULL;
    w = xmalloc(sizeof *w);
    *w = (struct job_watch){.next = j->watches, .cb = cb, .arg = arg};
    j->watches = w;
    s->n_watches++;
    return w;
}

void service_job_unwatch(struct service *s, struct job_watch *w)
{
    for (size_t i = 0; i < s->n_jobs; i++)
        for (struct job_watch **p = &s->job[i].watches; *p; p = &(*p)->next)
            if (*p == w) {
                *p = w->next;
                free(w);
                s->n_watches--;
                return;
            }
    fail_msg("unwatch of a watch that is gone");
}

void service_store_call(struct service *s, void (*run)(void *arg, struct store *st),
                        void (*done)(void *arg), void *arg)
{
    struct pending *p = xcalloc(1, sizeof *p);

    *p = (struct pending){.run = run, .done = done, .arg = arg};
    later(s, p);
}

/* Tell watchers; a watch that is told of a final job is gone afterwards. */
static void change_job(struct service *s, struct fake_job *j)
{
    struct job_watch *w = j->watches, *next;
    struct job_view v;

    j->change++;
    v = view_of(j);
    if (job_state_final(j->rec.state)) {
        j->active = false;
        j->watches = NULL;
    }
    for (; w; w = next) {
        next = w->next;
        w->cb(w->arg, NULL, &v);
        if (job_state_final(j->rec.state)) {
            free(w);
            s->n_watches--;
        }
    }
}

/* --- the server's thread --------------------------------------------------------------------- */

struct server {
    struct service svc;
    struct api *api;
    pthread_t thread;
    uint16_t port;
    char dir[64], address[128];
};

struct order {
    void (*run)(struct server *sv, void *arg);
    struct server *sv;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool ready;
};

static void obey(void *arg)
{
    struct order *o = arg;

    o->run(o->sv, o->arg);
    pthread_mutex_lock(&o->lock);
    o->ready = true;
    pthread_cond_signal(&o->cond);
    pthread_mutex_unlock(&o->lock);
}

/* Run something on the loop thread and wait for it. */
static void on_loop(struct server *sv, void (*run)(struct server *sv, void *arg), void *arg)
{
    struct order o = {.run = run, .sv = sv, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER,
                      .cond = PTHREAD_COND_INITIALIZER};

    loop_post(sv->svc.loop, obey, &o);
    pthread_mutex_lock(&o.lock);
    while (!o.ready)
        pthread_cond_wait(&o.cond, &o.lock);
    pthread_mutex_unlock(&o.lock);
}

static void *serve(void *arg)
{
    struct server *sv = arg;

    loop_run(sv->svc.loop);
    return NULL;
}

static void configure(struct server *sv, const char *listen)
{
    sv->svc.config = (struct config){.listen = xstrdup(listen),
                                     .state_dir = sv->dir,
                                     .body_limit = 1 << 20,
                                     .connection_limit = 100,
                                     .per_ip_limit = 64,
                                     .request_timeout_s = 1,
                                     .idle_timeout_s = 2,
                                     .allowed_hosts = (char *)(uintptr_t) "models.example"};
    sv->svc.health = (struct health){.store_ok = true, .workers_ok = true, .disk_ok = true};
}

static void server_start(struct server *sv, const char *listen)
{
    struct err err;

    signal(SIGPIPE, SIG_IGN);
    memset(sv, 0, sizeof *sv);
    strcpy(sv->dir, "/tmp/test_api_XXXXXX");
    assert_non_null(mkdtemp(sv->dir));
    configure(sv, listen);
    assert_int_equal(loop_new(&sv->svc.loop, &err), 0);
    sv->svc.metrics = metrics_new();
    if (api_start(&sv->api, &sv->svc, &err) < 0)
        fail_msg("api_start: %s", err.text);
    snprintf(sv->address, sizeof sv->address, "%s", api_address(sv->api));
    sv->port = (uint16_t)atoi(strrchr(sv->address, ':') + 1);
    assert_int_equal(pthread_create(&sv->thread, NULL, serve, sv), 0);
}

static void order_end(struct server *sv, void *arg)
{
    (void)arg;
    if (sv->api)
        api_stop(TAKE(sv->api));
    loop_stop(sv->svc.loop);
}

static void server_stop(struct server *sv)
{
    char path[128];

    on_loop(sv, order_end, NULL);
    pthread_join(sv->thread, NULL);
    fake_release(&sv->svc);
    assert_int_equal(sv->svc.n_watches, 0);
    assert_int_equal(sv->svc.n_pending, 0);
    for (size_t i = 0; i < sv->svc.n_jobs; i++)
        job_record_done(&sv->svc.job[i].rec);
    loop_free(sv->svc.loop);
    metrics_free(sv->svc.metrics);
    free(sv->svc.config.listen);
    snprintf(path, sizeof path, "%s/token.key", sv->dir);
    unlink(path);
    assert_int_equal(rmdir(sv->dir), 0); /* no socket file and no temporary file is left */
}

static int setup(void **state)
{
    struct server *sv = xcalloc(1, sizeof *sv);

    server_start(sv, "127.0.0.1:0");
    *state = sv;
    return 0;
}

static int teardown(void **state)
{
    server_stop(*state);
    free(*state);
    return 0;
}

/* --- a client -------------------------------------------------------------------------------- */

struct got {
    int status; /* 0: the connection ended without a reply */
    char head[8192];
    char *body;
    size_t len;
};

static void got_done(struct got *g)
{
    free(g->body);
    *g = (struct got){0};
}

static int dial(const struct server *sv)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(sv->port)};
    struct timeval tv = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

static bool say(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

/* Value of a header, copied; "" when it is missing. */
static const char *header(const struct got *g, const char *name)
{
    static char value[1024];
    char want[64];
    const char *at;
    size_t n;

    snprintf(want, sizeof want, "\r\n%s: ", name);
    at = strcasestr(g->head, want);
    value[0] = '\0';
    if (at) {
        at += strlen(want);
        n = strcspn(at, "\r");
        assert_true(n < sizeof value);
        memcpy(value, at, n);
        value[n] = '\0';
    }
    return value;
}

static struct got hear_as(int fd, bool head_only)
{
    struct got g = {0};
    size_t n = 0, want;

    while (n < sizeof g.head - 1 && recv(fd, g.head + n, 1, 0) == 1) {
        g.head[++n] = '\0';
        if (n >= 4 && memcmp(g.head + n - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    if (sscanf(g.head, "HTTP/1.%*d %d", &g.status) != 1)
        return g;
    if (g.status == 100) /* and the final reply follows */
        return hear_as(fd, head_only);
    want = (size_t)atol(header(&g, "Content-Length"));
    g.body = xcalloc(want + 1, 1);
    if (!head_only && g.status != 304 && g.status != 204)
        while (g.len < want) {
            ssize_t k = recv(fd, g.body + g.len, want - g.len, 0);

            if (k <= 0)
                break;
            g.len += (size_t)k;
        }
    return g;
}

static struct got hear(int fd)
{
    return hear_as(fd, false);
}

static struct got ask(const struct server *sv, const char *text)
{
    int fd = dial(sv);
    struct got g;

    say(fd, text);
    g = hear(fd);
    close(fd);
    return g;
}

static struct got get(const struct server *sv, const char *target, const char *headers)
{
    AUTO(freep) char *text =
        xasprintf("GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", target, headers);

    return ask(sv, text);
}

static char *post_text(const char *body, const char *headers)
{
    return xasprintf("POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                     "application/json\r\nContent-Length: %zu\r\n%s\r\n%s",
                     strlen(body), headers, body);
}

static struct got post(const struct server *sv, const char *body, const char *headers)
{
    AUTO(freep) char *text = post_text(body, headers);

    return ask(sv, text);
}

static bool closed_by_peer(int fd)
{
    char c;

    return recv(fd, &c, 1, 0) <= 0 && errno != EAGAIN;
}

static json_t *parse(const struct got *g)
{
    json_t *j = json_loadb(g->body, g->len, 0, NULL);

    if (!j)
        fail_msg("not JSON: %.300s", g->body);
    return j;
}

static const char *text_of(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));

    return s ? s : "";
}

/* Every error must be a problem document that agrees with the reply around it. */
static void assert_problem(struct got *g, int status, const char *code, const char *pointer)
{
    json_t *p;
    const json_t *first;

    assert_int_equal(g->status, status);
    assert_string_equal(header(g, "Content-Type"), "application/problem+json");
    p = parse(g);
    assert_int_equal(json_integer_value(json_object_get(p, "status")), status);
    assert_string_equal(text_of(p, "code"), code);
    assert_memory_equal(text_of(p, "type"), "/problems/", 10);
    assert_true(*text_of(p, "title") && *text_of(p, "detail"));
    assert_string_equal(text_of(p, "instance"), header(g, "X-Request-Id"));
    first = json_array_get(json_object_get(p, "errors"), 0);
    if (*pointer == '?')
        assert_string_equal(text_of(first, "parameter"), pointer + 1);
    else if (*pointer)
        assert_string_equal(text_of(first, "pointer"), pointer);
    json_decref(p);
    got_done(g);
}

static void job_of(struct got *g, char id[IDENT_MAX], char etag[128])
{
    json_t *j = parse(g);

    snprintf(id, IDENT_MAX, "%s", text_of(j, "id"));
    snprintf(etag, 128, "%s", header(g, "ETag"));
    assert_true(ident_valid(id, "job_"));
    json_decref(j);
    got_done(g);
}

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
    struct fake_job *j = find(&sv->svc, arg);

    j->rec.state = JOB_SUCCEEDED;
    j->rec.version++;
    change_job(&sv->svc, j);
}

static void order_progress(struct server *sv, void *arg)
{
    change_job(&sv->svc, find(&sv->svc, arg));
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
    AUTO(freep) char *text =
        xasprintf("GET /v1/jobs/%s HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: %s\r\n"
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
    char id[IDENT_MAX], etag[128], text[256];

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
    on_loop(sv, order_finish, id);
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
    AUTO(freep) char *text =
        xasprintf("%sGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n%s", job, job);
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
    server_start(&sv, listen);
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

#define HTTP_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_routing),
        HTTP_TEST(test_methods),
        HTTP_TEST(test_head_is_get),
        HTTP_TEST(test_host),
        HTTP_TEST(test_request_id),
        HTTP_TEST(test_long_targets),
        HTTP_TEST(test_bad_bodies),
        HTTP_TEST(test_media_type),
        HTTP_TEST(test_announced_too_large),
        HTTP_TEST(test_chunked_too_large),
        HTTP_TEST(test_chunked_body),
        HTTP_TEST(test_framing),
        HTTP_TEST(test_refused_keeps_connection),
        HTTP_TEST(test_create),
        HTTP_TEST(test_create_refused),
        HTTP_TEST(test_create_and_wait),
        HTTP_TEST(test_long_poll),
        HTTP_TEST(test_client_leaves),
        HTTP_TEST(test_half_closed),
        HTTP_TEST(test_cancel_and_delete),
        HTTP_TEST(test_pipelined),
        HTTP_TEST(test_slow_clients),
        HTTP_TEST(test_half_a_request),
        HTTP_TEST(test_stop_answers_all),
        HTTP_TEST(test_ready),
        HTTP_TEST(test_metrics),
        HTTP_TEST(test_openapi_is_served),
        cmocka_unit_test(test_unix_socket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
