/* jobs_submit.c: a new job, from the request to the moment it is stored and begun. */
#include "daemon/jobs.h"

#include "daemon/analyze_params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        struct job *j = jobs_activate(s, &q->claimed);

        j->submit_cb = q->cb;
        j->submit_arg = q->arg;
        analyze_start(j, TAKE(q->source));
    } else { /* it waits its turn in the store */
        struct job_view v = jobs_view_record(&q->rec);

        q->cb(q->arg, NULL, &v);
        jobs_claim_more(s);
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
