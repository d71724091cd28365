/* ep_plans.c: /v1/plans.
 *
 * A plan is made anew for every POST and every GET: it is a function of its request, and takes
 * less time than reading it would. What is remembered, after the answer, is the request. With a
 * source, a job comes first: plan_source.c.
 */
#include "api/ep.h"

#include "api/idempotency.h"
#include "api/job_first.h"
#include "api/plan_source.h"
#include "api/plans.h"
#include "api/problem.h"
#include "api/request.h"
#include "daemon/plan.h"
#include "daemon/plan_memo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plans *plans_new(void)
{
    struct plans *p = xcalloc(1, sizeof *p);

    p->rows = metric_rows_cache_new();
    p->refs = 1;
    return p;
}

void plans_unref(struct plans *p)
{
    if (!p || --p->refs > 0)
        return;
    metric_rows_cache_unref(p->rows);
    free(p);
}

/* Plans that are quick are made at once, but for those that would keep a turn of the loop from
 * ending: when many come together, the writer thread takes its share. */
#define TURN_NS 1000000

static bool is_for_now(const struct request *rq, const struct plan_ask *ask,
                       const struct metric_rows *rows)
{
    return rows && plan_is_quick(ask, rows) &&
           (loop_turn_ns(rq->api->loop) < TURN_NS || rq->api->plans->refs > PLANS_AT_ONCE);
}

/* --- remembering ----------------------------------------------------------------------------- */

struct memo {
    char id[IDENT_MAX];
    char *text;
};

static void memo_run(void *arg, struct store *st)
{
    const struct memo *m = arg;

    (void)plan_memo_put(st, m->id, PLAN_MEMO_ASK, m->text, strlen(m->text), NULL);
}

static void memo_done(void *arg)
{
    struct memo *m = arg;

    free(m->text);
    free(m);
}

void plans_remember(struct service *svc, const char *id, const struct plan_ask *ask)
{
    struct memo *m = xcalloc(1, sizeof *m);

    snprintf(m->id, sizeof m->id, "%s", id);
    m->text = plan_ask_text(ask);
    service_store_call(svc, memo_run, memo_done, m);
}

/* --- the reply ------------------------------------------------------------------------------- */

static struct reply *plan_reply(const struct request *rq, const char *id, struct buf *body)
{
    char etag[IDENT_MAX + 2];
    struct reply *r;

    snprintf(etag, sizeof etag, "\"%s\"", id);
    if (strcmp(rq->method, "POST") != 0 && request_has_etag(rq, etag)) {
        buf_done(body);
        r = reply_empty(304);
    } else {
        r = reply_json_take(200, body);
    }
    if (strcmp(rq->method, "POST") == 0)
        reply_header(r, "Location", "/v1/plans/%s", id);
    else
        reply_header(r, "Cache-Control", "private, no-cache");
    return reply_header(r, "ETag", "%s", etag);
}

/* 1: more weights are wanted. */
static int make_text(const struct plan_ask *ask, const struct metric_rows *rows,
                     struct plan_weights *weights, char id[IDENT_MAX], struct buf *body,
                     struct err *err)
{
    struct plan p;
    int r = plan_make_weighed(ask, rows, weights, &p, err);

    if (r != 0)
        return r;
    plan_write(&p, body);
    memcpy(id, p.id, IDENT_MAX);
    plan_done(&p);
    return 0;
}

/* On the loop thread: few rows, all in memory. */
static struct reply *make_now(struct request *rq, const struct plan_ask *ask,
                              const struct metric_rows *rows)
{
    struct buf body = BUF_INIT;
    char id[IDENT_MAX];
    struct err err;

    if (make_text(ask, rows, NULL, id, &body, &err) < 0)
        return reply_err(&err);
    if (strcmp(rq->method, "POST") == 0)
        plans_remember(rq->api->svc, id, ask);
    return plan_reply(rq, id, &body);
}

/* --- with the help of other threads ---------------------------------------------------------- */

struct work {
    struct ticket *ticket;
    struct service *svc;
    struct plans *plans;
    struct actor *writer; /* there as long as the request is */
    struct plan_ask ask;
    struct metric_rows *rows;
    struct plan_weights *weights; /* where the method looks at them */
    char *source;                 /* JSON text; what has weights that are not cached */
    char wanted[IDENT_MAX];       /* a plan that was made before, or "" */
    char job[IDENT_MAX];          /* by this job, just now; or "" */
    int more;                     /* of the last step, or an error in err */
    struct err err;
    char id[IDENT_MAX];
    struct buf body;
};

