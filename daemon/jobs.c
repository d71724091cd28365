/* jobs.c: active jobs: their life, their watchers, and the calls that concern one of them.
 *
 * The store is the truth; an active job's record here is its newest copy. Every message to another
 * thread holds a reference, so a job that ended stays in memory until the last one returned.
 */
#include "daemon/jobs.h"

#include "common/json_text.h"
#include "daemon/analyze_params.h"
#include "daemon/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- references ---------------------------------------------------------------------------- */

struct job *job_ref(struct job *j)
{
    j->refs++;
    return j;
}

void job_unref(struct job *j)
{
    if (--j->refs > 0)
        return;
    analyze_free(j->work);
    job_record_done(&j->rec);
    free(j);
}

struct job_call {
    struct job *job;
    void (*run)(void *arg, void *state);
    actor_done *done;
    void *arg;
};

static void call_run(void *arg, void *state)
{
    struct job_call *c = arg;

    c->run(c->arg, state);
}

static void call_done(void *arg, const struct err *err)
{
    struct job_call *c = arg;

    c->done(c->arg, err);
    job_unref(c->job);
    free(c);
}

static void call(struct job *j, struct actor *actor, void (*run)(void *arg, void *state),
                 actor_done *done, void *arg)
{
    struct job_call *c = xmalloc(sizeof *c);

    *c = (struct job_call){job_ref(j), run, done, arg};
    actor_send(actor, call_run, call_done, c);
}

void job_call_store(struct job *j, void (*run)(void *arg, void *state), actor_done *done, void *arg)
{
    call(j, j->svc->store_actor, run, done, arg);
}

void job_call_file(struct job *j, void (*run)(void *arg, void *state), actor_done *done, void *arg)
{
    call(j, j->svc->file_actor, run, done, arg);
}

/* --- views and watchers -------------------------------------------------------------------- */

static struct job *find(struct service *s, const char *id)
{
    for (struct job *j = s->jobs; j; j = j->next)
        if (strcmp(j->rec.id, id) == 0)
            return j;
    return NULL;
}

static struct job_view view_record(const struct job_record *rec)
{
    return (struct job_view){.job = rec,
                             .fraction = rec->state == JOB_SUCCEEDED ? 1 : 0,
                             .eta_s = rec->state == JOB_SUCCEEDED ? 0 : -1,
                             .message = ""};
}

static struct job_view view_job(const struct job *j)
{
    struct job_view v = view_record(&j->rec);
    const char *label = j->lane ? lane_label(j->lane) : NULL;
    double left = j->flops_total - j->flops_done;

    v.change = j->change;
    if (job_state_final(j->rec.state))
        return v;
    if (j->flops_total > 0) {
        v.fraction = j->flops_done / j->flops_total;
        v.eta_s = sched_eta_s(j->svc->sched, left > 0 ? left : 0);
    }
    v.message = label ? label : j->stage ? j->stage : "";
    return v;
}

const struct job_view *service_job_live(struct service *s, const char *id, struct job_view *buf)
{
    struct job *j = find(s, id);

    if (!j)
        return NULL;
    *buf = view_job(j);
    return buf;
}

struct job_watch *service_job_watch(struct service *s, const char *id, job_cb *cb, void *arg)
{
    struct job *j = find(s, id);
    struct job_watch *w;

    if (!j)
        return NULL;
    w = xcalloc(1, sizeof *w);
    *w = (struct job_watch){.next = j->watches, .cb = cb, .arg = arg};
    snprintf(w->job, sizeof w->job, "%s", j->rec.id);
    j->watches = w;
    return w;
}

void service_job_unwatch(struct service *s, struct job_watch *w)
{
    struct job *j = find(s, w->job);

    for (struct job_watch **p = j ? &j->watches : NULL; p && *p; p = &(*p)->next)
        if (*p == w) {
            *p = w->next;
            free(w);
            return;
        }
}

/* A callback may end its own watch or another, so each is looked up again before its turn. */
static void tell_watchers(struct job *j)
{
    struct job_view v = view_job(j);
    size_t n = 0;
    struct job_watch **all;

    for (struct job_watch *w = j->watches; w; w = w->next)
        n++;
    if (n == 0)
        return;
    all = xcalloc(n, sizeof *all);
    n = 0;
    for (struct job_watch *w = j->watches; w; w = w->next)
        all[n++] = w;
    for (size_t i = 0; i < n; i++)
        for (struct job_watch *w = j->watches; w; w = w->next)
            if (w == all[i]) {
                w->cb(w->arg, NULL, &v);
                break;
            }
    free(all);
}

