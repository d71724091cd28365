/* jobs_verbs.c: calls that concern one job: get, cancel, delete. */
#include "daemon/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
static void cancel_active(struct service *s, const struct job_record *stored)
{
    struct job *j = jobs_find(s, stored->id);

    if (j && !j->ended) {
        j->rec.version = stored->version;
        j->rec.state = JOB_CANCELLING;
        jobs_end(j, JOB_CANCELLED, NULL, NULL);
        job_changed(j); /* a long poll sees it now, and again when it has ended */
    }
}

static void verb_done(void *arg, const struct err *group_err)
{
    struct job_verb *v = arg;
    bool writes = v->verb != VERB_GET;
    const struct err *err = writes && group_err ? group_err : v->err.code ? &v->err : NULL;
    struct job_view live;
    struct job *j = jobs_find(v->svc, v->id);

    if (err || v->verb == VERB_DELETE) {
        v->cb(v->arg, err, NULL);
    } else {
        if (v->verb == VERB_CANCEL)
            cancel_active(v->svc, &v->rec);
        if (v->verb == VERB_CANCEL && !j && v->rec.state == JOB_CANCELLED)
            v->svc->n_unfinished -= v->svc->n_unfinished > v->svc->n_jobs;
        live = j ? jobs_view(j) : jobs_view_record(&v->rec);
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
