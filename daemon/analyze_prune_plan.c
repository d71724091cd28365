/* analyze_prune_plan.c: the plan of a prune job, as text: one that the job has made, or one made
 * before, which is made again from its request where that is what was remembered. */
#include "daemon/analyze_prune.h"

#include "daemon/plan_memo.h"

#define AT_PLAN "/params/plan"

static void make_plan(struct analyze *a);

static void make_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;
    struct plan p;

    (void)state;
    a->err.code = 0;
    if (w->ask.tensors && !w->rows &&
        metric_rows_sent(w->ask.tensors, plan_ask_column(&w->ask), "/metrics", &w->rows, &a->err) <
            0)
        return;
    if (!w->weights && plan_ask_weighs(&w->ask))
        w->weights = plan_weights_new(w->rows);
    w->more = plan_make_weighed(&w->ask, w->rows, w->weights, &p, &a->err);
    if (w->more != 0)
        return;
    plan_write(&p, &w->plan_text);
    plan_done(&p);
}

static void weights_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;

    a->err.code = 0;
    w->more = plan_weights_load_some(w->weights, job_store(state));
    if (w->more == 0 && w->weights->n_missing > 0)
        (void)err_set(&a->err, ERR_NOT_FOUND,
                      "what the plan knows of the weights is not cached any more: give the plan as "
                      "an object");
}

static void weights_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (!analyze_goes_on(a, AT_PLAN))
        return;
    if (a->prune->more > 0)
        job_call_store(a->job, weights_run, weights_done, a);
    else
        make_plan(a);
}

static void made(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (!analyze_goes_on(a, AT_PLAN))
        return;
    if (a->prune->more > 0)
        job_call_store(a->job, weights_run, weights_done, a);
    else
        analyze_prune_stats(a);
}

static void make_plan(struct analyze *a)
{
    job_call_file(a->job, make_run, made, a);
}

static void read_some_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;

    a->err.code = 0;
    w->more = metric_rows_read_some(job_store(state), w->ask.analysis, plan_ask_column(&w->ask),
                                    &w->rows, &a->err);
}

static void read_some_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (!analyze_goes_on(a, AT_PLAN))
        return;
    if (a->prune->more > 0)
        job_call_store(a->job, read_some_run, read_some_done, a);
    else
        make_plan(a);
}

static int parse_ask(struct prune_work *w, const struct buf *text, struct err *err)
{
    json_auto_t *body = json_loadb((const char *)text->data, text->len, 0, NULL);
    int r = body ? plan_ask_parse(body, &w->ask, err)
                 : err_set(err, ERR_INTERNAL, "a remembered plan cannot be read");

    w->have_ask = r == 0;
    return r;
}

static void find_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;
    AUTO(buf_done) struct buf text = BUF_INIT;
    enum plan_memo what;

    a->err.code = 0;
    if (plan_memo_find(job_store(state), w->params.plan, &what, &text, &a->err) < 0)
        return;
    if (what == PLAN_MEMO_TEXT)
        buf_put(&w->plan_text, text.data, text.len);
    else
        (void)parse_ask(w, &text, &a->err);
}

static void find_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;
    const struct prune_work *w = a->prune;

    (void)group_err;
    if (!analyze_goes_on(a, AT_PLAN))
        return;
    if (!w->have_ask)
        analyze_prune_stats(a);
    else if (w->ask.tensors)
        make_plan(a);
    else
        job_call_store(a->job, read_some_run, read_some_done, a);
}

void analyze_prune(struct analyze *a)
{
    struct prune_work *w = a->prune;

    analyze_needs_work(a);
    if (a->plan) {
        const struct buf *text = analyze_plan_text(a);

        buf_put(&w->plan_text, text->data, text->len);
        analyze_prune_stats(a);
    } else if (*w->params.plan) {
        job_call_store(a->job, find_run, find_done, a);
    } else {
        analyze_prune_stats(a);
    }
}
