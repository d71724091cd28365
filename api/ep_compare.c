/* ep_compare.c: POST /v1/plans:compare.
 *
 * Rows are read as for one plan, once for each metric; plans are made and written on the writer
 * thread. Every plan is remembered, so that its id leads to it.
 */
#include "api/ep.h"

#include "api/immutable.h"
#include "api/plan_compare.h"
#include "api/plans.h"
#include "api/problem.h"
#include "api/request.h"

#include <stdlib.h>
#include <string.h>

static const struct immutable_form forms[] = {
    {"json", "application/json", "application/json"},
    {"svg", "image/svg+xml", "image/svg+xml"},
};

struct work {
    struct ticket *ticket;
    struct service *svc;
    struct plans *plans;
    struct actor *writer; /* there as long as the request is */
    bool svg;
    struct compare_ask ask;
    size_t have; /* rows of the plans before this one are here */
    struct metric_rows *rows[PLANS_COMPARED_MAX];
    struct comparison c;
    int more; /* of the last step, or an error in err */
    struct err err;
    struct buf body;
};

static void work_free(struct work *w)
{
    comparison_done(&w->c);
    for (size_t i = 0; i < PLANS_COMPARED_MAX; i++)
        metric_rows_unref(w->rows[i]);
    compare_ask_done(&w->ask);
    buf_done(&w->body);
    plans_unref(w->plans);
    free(w);
}

/* The request, when the step worked and its client is still there; else the work is over. */
static struct request *resumed(struct work *w)
{
    struct request *rq = ticket_redeem(w->ticket);

    if (rq && w->more >= 0)
        return rq;
    if (rq)
        request_finish(rq, reply_err(&w->err));
    work_free(w);
    return NULL;
}

/* --- on the writer thread -------------------------------------------------------------------- */

/* Plans by the same metric share rows. */
static struct metric_rows *rows_before(const struct work *w, size_t i)
{
    const char *column = plan_ask_column(&w->ask.plan[i]);

    for (size_t k = 0; k < i; k++)
        if (w->rows[k] && strcmp(w->rows[k]->metric, column) == 0)
            return w->rows[k];
    return NULL;
}

static int read_sent(struct work *w)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < w->ask.n && w->ask.plan[0].tensors; i++) {
        struct metric_rows *known = rows_before(w, i);

        if (known)
            w->rows[i] = metric_rows_ref(known);
        else
            r = metric_rows_sent(w->ask.plan[i].tensors, plan_ask_column(&w->ask.plan[i]),
                                 "/metrics", &w->rows[i], &w->err);
    }
    return r;
}

static void write_run(void *arg, void *state)
{
    struct work *w = arg;

    (void)state;
    w->c.ask = &w->ask;
    w->more = w->rows[0] ? 0 : read_sent(w);
    if (w->more == 0)
        w->more = comparison_make(&w->c, w->rows, &w->err);
    if (w->more == 0)
        w->more = w->svg ? comparison_draw(&w->c, &w->body, &w->err)
                         : comparison_write(&w->c, &w->body, &w->err);
}

static struct reply *answer(struct work *w)
{
    struct reply *r = reply_take(200, forms[w->svg].type, &w->body);

    reply_header(r, "Vary", "Accept");
    if (w->svg) /* its own style, and nothing else */
        reply_header(r, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    return r;
}

/* --- weights -------------------------------------------------------------------------------- */

static void write_done(void *arg, const struct err *group_err);

static void weights_run(void *arg, struct store *st)
{
    struct work *w = arg;
    char at[ERR_POINTER_MAX];

    w->more = plan_weights_load_some(w->c.weights, st);
    if (w->more != 0 || w->c.weights->n_missing == 0)
        return;
    compare_ask_pointer(w->c.next, at);
    w->more = err_set_at(&w->err, ERR_GONE, at,
                         "histograms of %zu tensors are not cached: POST this plan alone, which "
                         "reads the weights",
                         w->c.weights->n_missing);
}

static void weights_done(void *arg)
{
    struct work *w = arg;
    struct request *rq = resumed(w);

    if (!rq)
        return;
    w->ticket = request_ticket(rq);
    if (w->more)
        service_store_call(w->svc, weights_run, weights_done, w);
    else
        actor_send(w->writer, write_run, write_done, w);
}

static void write_done(void *arg, const struct err *group_err)
{
    struct work *w = arg;
    struct request *rq = resumed(w);

    (void)group_err;
    if (!rq)
        return;
    if (w->more) {
        w->ticket = request_ticket(rq);
        service_store_call(w->svc, weights_run, weights_done, w);
        return;
    }
    for (size_t i = 0; i < w->c.n; i++)
        plans_remember(w->svc, w->c.plan[i].id, &w->ask.plan[w->c.of[i]]);
    request_finish(rq, answer(w));
    work_free(w);
}

/* --- rows of an analysis --------------------------------------------------------------------- */

static void gather(struct work *w, struct request *rq);

static void rows_run(void *arg, struct store *st)
{
    struct work *w = arg;
    const struct plan_ask *a = &w->ask.plan[w->have];

    w->more =
        metric_rows_read_some(st, a->analysis, plan_ask_column(a), &w->rows[w->have], &w->err);
}

static void rows_done(void *arg)
{
    struct work *w = arg;
    struct request *rq = resumed(w);

    if (!rq)
        return;
    if (!w->more) {
        metric_rows_keep(w->plans->rows, w->ask.plan[0].analysis, w->rows[w->have]);
        w->have++;
    }
    gather(w, rq);
}

/* The rest of the rows, or on to the writer. */
static void gather(struct work *w, struct request *rq)
{
    const struct plan_ask *plan = w->ask.plan;

    w->ticket = request_ticket(rq);
    for (; w->have < w->ask.n && !plan->tensors && !w->rows[w->have]; w->have++) {
        struct metric_rows *known = rows_before(w, w->have);

        if (!known)
            known =
                metric_rows_find(w->plans->rows, plan->analysis, plan_ask_column(&plan[w->have]));
        if (!known)
            break;
        w->rows[w->have] = metric_rows_ref(known);
    }
    if (plan->tensors || w->have == w->ask.n)
        actor_send(w->writer, write_run, write_done, w);
    else
        service_store_call(w->svc, rows_run, rows_done, w);
}

/* --- the request ----------------------------------------------------------------------------- */

struct reply *ep_plans_compare(struct request *rq)
{
    const struct immutable_form *form;
    struct immutable_wish wish;
    struct compare_ask ask;
    struct reply *no;
    struct work *w;
    struct err err;

    immutable_wish_read(rq, forms, ARRAY_LEN(forms), &wish);
    no = immutable_choose(rq, forms, ARRAY_LEN(forms), &wish, &form);
    if (no)
        return no;
    if (query_check_unused(&rq->query, &err) < 0 || compare_ask_parse(rq->json, &ask, &err) < 0)
        return reply_err(&err);
    if (rq->api->plans->refs > PLANS_AT_ONCE) {
        compare_ask_done(&ask);
        return reply_problem(ERR_BUSY, "%d plans are being made already", PLANS_AT_ONCE);
    }
    w = xcalloc(1, sizeof *w);
    *w = (struct work){.svc = rq->api->svc,
                       .plans = rq->api->plans,
                       .writer = rq->api->writer,
                       .svg = form != forms,
                       .ask = ask};
    w->plans->refs++;
    gather(w, rq);
    return reply_suspend();
}
