/* ep_diagnostics.c: POST /v1/diagnostics/simpson.
 *
 * A pure function of its request: random orders are seeded by it, nothing is stored. Rows are read
 * and judged on the fitter thread; 40000 numbers take up to about a second.
 */
#include "api/ep.h"

#include "api/gate.h"
#include "api/request.h"
#include "api/simpson_ask.h"
#include "common/json_out.h"
#include "common/json_text.h"
#include "compute/contest_score.h"
#include "compute/simpson.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
    struct ticket *ticket;
    struct gate *gate;
    json_t *body; /* a reference of our own */
    struct simpson_ask ask;
    struct err err; /* code 0 = fine */
    struct buf out;
};

static void work_free(struct work *w)
{
    gate_leave(w->gate);
    json_decref(w->body);
    buf_done(&w->out);
    free(w);
}

/* --- one metric ------------------------------------------------------------------------------ */

/* Rows that have it. */
struct column {
    double *x, *y;
    size_t *group, n;
    struct simpson_fit *fits;
    struct simpson s;
};

static void column_done(struct column *c)
{
    free(c->x);
    free(c->y);
    free(c->group);
    free(c->fits);
}

static void column_make(struct column *c, const struct simpson_table *t, size_t m)
{
    c->x = xcalloc(t->n, sizeof *c->x);
    c->y = xcalloc(t->n, sizeof *c->y);
    c->group = xcalloc(t->n, sizeof *c->group);
    c->fits = xcalloc(t->n_groups, sizeof *c->fits);
    for (size_t i = 0; i < t->n; i++)
        if (!isnan(t->metric[i * t->n_metrics + m])) {
            c->x[c->n] = t->metric[i * t->n_metrics + m];
            c->y[c->n] = t->quality[i];
            c->group[c->n++] = t->group[i];
        }
}

/* "alpha: text (0 is depth, 1 is width)": the mathematics knows numbers only. */
static int name_hypers(const struct simpson_table *t, const char *metric, int code,
                       const struct err *from, struct err *err)
{
    AUTO(buf_done) struct buf names = BUF_INIT;

    for (size_t h = 0; h < t->n_hypers; h++)
        buf_printf(&names, "%s%zu is %s", h ? ", " : "", h, t->hyper_name[h]);
    buf_put_u8(&names, '\0');
    return err_set_at(err, code == ERR_NOMEM ? code : ERR_UNSUPPORTED, "/contest", "%s: %s (%s)",
                      metric, from->text, (const char *)names.data);
}

static int write_contest(struct buf *out, const struct simpson_table *t, const struct column *c,
                         size_t m, struct err *err)
{
    AUTO(freep) size_t *value = xcalloc(t->n * t->n_hypers + 1, sizeof *value);
    const double *target = t->gap ? t->gap : t->quality;
    struct contest_score s;
    struct err from;
    int r;

    if (c->n < t->n)
        return err_set_at(err, ERR_INVALID, "/contest", "%s: %zu rows have no such metric",
                          t->metric_name[m], t->n - c->n);
    for (size_t i = 0; i < t->n * t->n_hypers; i++)
        value[i] = t->hyper[i / t->n_hypers * SIMPSON_HYPERS_MAX + i % t->n_hypers];
    r = contest_score(c->x, target, value, t->n, t->n_hypers, &s, &from);
    if (r < 0)
        return name_hypers(t, t->metric_name[m], r, &from, err);
    json_text_key(out, "contest");
    buf_printf(out, "{");
    json_text_key_real(out, "score", s.score);
    json_text_key_string(out, "target", t->gap ? "gap" : "quality");
    json_text_key(out, "given");
    buf_printf(out, "[");
    json_text_string(out, t->hyper_name[s.first]);
    buf_printf(out, ",");
    json_text_string(out, t->hyper_name[s.second]);
    buf_printf(out, "]}");
    return 0;
}

static void write_fit(struct buf *out, const struct simpson_fit *f)
{
    json_text_key_int(out, "n", (int64_t)f->n);
    json_text_key_real(out, "slope", f->slope);
    json_text_key_real(out, "intercept", f->intercept);
    json_text_key_real(out, "r2", f->r2);
    json_text_key_real(out, "rmse", f->rmse);
    json_text_key_real(out, "kendall", f->kendall);
    json_text_key_real(out, "spearman", f->spearman);
    json_text_key_real(out, "p", f->p);
    json_text_key_int(out, "replicates", (int64_t)f->replicates);
    json_text_key(out, "exact");
    buf_printf(out, f->exact ? "true}" : "false}");
}

static void write_groups(struct buf *out, const struct simpson_table *t, const struct column *c)
{
    json_text_key(out, "groups");
    buf_printf(out, "[");
    for (size_t g = 0; g < t->n_groups; g++) {
        buf_printf(out, g ? ",{" : "{");
        json_out_text(out, "group", t->group_name[g]);
        write_fit(out, &c->fits[g]);
    }
    buf_printf(out, "]");
}

static void write_flag(struct buf *out, const char *key, bool value)
{
    json_text_key(out, key);
    buf_printf(out, value ? "true" : "false");
}

