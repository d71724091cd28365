/* jobs.c: active jobs: their life, their watchers, and the calls that concern one of them.
 *
 * The store is the truth; an active job's record here is its newest copy. Every message to another
 * thread holds a reference, so a job that ended stays in memory until the last one returned.
 */
#include "daemon/jobs.h"

#include "common/json_out.h"
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

struct job *jobs_find(struct service *s, const char *id)
{
    for (struct job *j = s->jobs; j; j = j->next)
        if (strcmp(j->rec.id, id) == 0)
            return j;
    return NULL;
}

struct job_view jobs_view_record(const struct job_record *rec)
{
    return (struct job_view){.job = rec,
                             .fraction = rec->state == JOB_SUCCEEDED ? 1 : 0,
                             .eta_s = rec->state == JOB_SUCCEEDED ? 0 : -1,
                             .message = ""};
}

struct job_view jobs_view(const struct job *j)
{
    struct job_view v = jobs_view_record(&j->rec);
    const char *label = j->lane ? lane_label(j->lane) : NULL;
    double left = j->flops_total - j->flops_done;

    v.change = j->change;
    if (job_state_final(j->rec.state))
        return v;
    if (j->flops_total > 0) {
        /* What is done was added up in another order than the total: the last bits may differ. */
        v.fraction = left > 0 ? j->flops_done / j->flops_total : 1;
        v.eta_s = sched_eta_s(j->svc->sched, left > 0 ? left : 0);
    }
    v.message = label ? label : j->stage ? j->stage : "";
    return v;
}

const struct job_view *service_job_live(struct service *s, const char *id, struct job_view *buf)
{
    struct job *j = jobs_find(s, id);

    if (!j)
        return NULL;
    *buf = jobs_view(j);
    return buf;
}

struct job_watch *service_job_watch(struct service *s, const char *id, job_cb *cb, void *arg)
{
    struct job *j = jobs_find(s, id);
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
    struct job *j = jobs_find(s, w->job);

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
    struct job_view v = jobs_view(j);
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
    v = jobs_view(j);
    cb(j->submit_arg, NULL, &v);
}

/* --- the end of a job ---------------------------------------------------------------------- */

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
    jobs_claim_more(s);
}

void job_finalize(struct job *j, struct job_record *final)
{
    free(final->labels);
    final->labels = TAKE(j->rec.labels);
    final->version = j->rec.version + 1;
    job_record_done(&j->rec);
    j->rec = *final;
    memset(final, 0, sizeof *final);
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
    job_finalize(e->job, &e->final);
    job_ended(e->job);
    free(e);
}

static char *error_json(const struct err *err)
{
    struct buf b = BUF_INIT;

    buf_printf(&b, "{");
    json_text_key_string(&b, "code", err_name(err->code));
    json_text_key_string(&b, "detail", err->text);
    if (*err->pointer)
        json_out_text(&b, "pointer", err->pointer);
    buf_printf(&b, "}");
    buf_put_u8(&b, '\0');
    return (char *)b.data;
}

void jobs_end(struct job *j, enum job_state state, const char *reason, const struct err *err)
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
    jobs_end(j, JOB_FAILED, reason, err);
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
    case ERR_QUOTA:
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

struct job *jobs_activate(struct service *s, struct job_record *rec)
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
        analyze_start(jobs_activate(s, &c->rec), NULL);
        jobs_claim_more(s);
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

void jobs_claim_more(struct service *s)
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