static void work_free(struct work *w)
{
    plan_ask_done(&w->ask);
    metric_rows_unref(w->rows);
    plan_weights_free(w->weights);
    free(w->source);
    buf_done(&w->body);
    plans_unref(w->plans);
    free(w);
}

/* The request, when the step worked and its client is still there; else the work is over. */
static struct request *resumed(struct work *w)
{
    struct request *rq = ticket_redeem(w->ticket);

    if (rq && w->more >= 0) {
        w->ticket = request_ticket(rq);
        return rq;
    }
    if (rq)
        request_finish(rq, reply_err(&w->err));
    work_free(w);
    return NULL;
}

static void finish(struct work *w, struct reply *r)
{
    struct request *rq = ticket_redeem(w->ticket);

    request_finish(rq, r);
    work_free(w);
}

/* Which job it comes from. */
static struct reply *job_reply(const struct work *w, const struct request *rq, struct reply *r)
{
    if (!*w->job)
        return r;
    reply_header(r, "Link", "</v1/jobs/%s>; rel=\"via\"", w->job);
    return job_first_headers(rq, r);
}

static void write_done(void *arg, const struct err *group_err);

static void write_run(void *arg, void *state)
{
    struct work *w = arg;

    (void)state;
    w->more = 0;
    if (w->ask.tensors)
        w->more = metric_rows_sent(w->ask.tensors, plan_ask_column(&w->ask), "/metrics", &w->rows,
                                   &w->err);
    if (w->more == 0 && !w->weights && plan_ask_weighs(&w->ask))
        w->weights = plan_weights_new(w->rows);
    if (w->more == 0)
        w->more = make_text(&w->ask, w->rows, w->weights, w->id, &w->body, &w->err);
}

/* What the analysis was made of. */
static int find_source(struct work *w, struct store *st)
{
    struct analysis_record a = {0};
    struct job_record j = {.kind = NULL};
    int r = *w->wanted ? ERR_NOT_FOUND : store_analysis_get(st, w->ask.analysis, &a, NULL);

    if (r == 0)
        r = store_job_get(st, a.job, &j, NULL);
    if (r == 0)
        w->source = xstrdup(j.source);
    job_record_done(&j);
    analysis_record_done(&a);
    return r == 0 ? 0
                  : err_set_at(&w->err, ERR_GONE, "/analysis",
                               "histograms of %zu tensors are not cached, and the job that read "
                               "the weights is not known any more: POST the plan with a source",
                               w->weights->n_missing);
}

static void weights_run(void *arg, struct store *st)
{
    struct work *w = arg;

    w->more = plan_weights_load_some(w->weights, st);
    if (w->more == 0 && w->weights->n_missing > 0)
        w->more = find_source(w, st);
}

static void weights_done(void *arg)
{
    struct work *w = arg;
    struct request *rq = resumed(w);
    struct reply *r;

    if (!rq)
        return;
    if (w->more) {
        service_store_call(w->svc, weights_run, weights_done, w);
    } else if (!w->source) {
        actor_send(w->writer, write_run, write_done, w);
    } else {
        rq = ticket_redeem(w->ticket);
        r = plan_from_weights(rq, w->source, w->ask.body);
        work_free(w);
        if (!reply_is_suspend(r))
            request_finish(rq, r);
    }
}

static void write_done(void *arg, const struct err *group_err)
{
    struct work *w = arg;
    struct request *rq = resumed(w);

    (void)group_err;
    if (!rq)
        return;
    if (w->more) {
        service_store_call(w->svc, weights_run, weights_done, w);
        return;
    }
    if (!*w->wanted)
        plans_remember(w->svc, w->id, &w->ask);
    finish(w, job_reply(w, rq, plan_reply(rq, w->id, &w->body)));
}

static void have_rows(struct work *w, struct request *rq)
{
    if (is_for_now(rq, &w->ask, w->rows))
        finish(w, job_reply(w, rq, make_now(rq, &w->ask, w->rows)));
    else
        actor_send(w->writer, write_run, write_done, w);
}

static void rows_run(void *arg, struct store *st)
{
    struct work *w = arg;

    w->more =
        metric_rows_read_some(st, w->ask.analysis, plan_ask_column(&w->ask), &w->rows, &w->err);
}