void job_changed(struct job *j)
{
    j->change++;
    tell_watchers(j);
}

void job_decided(struct job *j)
{
    job_cb *cb = j->submit_cb;
    struct job_view v;

    if (!cb)
        return;
    j->submit_cb = NULL;
    v = view_job(j);
    cb(j->submit_arg, NULL, &v);
}

/* --- the end of a job ---------------------------------------------------------------------- */

static void claim_more(struct service *s);

static void leave_registry(struct job *j)
{
    struct service *s = j->svc;

    for (struct job **p = &s->jobs; *p; p = &(*p)->next)
        if (*p == j) {
            *p = j->next;
            s->n_jobs--;
            break;
        }
    metric_set(s->m_active, "", (double)s->n_jobs);
}

void job_ended(struct job *j)
{
    struct service *s = j->svc;
    char values[96];

    j->ended = true;
    lane_close(TAKE(j->lane));
    snprintf(values, sizeof values, "%s,%s,%s", j->rec.kind, job_state_name(j->rec.state),
             j->rec.reason ? j->rec.reason : "");
    metric_inc(s->m_finished, values, 1);
    if (j->rec.started_ms)
        metric_observe(s->m_run_s, j->rec.kind,
                       (double)(j->rec.finished_ms - j->rec.started_ms) / 1000);
    log_info("job %s %s%s%s: %llu layers, %llu cached, %llu solved", j->rec.id,
             job_state_name(j->rec.state), j->rec.reason ? " " : "",
             j->rec.reason ? j->rec.reason : "", (unsigned long long)j->rec.layers_total,
             (unsigned long long)j->rec.hits, (unsigned long long)j->rec.misses);
    s->n_unfinished -= s->n_unfinished > 0;
    job_decided(j);
    job_changed(j);
    while (j->watches) {
        struct job_watch *w = j->watches;

        j->watches = w->next;
        free(w);
    }
    leave_registry(j);
    job_unref(j);
    claim_more(s);
}

struct ending {
    struct job *job;
    struct job_record final;
    struct err err;
    unsigned tries;
};

static void end_run(void *arg, void *state)
{
    struct ending *e = arg;

    e->err.code = 0;
    (void)store_job_finish(job_store(state), &e->final, &e->err);
}

static void end_done(void *arg, const struct err *group_err);

static void end_again(void *arg)
{
    struct ending *e = arg;

    job_call_store(e->job, end_run, end_done, e);
    job_unref(e->job);
}

static void end_done(void *arg, const struct err *group_err)
{
    struct ending *e = arg;
    const struct err *err = group_err ? group_err : e->err.code ? &e->err : NULL;

    if (err && e->tries++ < 100) { /* a full disk: the end must not get lost */
        log_error("job %s: its end cannot be stored, trying again: %s", e->job->rec.id, err->text);
        (void)loop_after(job_ref(e->job)->svc->loop, 2000000000, end_again, e);
        return;
    }
    job_record_done(&e->job->rec);
    e->job->rec = e->final;
    e->job->rec.version++;
    job_ended(e->job);
    free(e);
}

static char *error_json(const struct err *err)
{
    struct buf b = BUF_INIT;

    buf_printf(&b, "{");
    json_text_key_string(&b, "code", err_name(err->code));
    json_text_key_string(&b, "detail", err->text);
    buf_printf(&b, "}");
    buf_put_u8(&b, '\0');
    return (char *)b.data;
}

static void end_job(struct job *j, enum job_state state, const char *reason, const struct err *err)
{
    struct ending *e = xcalloc(1, sizeof *e);

    ASSERT(!j->ended);
    j->ended = true;
    lane_close(TAKE(j->lane));
    e->job = j;
    job_record_copy(&e->final, &j->rec);
    e->final.state = state;
    e->final.finished_ms = wall_ms();
    free(e->final.reason);
    free(e->final.error);
    e->final.reason = reason ? xstrdup(reason) : NULL;
    e->final.error = err ? error_json(err) : NULL;
    job_call_store(j, end_run, end_done, e);
}

