/* analyze_plan.c: what a job of kind `plan` does besides an analysis.
 *
 * The stages of an analyze job are carried out as far as the plan's method needs them. With a
 * metric of spectra, all of them: the plan is that of the analysis which the job makes, the same
 * as POST /v1/plans gives for it, and remembered by its request. A method that needs names and
 * shapes only has rows in no analysis: then the plan's text is remembered, under an id that
 * follows from the rows. A method that looks at the weights needs their digests, and histograms
 * (analyze_weigh.h); its rows may be those of an analysis that was made before.
 */
#include "daemon/analyze_activity.h"
#include "daemon/analyze_weigh.h"

#include "daemon/plan.h"
#include "daemon/plan_job.h"
#include "daemon/plan_memo.h"

#include <stdlib.h>
#include <string.h>

struct plan_work {
    struct plan_ask ask;
    struct stats_file stats;
    struct metric_rows *rows;
    struct plan_weights *weights; /* where the method looks at them */
    int more;                     /* rows, or weights, are wanted */
    char id[IDENT_MAX];
    struct buf text; /* PLAN_MEMO_TEXT, or empty */
};

int analyze_plan_start(struct analyze *a, const json_t *params, struct err *err)
{
    struct plan_job p;
    int r = plan_job_parse(params, &p, err);

    if (r < 0)
        return r;
    a->plan = xcalloc(1, sizeof *a->plan);
    a->plan->ask = p.ask;
    a->params = p.analyze;
    return 0;
}

void analyze_plan_free(struct analyze *a)
{
    if (!a->plan)
        return;
    plan_ask_done(&a->plan->ask);
    stats_file_done(&a->plan->stats);
    metric_rows_unref(a->plan->rows);
    plan_weights_free(a->plan->weights);
    buf_done(&a->plan->text);
    free(a->plan);
}

bool analyze_plan_needs_spectra(const struct analyze *a)
{
    return plan_ask_needs_spectra(&a->plan->ask);
}

bool analyze_plan_needs_digests(const struct analyze *a)
{
    return analyze_plan_needs_spectra(a) || plan_ask_weighs(&a->plan->ask);
}

const char *analyze_plan_id(const struct analyze *a)
{
    return a->plan->id;
}

const struct buf *analyze_plan_text(const struct analyze *a)
{
    return &a->plan->text;
}

/* --- rows ---------------------------------------------------------------------------------- */

/* As they would be read from the analysis. */
static int take_rows(const struct analyze *a, struct metric_rows *rows, struct err *err)
{
    struct buf text = BUF_INIT;
    int r = 0;

    for (size_t i = 0; r == 0 && i < a->layers.count; i++) {
        struct layer_row row = {.longname = (char *)(uintptr_t)a->layers.l[i].longname};

        buf_reset(&text);
        analyze_row_json(a, i, &text);
        buf_put_u8(&text, '\0');
        row.json = (char *)text.data;
        r = metric_rows_take(rows, &(struct layer_row_list){&row, 1}, err);
    }
    buf_done(&text);
    return r;
}

/* Names and shapes, and what else decides a plan that needs no more; with `content` all weights. */
static void make_key(const struct metric_rows *rows, bool content, struct digest *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, content ? "spectrald-weights-1" : "spectrald-shapes-1");
    for (size_t i = 0; i < rows->n; i++) {
        const struct metric_row *r = &rows->row[i];

        hasher_add_str(h, r->name);
        hasher_add_str(h, r->block);
        hasher_add_u64(h, (uint64_t)r->role);
        hasher_add_u64(h, (uint64_t)r->type);
        hasher_add_u64(h, r->skipped);
        hasher_add_u64(h, r->rank);
        for (uint32_t d = 0; d < r->rank; d++)
            hasher_add_u64(h, r->dims[d]);
        if (content)
            hasher_add(h, r->digest.b, DIGEST_LEN);
    }
    hasher_finish(h, out);
}

/* The plan may be a member of the job's parameters. */
static void fault(struct analyze *a)
{
    (void)plan_job_fault(&a->err);
    if (a->prune)
        plan_job_within(&a->err);
}

static const char *stats_pointer(const struct analyze *a)
{
    return a->prune ? "/params/plan/stats" : "/params/stats";
}

/* --- stages; on the file thread, as regular expressions over many rows take time ------------- */

static void stage_done(void *arg, const struct err *group_err)
{
    (void)group_err;
    if (analyze_goes_on(arg, NULL))
        analyze_next(arg);
}