static void rows_done(void *arg)
{
    struct work *w = arg;
    struct request *rq = resumed(w);

    if (!rq)
        return;
    if (w->more) {
        service_store_call(w->svc, rows_run, rows_done, w);
        return;
    }
    metric_rows_keep(w->plans->rows, w->ask.analysis, w->rows);
    have_rows(w, rq);
}

/* What is asked is known. */
static void begin(struct work *w, struct request *rq)
{
    struct metric_rows *known = w->ask.tensors ? NULL
                                               : metric_rows_find(w->plans->rows, w->ask.analysis,
                                                                  plan_ask_column(&w->ask));

    if (known)
        w->rows = metric_rows_ref(known);
    if (known || w->ask.tensors)
        have_rows(w, rq);
    else
        service_store_call(w->svc, rows_run, rows_done, w);
}

/* NULL when too many wait already. */
static struct work *work_new(struct request *rq)
{
    struct work *w;

    if (rq->api->plans->refs > PLANS_AT_ONCE)
        return NULL;
    w = xcalloc(1, sizeof *w);
    *w = (struct work){.svc = rq->api->svc, .plans = rq->api->plans, .writer = rq->api->writer};
    w->plans->refs++;
    return w;
}

static struct reply *too_many(void)
{
    return reply_problem(ERR_BUSY, "%d plans are being made already", PLANS_AT_ONCE);
}

/* --- POST /v1/plans -------------------------------------------------------------------------- */

static struct reply *create_later(struct request *rq, struct plan_ask *ask)
{
    struct work *w = work_new(rq);

    if (!w) {
        plan_ask_done(ask);
        return too_many();
    }
    w->ask = *ask;
    w->ticket = request_ticket(rq);
    begin(w, rq);
    return reply_suspend();
}

struct reply *ep_plans_create(struct request *rq)
{
    struct metric_rows *rows = NULL;
    struct plan_ask ask;
    struct reply *r;
    char key[IDEMPOTENCY_KEY_MAX + 1]; /* of a job; without one, only checked */
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0 || idempotency_key(rq, key, &err) < 0)
        return reply_err(&err);
    if (json_object_get(rq->json, "source"))
        return plan_from_source(rq);
    if (plan_ask_parse(rq->json, &ask, &err) < 0)
        return reply_err(&err);
    if (!ask.tensors)
        rows = metric_rows_find(rq->api->plans->rows, ask.analysis, plan_ask_column(&ask));
    if (!is_for_now(rq, &ask, rows))
        return create_later(rq, &ask);
    r = make_now(rq, &ask, rows);
    plan_ask_done(&ask);
    return r;
}

/* --- GET /v1/plans/{plan} -------------------------------------------------------------------- */

static int parse_memo(struct work *w, const struct buf *text)
{
    json_t *body = json_loadb((const char *)text->data, text->len, 0, NULL);
    int r = body ? plan_ask_parse(body, &w->ask, &w->err)
                 : err_set(&w->err, ERR_INTERNAL, "a remembered plan cannot be read");

    json_decref(body);
    return r;
}

static void memo_find_run(void *arg, struct store *st)
{
    struct work *w = arg;
    AUTO(buf_done) struct buf text = BUF_INIT;
    enum plan_memo what;

    w->more = plan_memo_find(st, w->wanted, &what, &text, &w->err);
    if (w->more < 0)
        return;
    if (what == PLAN_MEMO_ASK) {
        w->more = parse_memo(w, &text);
    } else {
        w->body = text;
        text = (struct buf)BUF_INIT;
    }
}

static void memo_find_done(void *arg)
{
    struct work *w = arg;
    struct request *rq = resumed(w);

    if (rq && w->body.len > 0)
        finish(w, job_reply(w, rq, plan_reply(rq, w->wanted, &w->body)));
    else if (rq)
        begin(w, rq);
}

struct reply *plans_fetch(struct request *rq, const char *id, const char *job)
{
    struct work *w = work_new(rq);

    if (!w)
        return too_many();
    snprintf(w->wanted, sizeof w->wanted, "%s", id);
    snprintf(w->job, sizeof w->job, "%s", job ? job : "");
    w->ticket = request_ticket(rq);
    service_store_call(w->svc, memo_find_run, memo_find_done, w);
    return reply_suspend();
}

struct reply *ep_plans_get(struct request *rq)
{
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    if (!ident_valid(rq->match.arg[0], "pln_"))
        return reply_problem(ERR_NOT_FOUND, "no such plan");
    return plans_fetch(rq, rq->match.arg[0], NULL);
}