void job_fail(struct job *j, const char *reason, const struct err *err)
{
    end_job(j, JOB_FAILED, reason, err);
}

static const char *reason_of(int code)
{
    switch (code) {
    case ERR_DEADLINE:
        return "deadline_exceeded";
    case ERR_NOMEM:
        return "out_of_memory";
    case ERR_CRASHED:
        return "worker_crashed";
    case ERR_NUMERIC:
        return "not_converged";
    case ERR_FULL:
    case ERR_IO:
        return "storage_failed";
    default:
        return "input_invalid";
    }
}

void job_fail_err(struct job *j, const struct err *err)
{
    job_fail(j, reason_of(err->code), err);
}

/* --- the start of a job -------------------------------------------------------------------- */

/* `rec` is taken, `src` too. */
static struct job *activate(struct service *s, struct job_record *rec)
{
    struct job *j = xcalloc(1, sizeof *j);

    j->svc = s;
    j->refs = 1;
    j->rec = *rec;
    memset(rec, 0, sizeof *rec);
    j->lane = lane_open(s->sched, j->rec.owner);
    j->rec.layers_done = j->rec.layers_total = 0;
    j->next = s->jobs;
    s->jobs = j;
    s->n_jobs++;
    metric_set(s->m_active, "", (double)s->n_jobs);
    return j;
}

struct claim {
    struct service *svc;
    struct job_record rec;
    struct err err;
    uint64_t counts[JOB_STATE_COUNT];
    size_t recovered;
    bool recover;
};

static void claim_run(void *arg, void *state)
{
    struct claim *c = arg;
    struct store *st = job_store(state);
    int64_t now = wall_ms();

    if (c->recover) {
        (void)store_job_recover(st, JOBS_NODE, now, &c->recovered, NULL);
        (void)store_job_counts(st, c->counts, NULL);
    }
    (void)store_job_claim(st, JOBS_NODE, NULL, now + JOBS_LEASE_MS, &c->rec, &c->err);
}

static void claim_done(void *arg, const struct err *group_err)
{
    struct claim *c = arg;
    struct service *s = c->svc;

    s->claiming = false;
    if (c->recover) {
        s->n_unfinished += c->counts[JOB_QUEUED] + c->counts[JOB_RUNNING];
        if (c->recovered)
            log_info("%zu unfinished jobs of an earlier run go on", c->recovered);
    }
    if (!group_err && c->err.code == 0 && !s->draining) {
        analyze_start(activate(s, &c->rec), NULL);
        claim_more(s);
    }
    job_record_done(&c->rec);
    free(c);
}

static void claim_next(struct service *s, bool recover)
{
    struct claim *c = xcalloc(1, sizeof *c);

    c->svc = s;
    c->recover = recover;
    s->claiming = true;
    actor_send(s->store_actor, claim_run, claim_done, c);
}

static void claim_more(struct service *s)
{
    if (!s->claiming && !s->draining && s->n_jobs < JOBS_ACTIVE_MAX && s->n_unfinished > s->n_jobs)
        claim_next(s, false);
}

void jobs_recover(struct service *s)
{
    claim_next(s, true);
}

struct renewal {
    struct err err;
};

static void renew_run(void *arg, void *state)
{
    struct renewal *r = arg;

    (void)store_job_renew(job_store(state), JOBS_NODE, wall_ms() + JOBS_LEASE_MS, &r->err);
}

static void renew_done(void *arg, const struct err *err)
{
    (void)err; /* the next renewal tries again, long before the lease ends */
    free(arg);
}

void jobs_renew(struct service *s)
{
    int64_t now = wall_ms();

    if (s->n_jobs == 0 || now - s->renewed_ms < JOBS_LEASE_MS / 3)
        return;
    s->renewed_ms = now;
    actor_send(s->store_actor, renew_run, renew_done, xcalloc(1, sizeof(struct renewal)));
}

void jobs_abandon(struct service *s)
{
    for (struct job *j = s->jobs; j; j = j->next) {
        j->ended = true;
        lane_close(TAKE(j->lane));
        while (j->watches) {
            struct job_watch *w = j->watches;

            j->watches = w->next;
            free(w);
        }
    }
}

/* --- submit -------------------------------------------------------------------------------- */

