/* api_fake.c: see api_fake.h. */
#include "api_fake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

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
    return (struct job_view){
        .job = &j->rec, .fraction = 0.25, .eta_s = 3, .message = "layer", .change = j->change};
}

struct fake_job *fake_find(struct service *s, const char *id)
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
        p->run(p->arg, p->svc->store);
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

void fake_release(struct service *s)
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

    assert_true(s->n_jobs <= FAKE_JOBS);
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

void service_job_label(struct service *s, const char *id, const json_t *patch, const char *if_match,
                       job_match *match, job_cb *cb, void *arg)
{
    struct fake_job *j = fake_find(s, id);
    struct job_view v = j ? view_of(j) : (struct job_view){0};

    (void)patch;
    if (j && !match(if_match, &v))
        answer(s, NULL, ERR_STALE, "", "it has changed", cb, arg);
    else
        answer(s, j, ERR_NOT_FOUND, "", "no such job", cb, arg);
}

void service_analysis_label(struct service *s, const char *id, const json_t *patch,
                            const char *if_match, analysis_match *match, analysis_cb *cb, void *arg)
{
    (void)s;
    (void)id;
    (void)patch;
    (void)if_match;
    (void)match;
    (void)cb;
    (void)arg;
    fail_msg("the fake has no analyses to label");
}

int service_key_begin(struct service *s, const char *owner, const char *key, struct err *err)
{
    (void)s;
    (void)owner;
    (void)key;
    (void)err;
    return 0;
}

void service_key_end(struct service *s, const char *owner, const char *key)
{
    (void)s;
    (void)owner;
    (void)key;
}

void service_job_get(struct service *s, const char *id, job_cb *cb, void *arg)
{
    answer(s, fake_find(s, id), ERR_NOT_FOUND, "", "no such job", cb, arg);
}

void service_job_cancel(struct service *s, const char *id, job_cb *cb, void *arg)
{
    struct fake_job *j = fake_find(s, id);

    if (j && !job_state_final(j->rec.state))
        j->rec.state = JOB_CANCELLING;
    answer(s, j, ERR_NOT_FOUND, "", "no such job", cb, arg);
}

void service_job_delete(struct service *s, const char *id, job_cb *cb, void *arg)
{
    struct fake_job *j = fake_find(s, id);
    bool final = j && job_state_final(j->rec.state);

    answer(s, NULL, !j ? ERR_NOT_FOUND : final ? 0 : ERR_CONFLICT, "", "no", cb, arg);
}

const struct job_view *service_job_live(struct service *s, const char *id, struct job_view *buf)
{
    struct fake_job *j = fake_find(s, id);

    if (!j || !j->active)
        return NULL;
    *buf = view_of(j);
    return buf;
}

struct job_watch *service_job_watch(struct service *s, const char *id, job_cb *cb, void *arg)
{
    struct fake_job *j = fake_find(s, id);
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

void fake_change(struct service *s, struct fake_job *j)
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

void on_loop(struct server *sv, void (*run)(struct server *sv, void *arg), void *arg)
{
    struct order o = {.run = run,
                      .sv = sv,
                      .arg = arg,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
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
                                     .reply_cache_bytes = 1 << 20,
                                     .allowed_hosts = (char *)(uintptr_t) "models.example"};
    sv->svc.health = (struct health){.store_ok = true, .workers_ok = true, .disk_ok = true};
}

void server_start(struct server *sv, const char *listen, unsigned request_s, unsigned idle_s)
{
    const struct store_options options = {.dir = sv->dir};
    struct err err;

    signal(SIGPIPE, SIG_IGN);
    memset(sv, 0, sizeof *sv);
    strcpy(sv->dir, "/tmp/test_api_XXXXXX");
    assert_non_null(mkdtemp(sv->dir));
    configure(sv, listen);
    sv->svc.config.request_timeout_s = request_s;
    sv->svc.config.idle_timeout_s = idle_s;
    assert_int_equal(loop_new(&sv->svc.loop, &err), 0);
    sv->svc.metrics = metrics_new();
    if (store_open_sqlite(&options, &sv->svc.store, &err) < 0)
        fail_msg("store_open_sqlite: %s", err.text);
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

/* No socket and no half-written file may be left. */
static void remove_dir(const char *dir)
{
    static const char *const known[] = {"token.key", "state.db",     "state.db-wal",
                                        "cache.db",  "cache.db-wal", "lock"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        AUTO(freep) char *path = xasprintf("%s/%s", dir, known[i]);

        (void)unlink(path);
    }
    {
        AUTO(freep) char *blobs = xasprintf("%s/blobs", dir);

        (void)rmdir(blobs);
    }
    assert_int_equal(rmdir(dir), 0);
}

void server_stop(struct server *sv)
{
    on_loop(sv, order_end, NULL);
    pthread_join(sv->thread, NULL);
    fake_release(&sv->svc);
    assert_int_equal(sv->svc.n_watches, 0);
    assert_int_equal(sv->svc.n_pending, 0);
    for (size_t i = 0; i < sv->svc.n_jobs; i++)
        job_record_done(&sv->svc.job[i].rec);
    store_close(sv->svc.store);
    loop_free(sv->svc.loop);
    metrics_free(sv->svc.metrics);
    free(sv->svc.config.listen);
    remove_dir(sv->dir);
}

int server_setup(void **state)
{
    struct server *sv = xcalloc(1, sizeof *sv);

    server_start(sv, "127.0.0.1:0", 1, 2);
    *state = sv;
    return 0;
}

int server_teardown(void **state)
{
    server_stop(*state);
    free(*state);
    return 0;
}

/* --- a client -------------------------------------------------------------------------------- */

void got_done(struct got *g)
{
    free(g->body);
    *g = (struct got){0};
}

int dial(const struct server *sv)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(sv->port)};
    struct timeval tv = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

bool say(int fd, const char *text)
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

const char *header(const struct got *g, const char *name)
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

struct got hear_as(int fd, bool head_only)
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

struct got hear(int fd)
{
    return hear_as(fd, false);
}

struct got ask(const struct server *sv, const char *text)
{
    int fd = dial(sv);
    struct got g;

    say(fd, text);
    g = hear(fd);
    close(fd);
    return g;
}

struct got get(const struct server *sv, const char *target, const char *headers)
{
    AUTO(freep)
    char *text = xasprintf("GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", target, headers);

    return ask(sv, text);
}

char *post_text(const char *body, const char *headers)
{
    return xasprintf("POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                     "application/json\r\nContent-Length: %zu\r\n%s\r\n%s",
                     strlen(body), headers, body);
}

struct got post(const struct server *sv, const char *body, const char *headers)
{
    AUTO(freep) char *text = post_text(body, headers);

    return ask(sv, text);
}

bool closed_by_peer(int fd)
{
    char c;

    return recv(fd, &c, 1, 0) <= 0 && errno != EAGAIN;
}

json_t *parse(const struct got *g)
{
    json_t *j = json_loadb(g->body, g->len, 0, NULL);

    if (!j)
        fail_msg("not JSON: %.300s", g->body);
    return j;
}

const char *text_of(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));

    return s ? s : "";
}

void assert_problem(struct got *g, int status, const char *code, const char *pointer)
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

void job_of(struct got *g, char id[IDENT_MAX], char etag[128])
{
    json_t *j = parse(g);

    snprintf(id, IDENT_MAX, "%s", text_of(j, "id"));
    snprintf(etag, 128, "%s", header(g, "ETag"));
    assert_true(ident_valid(id, "job_"));
    json_decref(j);
    got_done(g);
}
