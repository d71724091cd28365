/* jobs_submit.c: a new job, from the request to the moment it is stored and begun. */
#include "daemon/jobs.h"

#include "daemon/analyze_params.h"
#include "daemon/distance_params.h"
#include "daemon/locate.h"
#include "daemon/plan_job.h"
#include "daemon/prune_params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct submit {
    struct service *svc;
    json_t *json_source, *json_params, *json_labels; /* as sent; for the file thread */
    struct job_record rec, claimed;
    struct source_ref ref;
    char base_upload[IDENT_MAX]; /* of params.base, or "" */
    char *key;                   /* idempotency key or NULL */
    struct key_use use;
    struct source *source;
    job_cb *cb;
    void *arg;
    bool claim;
    bool counted;  /* among s->n_unfinished */
    bool replayed; /* `claimed` is the job that the key made before */
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
    source_ref_done(&q->ref);
    free(q->key);
    free(q);
}

static void submit_failed(struct submit *q, const struct err *err)
{
    q->cb(q->arg, err, NULL);
    submit_free(q);
}

/* True when the key was used before: then q->claimed is its job, or q->err says why not. */
static bool replay(struct submit *q, struct store *st)
{
    struct err err = {0};
    char id[IDENT_MAX];
    int r = store_key_check(st, q->rec.owner, q->key, &q->use, id, &err);

    if (r == ERR_NOT_FOUND)
        return false;
    if (r == 0)
        r = store_job_get(st, id, &q->claimed, &err);
    if (r == ERR_NOT_FOUND)
        err_set(&err, r,
                "the job that this Idempotency-Key made has been deleted; the key stays used for "
                "24 hours");
    q->err = err;
    q->replayed = r == 0;
    return true;
}

/* It was there when it was opened. From the same commit on, the job holds it. */
static int check_upload(struct store *st, const char *id, const char *pointer, struct err *err)
{
    struct upload_record u = {0};
    int r = store_upload_get(st, id, &u, err);

    if (r < 0 && pointer)
        snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
    upload_record_done(&u);
    return r;
}

static void submit_store_run(void *arg, void *state)
{
    struct submit *q = arg;
    struct store *st = job_store(state);

    if (q->key && replay(q, st))
        return;
    if (q->err.code)
        return; /* a request that cannot be had leaves its key unused */
    if (*q->ref.upload && check_upload(st, q->ref.upload, NULL, &q->err) < 0)
        return;
    if (*q->base_upload && check_upload(st, q->base_upload, "/params/base/upload", &q->err) < 0)
        return;
    if (q->key && store_key_put(st, q->rec.owner, q->key, &q->use, &q->err) < 0)
        return;
    if (store_job_submit(st, &q->rec, &q->err) < 0 || !q->claim)
        return;
    (void)store_job_claim(st, JOBS_NODE, q->rec.id, wall_ms() + JOBS_LEASE_MS, &q->claimed,
                          &q->err);
}

static void tell_replayed(struct submit *q)
{
    const struct job *live = jobs_find(q->svc, q->claimed.id);
    struct job_view v = live ? jobs_view(live) : jobs_view_record(&q->claimed);

    v.replayed = true;
    q->cb(q->arg, NULL, &v);
}