struct submit {
    struct service *svc;
    json_t *json_source, *json_params, *json_labels; /* as sent; for the file thread */
    struct job_record rec, claimed;
    char *path;
    struct source *source;
    job_cb *cb;
    void *arg;
    bool claim;
    struct err err;
};

static void submit_free(struct submit *q)
{
    job_record_done(&q->rec);
    job_record_done(&q->claimed);
    source_free(q->source);
    json_decref(q->json_source);
    json_decref(q->json_params);
    json_decref(q->json_labels);
    free(q->path);
    free(q);
}

static void submit_failed(struct submit *q, const struct err *err)
{
    q->cb(q->arg, err, NULL);
    submit_free(q);
}

static void submit_store_run(void *arg, void *state)
{
    struct submit *q = arg;
    struct store *st = job_store(state);

    if (store_job_submit(st, &q->rec, &q->err) < 0 || !q->claim)
        return;
    (void)store_job_claim(st, JOBS_NODE, q->rec.id, wall_ms() + JOBS_LEASE_MS, &q->claimed,
                          &q->err);
}

static void submit_stored(void *arg, const struct err *group_err)
{
    struct submit *q = arg;
    struct service *s = q->svc;
    const struct err *err = group_err ? group_err : q->err.code ? &q->err : NULL;

    if (err) {
        s->n_unfinished--;
        submit_failed(q, err);
        return;
    }
    if (q->claim) {
        struct job *j = activate(s, &q->claimed);

        j->submit_cb = q->cb;
        j->submit_arg = q->arg;
        analyze_start(j, TAKE(q->source));
    } else { /* it waits its turn in the store */
        struct job_view v = view_record(&q->rec);

        q->cb(q->arg, NULL, &v);
        claim_more(s);
    }
    submit_free(q);
}

static void submit_opened(void *arg, const struct err *group_err)
{
    struct submit *q = arg;
    struct service *s = q->svc;

    (void)group_err;
    if (q->err.code) {
        struct err err = q->err;

        submit_failed(q, &err);
        return;
    }
    q->claim = s->n_jobs < JOBS_ACTIVE_MAX && !s->draining;
    s->n_unfinished++;
    actor_send(s->store_actor, submit_store_run, submit_stored, q);
}

static int check_source(const json_t *source, char **path, struct err *err)
{
    const json_t *p = json_object_get(source, "path");
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)source, key, v)
    {
        char pointer[ERR_POINTER_MAX];

        if (strcmp(key, "path") == 0)
            continue;
        snprintf(pointer, sizeof pointer, "/source/%.64s", key);
        return err_set_at(err, ERR_INVALID, pointer, "source has no member \"%.64s\"; give a path",
                          key);
    }
    if (!json_is_string(p) || json_string_length(p) == 0)
        return err_set_at(err, ERR_INVALID, "/source/path", "source.path must be a string");
    if (strlen(json_string_value(p)) != json_string_length(p))
        return err_set_at(err, ERR_INVALID, "/source/path", "source.path holds a NUL character");
    *path = xstrdup(json_string_value(p));
    return 0;
}

static char *dumps(const json_t *v)
{
    char *text = v ? json_dumps(v, JSON_COMPACT) : xstrdup("{}");

    ASSERT(text != NULL);
    return text;
}

static int fill_record(struct submit *q)
{
    struct analyze_params params;
    int r = check_source(q->json_source, &q->path, &q->err);

    if (r == 0)
        r = analyze_params_parse(q->json_params, &params, &q->err);
    if (r < 0)
        return r;
    r = layer_filter_check(&params.filter, &q->err);
    q->rec.source = dumps(q->json_source);
    q->rec.params = analyze_params_text(&params);
    q->rec.labels = dumps(q->json_labels);
    analyze_params_done(&params);
    return r;
}

/* On the file thread: long lists and regular expressions take time as well. */
static void submit_open_run(void *arg, void *state)
{
    struct submit *q = arg;

    (void)state;
    if (q->err.code == 0 && fill_record(q) == 0)
        (void)source_open(q->svc->config, q->path, &q->source, &q->err);
}