static void write_verdict(struct buf *out, const struct simpson *s, int expected)
{
    json_text_key(out, "within");
    buf_printf(out, "{");
    json_text_key_real(out, "slope", s->within_slope);
    json_text_key_real(out, "kendall", s->within_kendall);
    json_text_key_int(out, "groups", (int64_t)s->groups);
    json_text_key_int(out, "sloped", (int64_t)s->sloped);
    json_text_key_int(out, "agreeing", (int64_t)s->agreeing);
    buf_printf(out, "}");
    json_text_key(out, "between");
    buf_printf(out, "{");
    json_text_key_real(out, "slope", s->between_slope);
    buf_printf(out, "}");
    json_text_key(out, "conditions");
    buf_printf(out, "{");
    write_flag(out, "opposite", s->opposite);
    write_flag(out, "enough_groups", s->enough_groups);
    write_flag(out, "pooled_clear", s->pooled_clear);
    write_flag(out, "within_clear", s->within_clear);
    write_flag(out, "groups_agree", s->groups_agree);
    buf_printf(out, "}");
    write_flag(out, "paradox", s->paradox);
    json_text_key_string(out, "wrong", simpson_wrong_name(simpson_wrong(s, expected)));
}

static const char *direction_name(int direction)
{
    return direction < 0 ? "lower" : direction > 0 ? "higher" : NULL;
}

static int write_metric(struct buf *out, const struct simpson_table *t, const struct work *w,
                        size_t m, const struct simpson_options *o, struct err *err)
{
    AUTO(column_done) struct column c = {.n = 0};
    int r;

    column_make(&c, t, m);
    r = simpson_analyse(c.x, c.y, c.group, c.n, t->n_groups, o, c.fits, &c.s, err);
    if (r < 0)
        return r;
    buf_printf(out, m ? ",{" : "{");
    json_out_text(out, "metric", t->metric_name[m]);
    json_text_key_string(out, "better", direction_name(t->direction[m]));
    json_text_key_int(out, "left_out", (int64_t)(t->n - c.n));
    json_text_key(out, "pooled");
    buf_printf(out, "{");
    write_fit(out, &c.s.pooled);
    write_groups(out, t, &c);
    write_verdict(out, &c.s, t->direction[m] * w->ask.quality);
    if (w->ask.contest)
        r = write_contest(out, t, &c, m, err);
    buf_printf(out, "}");
    return r;
}

/* --- the reply ------------------------------------------------------------------------------- */

static void write_warnings(struct buf *out, const struct simpson_table *t)
{
    AUTO(freep) size_t *rows = xcalloc(t->n_groups + 1, sizeof *rows);
    size_t small = 0;

    for (size_t i = 0; i < t->n; i++)
        rows[t->group[i]]++;
    for (size_t g = 0; g < t->n_groups; g++)
        small += rows[g] < SIMPSON_GROUP_MIN;
    json_text_key(out, "warnings");
    buf_printf(out, "[");
    if (small)
        buf_printf(out,
                   "\"%zu of %zu groups have fewer than %d rows and count only in what is pooled\"",
                   small, t->n_groups, SIMPSON_GROUP_MIN);
    buf_printf(out, "]");
}

static int check_contest(const struct simpson_table *t, struct err *err)
{
    if (t->n_hypers < 2)
        return err_set_at(err, ERR_INVALID, "/contest",
                          "every row needs at least two hyperparameters");
    if (t->n > CONTEST_ROWS_MAX)
        return err_set_at(err, ERR_LIMIT, "/contest", "of at most %d rows", CONTEST_ROWS_MAX);
    return 0;
}

static int write_simpson(const struct work *w, struct buf *out, struct err *err)
{
    AUTO(simpson_table_done) struct simpson_table t = {.n = 0};
    struct simpson_options o = {.seed = w->ask.seed};
    int r = simpson_table_read(w->body, &t, err);

    if (r == 0)
        r = simpson_table_replicates(&t, &w->ask, &o.replicates, err);
    if (r == 0 && w->ask.contest)
        r = check_contest(&t, err);
    if (r < 0)
        return r;
    buf_printf(out, "{");
    json_text_key_string(out, "better", direction_name(w->ask.quality));
    json_text_key_int(out, "seed", (int64_t)w->ask.seed);
    json_text_key_int(out, "rows", (int64_t)t.n);
    json_text_key(out, "metrics");
    buf_printf(out, "[");
    for (size_t m = 0; r == 0 && m < t.n_metrics; m++)
        r = write_metric(out, &t, w, m, &o, err);
    buf_printf(out, "]");
    write_warnings(out, &t);
    buf_printf(out, "}");
    return r;
}

static void write_run(void *arg, void *state)
{
    struct work *w = arg;
    int r = write_simpson(w, &w->out, &w->err);

    (void)state;
    w->err.code = r < 0 ? r : 0;
    json_decref(TAKE(w->body)); /* may be large: not for the loop thread */
}

static void write_done(void *arg, const struct err *group_err)
{
    struct work *w = arg;
    struct request *rq = ticket_redeem(w->ticket);

    (void)group_err;
    if (rq)
        request_finish(rq, w->err.code ? reply_err(&w->err) : reply_json_take(200, &w->out));
    work_free(w);
}

struct reply *ep_diagnostics_simpson(struct request *rq)
{
    struct simpson_ask ask;
    struct work *w;
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0 || simpson_ask_read(rq->json, &ask, &err) < 0 ||
        gate_enter(rq->api->fits, &err) < 0)
        return reply_err(&err);
    w = xcalloc(1, sizeof *w);
    *w = (struct work){.ticket = request_ticket(rq),
                       .gate = rq->api->fits,
                       .body = json_incref(rq->json),
                       .ask = ask};
    actor_send(rq->api->fitter, write_run, write_done, w);
    return reply_suspend();
}