static void submit_stored(void *arg, const struct err *group_err)
{
    struct submit *q = arg;
    struct service *s = q->svc;
    const struct err *err = group_err ? group_err : q->err.code ? &q->err : NULL;

    if (q->key)
        service_key_end(s, q->rec.owner, q->key);
    if (q->counted && (err || q->replayed))
        s->n_unfinished--;
    if (err) {
        submit_failed(q, err);
        return;
    }
    if (q->replayed) {
        tell_replayed(q);
    } else if (q->claim) {
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

/* With a key, a request that cannot be had now may still be the repetition of one that could. */
static void submit_to_store(struct submit *q)
{
    struct service *s = q->svc;

    if (q->err.code && !q->key) {
        struct err err = q->err;

        submit_failed(q, &err);
        return;
    }
    if (q->err.code == 0) {
        q->claim = s->n_jobs < JOBS_ACTIVE_MAX && !s->draining;
        q->counted = true;
        s->n_unfinished++;
    }
    actor_send(s->store_actor, submit_store_run, submit_stored, q);
}

static void submit_opened(void *arg, const struct err *err, struct source *src)
{
    struct submit *q = arg;

    if (err)
        q->err = *err;
    q->source = src;
    submit_to_store(q);
}

static void submit_checked(void *arg, const struct err *group_err)
{
    struct submit *q = arg;

    (void)group_err;
    if (q->err.code)
        submit_to_store(q);
    else
        locate_source(q->svc, &q->ref, submit_opened, q);
}

static char *dumps(const json_t *v)
{
    char *text = v ? json_dumps(v, JSON_COMPACT) : xstrdup("{}");

    ASSERT(text != NULL);
    return text;
}

static int analyze_params(struct submit *q)
{
    struct analyze_params params;
    int r = analyze_params_parse(q->json_params, &params, &q->err);

    if (r < 0)
        return r;
    r = analyze_params_check(&params, q->svc->config, &q->err);
    memcpy(q->base_upload, params.base.upload, sizeof q->base_upload);
    q->rec.params = analyze_params_text(&params);
    analyze_params_done(&params);
    return r;
}

static int plan_params(struct submit *q)
{
    struct plan_job params;
    int r = plan_job_parse(q->json_params, &params, &q->err);

    if (r < 0)
        return r;
    r = plan_job_check(&params, q->svc->config, &q->err);
    q->rec.params = plan_job_text(&params);
    plan_job_done(&params);
    return r;
}

static int prune_params(struct submit *q)
{
    struct prune_params params;
    int r = strcmp(q->rec.kind, "decode") == 0
                ? prune_params_parse_decode(q->json_params, &params, &q->err)
                : prune_params_parse(q->json_params, &params, &q->err);

    if (r < 0)
        return r;
    r = prune_params_check(&params, q->svc->config, &q->err);
    q->rec.params = prune_params_text(&params);
    prune_params_done(&params);
    return r;
}

static int smooth_params(struct submit *q)
{
    struct analyze_params layers;
    struct prune_params params;
    int r = prune_params_parse_smooth(q->json_params, &params, &layers, &q->err);

    if (r < 0)
        return r;
    r = layer_filter_check(&layers.filter, &q->err);
    if (r == 0)
        r = prune_params_check(&params, q->svc->config, &q->err);
    q->rec.params = prune_params_text(&params);
    prune_params_done(&params);
    analyze_params_done(&layers);
    return r;
}

static int distances_params(struct submit *q)
{
    struct analyze_params layers;
    struct distance_params params;
    int r = distance_params_parse(q->json_params, &params, &layers, &q->err);

    if (r < 0)
        return r;
    r = analyze_params_check(&layers, q->svc->config, &q->err);
    memcpy(q->base_upload, layers.base.upload, sizeof q->base_upload);
    q->rec.params = distance_params_text(&params);
    distance_params_done(&params);
    analyze_params_done(&layers);
    return r;
}

static int fill_record(struct submit *q)
{
    int r = source_ref_parse(q->json_source, &q->ref, &q->err);

    if (r == 0)
        r = strcmp(q->rec.kind, "plan") == 0 ? plan_params(q)
            : strcmp(q->rec.kind, "prune") == 0 || strcmp(q->rec.kind, "decode") == 0
                ? prune_params(q)
            : strcmp(q->rec.kind, "smooth") == 0    ? smooth_params(q)
            : strcmp(q->rec.kind, "distances") == 0 ? distances_params(q)
                                                    : analyze_params(q);
    if (r < 0)
        return r;
    q->rec.source = dumps(q->json_source);
    q->rec.labels = dumps(q->json_labels);
    return 0;
}

/* What was asked for, however it was spelt. */
static void make_fingerprint(struct submit *q)
{
    const json_t *part[] = {q->json_source, q->json_params, q->json_labels};
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, q->rec.kind);
    for (size_t i = 0; i < ARRAY_LEN(part); i++) {
        AUTO(freep)
        char *text = part[i] ? json_dumps(part[i], JSON_COMPACT | JSON_SORT_KEYS) : NULL;

        ASSERT(text || !part[i]);
        hasher_add_str(h, text ? text : "");
    }
    hasher_finish(h, &q->use.fingerprint);
}

/* On the file thread: long lists and regular expressions take time as well. */
static void submit_check_run(void *arg, void *state)
{
    struct submit *q = arg;

    (void)state;
    if (q->key)
        make_fingerprint(q);
    if (q->err.code == 0)
        (void)fill_record(q);
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
    if (strcmp(kind, "analyze") != 0 && strcmp(kind, "plan") != 0 && strcmp(kind, "prune") != 0 &&
        strcmp(kind, "decode") != 0 && strcmp(kind, "smooth") != 0 &&
        strcmp(kind, "distances") != 0)
        return err_set_at(err, ERR_INVALID, "/kind",
                          "kind must be \"analyze\", \"plan\", \"prune\", \"decode\", \"smooth\" "
                          "or \"distances\"");
    return 0;
}

/* A key under way is refused; the submit then goes on as one that has failed already. */
static void take_key(struct submit *q, const char *key)
{
    struct err err;

    if (service_key_begin(q->svc, q->rec.owner, key, &err) < 0) {
        q->err = err;
        return;
    }
    q->key = xstrdup(key);
    snprintf(q->use.operation, sizeof q->use.operation, "createJob");
    memcpy(q->use.resource, q->rec.id, sizeof q->use.resource);
    q->use.created_ms = q->rec.created_ms;
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
    q->rec.version = 1;
    snprintf(q->rec.trace_id, sizeof q->rec.trace_id, "%s", rq->trace_id ? rq->trace_id : "");
    (void)check_acceptance(s, rq->kind, &q->err);
    if (rq->key)
        take_key(q, rq->key);
    actor_send(s->file_actor, submit_check_run, submit_checked, q);
}