static int check_acceptance(const struct service *s, const char *kind, struct err *err)
{
    if (s->draining)
        return err_set(err, ERR_BUSY, "the server is shutting down");
    if (s->n_unfinished >= s->config->queue_limit)
        return err_set(err, ERR_BUSY, "the queue is full: %llu unfinished jobs",
                       (unsigned long long)s->n_unfinished);
    if (!s->health.disk_ok)
        return err_set(err, ERR_FULL, "the state directory is low on space: %s",
                       s->health.disk_detail);
    if (strcmp(kind, "analyze") != 0)
        return err_set_at(err, ERR_INVALID, "/kind", "kind must be \"analyze\"");
    return 0;
}

void service_job_submit(struct service *s, const struct job_request *rq, job_cb *cb, void *arg)
{
    struct submit *q = xcalloc(1, sizeof *q);

    q->svc = s;
    q->cb = cb;
    q->arg = arg;
    q->json_source = json_incref((json_t *)(uintptr_t)rq->source);
    q->json_params = json_incref((json_t *)(uintptr_t)rq->params);
    q->json_labels = json_incref((json_t *)(uintptr_t)rq->labels);
    q->rec.kind = xstrdup(rq->kind);
    q->rec.owner = xstrdup(rq->owner);
    q->rec.created_ms = wall_ms();
    ident_new(q->rec.id, "job_");
    (void)check_acceptance(s, rq->kind, &q->err);
    actor_send(s->file_actor, submit_open_run, submit_opened, q);
}
/* --- get, cancel, delete ------------------------------------------------------------------- */

enum verb { VERB_GET, VERB_CANCEL, VERB_DELETE };

struct job_verb {
    struct service *svc;
    enum verb verb;
    char id[IDENT_MAX];
    struct job_record rec;
    struct err err;
    job_cb *cb;
    void *arg;
};

static void verb_run(void *arg, void *state)
{
    struct job_verb *v = arg;
    struct store *st = job_store(state);

    if (v->verb == VERB_GET)
        (void)store_job_get(st, v->id, &v->rec, &v->err);
    else if (v->verb == VERB_CANCEL)
        (void)store_job_cancel(st, v->id, wall_ms(), &v->rec, &v->err);
    else
        (void)store_job_delete(st, v->id, &v->err);
}

/* The store says "cancelling": stop the work; its end is stored like any other. */
static void cancel_active(struct service *s, const char *id)
{
    struct job *j = find(s, id);

    if (j && !j->ended) {
        j->rec.state = JOB_CANCELLING;
        end_job(j, JOB_CANCELLED, NULL, NULL);
        job_changed(j); /* a long poll sees it now, and again when it has ended */
    }
}

static void verb_done(void *arg, const struct err *group_err)
{
    struct job_verb *v = arg;
    bool writes = v->verb != VERB_GET;
    const struct err *err = writes && group_err ? group_err : v->err.code ? &v->err : NULL;
    struct job_view live;
    struct job *j = find(v->svc, v->id);

    if (err || v->verb == VERB_DELETE) {
        v->cb(v->arg, err, NULL);
    } else {
        if (v->verb == VERB_CANCEL)
            cancel_active(v->svc, v->id);
        if (v->verb == VERB_CANCEL && !j && v->rec.state == JOB_CANCELLED)
            v->svc->n_unfinished -= v->svc->n_unfinished > v->svc->n_jobs;
        live = j ? view_job(j) : view_record(&v->rec);
        v->cb(v->arg, NULL, &live);
    }
    job_record_done(&v->rec);
    free(v);
}

static void send_verb(struct service *s, enum verb verb, const char *id, job_cb *cb, void *arg)
{
    struct job_verb *v = xcalloc(1, sizeof *v);

    *v = (struct job_verb){.svc = s, .verb = verb, .cb = cb, .arg = arg};
    snprintf(v->id, sizeof v->id, "%s", id);
    actor_send(s->store_actor, verb_run, verb_done, v);
}

void service_job_get(struct service *s, const char *id, job_cb *cb, void *arg)
{
    send_verb(s, VERB_GET, id, cb, arg);
}

void service_job_cancel(struct service *s, const char *id, job_cb *cb, void *arg)
{
    send_verb(s, VERB_CANCEL, id, cb, arg);
}

void service_job_delete(struct service *s, const char *id, job_cb *cb, void *arg)
{
    send_verb(s, VERB_DELETE, id, cb, arg);
}