/* Uniform within the limits can be had whenever anything can. */
static void check_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct plan_ask ask = a->plan->ask;
    AUTO(metric_rows_unrefp) struct metric_rows *rows = metric_rows_new(plan_ask_column(&ask));
    struct plan p;

    (void)state;
    a->err.code = 0;
    ask.opt.method = ALLOCATE_UNIFORM;
    ask.alphaq = false;
    ask.structure = (struct plan_structure){0, 0};
    ask.m = 0;
    if (take_rows(a, rows, &a->err) < 0 || plan_make(&ask, rows, &p, &a->err) < 0)
        fault(a);
    else
        plan_done(&p);
}

void analyze_plan_check(struct analyze *a)
{
    job_call_file(a->job, check_run, stage_done, a);
}

static int make_rows(struct analyze *a)
{
    struct plan_work *w = a->plan;

    w->rows = metric_rows_new(plan_ask_column(&w->ask));
    if (take_rows(a, w->rows, &a->err) < 0)
        return a->err.code;
    if (analyze_plan_needs_spectra(a)) {
        analyze_make_rows_key(a);
        w->rows->key = a->rows_key;
        plan_ask_bind(&w->ask, a->analysis_id);
    } else {
        make_key(w->rows, plan_ask_weighs(&w->ask), &w->rows->key);
    }
    return 0;
}

static void make_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct plan_work *w = a->plan;
    struct plan p;
    int r = 0;

    (void)state;
    a->err.code = 0;
    if (!w->rows)
        r = make_rows(a);
    if (r == 0 && !w->weights && plan_ask_weighs(&w->ask))
        w->weights = plan_weights_new(w->rows);
    if (r == 0)
        r = plan_make_weighed(&w->ask, w->rows, w->weights, &p, &a->err);
    w->more = r;
    if (r < 0)
        fault(a);
    if (r != 0)
        return;
    memcpy(w->id, p.id, sizeof w->id);
    if (!analyze_plan_needs_spectra(a) || a->prune)
        plan_write(&p, &w->text);
    plan_done(&p);
}

static void make_again(struct analyze *a);

static void make_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    if (!a->job->ended && a->err.code == 0 && a->plan->more)
        analyze_weigh(a, a->plan->rows, a->plan->weights, make_again);
    else
        stage_done(arg, group_err);
}

static void make_again(struct analyze *a)
{
    job_call_file(a->job, make_run, make_done, a);
}

/* Of an analysis that was made before. */
static void rows_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct plan_work *w = a->plan;

    a->err.code = 0;
    w->more = metric_rows_read_some(job_store(state), w->ask.analysis, plan_ask_column(&w->ask),
                                    &w->rows, &a->err);
}

static void rows_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    if (!a->job->ended && a->plan->more > 0)
        job_call_store(a->job, rows_run, rows_done, a);
    else if (a->plan->more == 0 && !a->job->ended)
        make_again(a);
    else
        stage_done(arg, group_err);
}

/* --- statistics of inputs ------------------------------------------------------------------- */

static void measured(struct analyze *a, json_t *numbers)
{
    plan_ask_give_stats(&a->plan->ask, numbers);
    make_again(a);
}

static void stats_loaded(struct analyze *a)
{
    const struct plan_ask *ask = &a->plan->ask;

    analyze_activity(a, &a->plan->stats, ask->opt.method == ALLOCATE_OWL ? ask->outlier_factor : 0,
                     measured);
}

static void load_stats(struct analyze *a)
{
    AUTO(source_ref_done) struct source_ref ref = {.path = NULL};

    a->err.code = 0;
    (void)source_ref_parse(a->plan->ask.stats_file, &ref, &a->err);
    if (analyze_goes_on(a, stats_pointer(a)))
        analyze_stats_load(a, &ref, stats_pointer(a), &a->plan->stats, stats_loaded);
}

void analyze_plan_make(struct analyze *a)
{
    if (a->plan->ask.stats_file)
        load_stats(a);
    else if (*a->plan->ask.analysis)
        job_call_store(a->job, rows_run, rows_done, a);
    else
        make_again(a);
}

int analyze_plan_put(struct analyze *a, struct store *st)
{
    const struct plan_work *w = a->plan;
    AUTO(freep) char *ask = NULL;

    if (!analyze_plan_needs_spectra(a))
        return plan_memo_put(st, w->id, PLAN_MEMO_TEXT, w->text.data, w->text.len, &a->err);
    ask = plan_ask_text(&w->ask);
    return plan_memo_put(st, w->id, PLAN_MEMO_ASK, ask, strlen(ask), &a->err);
}
