/* ep_schedules.c: POST /v1/schedules: learning rates and weight decays per tensor. */
#include "api/decision.h"
#include "api/ep.h"
#include "api/schedule_make.h"
#include "api/spectra_sent.h"
#include "common/json_out.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int check(const json_t *body, struct err *err)
{
    struct schedule_ask ask;

    return schedule_ask_read(body, &ask, err);
}

/* --- what was asked, with the defaults ----------------------------------------------------- */

static void write_assign(struct buf *b, const struct schedule_rule *rule)
{
    json_text_key(b, "assign");
    buf_printf(b, "{");
    json_text_key_string(b, "fn", schedule_map_name(rule->map));
    if (rule->map == SCHEDULE_LINEAR || rule->map == SCHEDULE_RANK ||
        rule->unit == SCHEDULE_WITHIN_BLOCK) {
        json_text_key_real(b, "s1", rule->s1);
        json_text_key_real(b, "s2", rule->s2);
    }
    if (rule->map == SCHEDULE_SIGMOID) {
        json_text_key_real(b, "sigmoid_min", rule->down);
        json_text_key_real(b, "sigmoid_max", rule->up);
        json_text_key_real(b, "tau", rule->tau);
    } else if (rule->map == SCHEDULE_ZSCORE) {
        json_text_key_real(b, "tau", rule->tau);
    }
    json_out_raw(b, "normalize", rule->normalize ? "true" : "false");
    buf_printf(b, "}");
}

static void write_window(struct buf *b, const struct schedule_rule *rule)
{
    json_text_key(b, "window");
    buf_printf(b, "{");
    json_text_key_int(b, "index", rule->window);
    json_text_key_real(b, "scale", rule->window_scale);
    buf_printf(b, "}");
}

/* Which numbers the exponents of eigenvalues sent along come from. */
static void write_fit(struct buf *b, const struct fit_ask *f)
{
    json_text_key(b, "fit");
    buf_printf(b, "{");
    json_text_key_string(b, "method", fit_method_name(f));
    if (f->rule == HILL_MID) {
        json_text_key_real(b, "xmin_pos", f->start.pos);
        json_text_key_string(b, "hill_variant", f->start.paper ? "paper" : "code");
    } else if (f->rule != HILL_KS) {
        json_text_key_string(b, "peak_compat",
                             f->rule == HILL_PEAK_UPSTREAM ? "upstream" : "linear");
    }
    json_out_raw(b, "filter_zeros", f->filter_zeros ? "true" : "false");
    json_text_key_real(b, "evals_thresh", f->filter_zeros ? f->threshold : NAN);
    json_text_key_real(b, "conv_norm", f->conv_norm);
    buf_printf(b, "}");
}

static const char *convention(const json_t *body)
{
    return json_object_get(body, "metrics")  ? NULL
           : json_object_get(body, "layers") ? "eigenvalues as sent; conv2d: times conv_norm"
                                             : "conv2d: eigenvalues of all kernel positions "
                                               "pooled, times 0.5";
}

static void write_place(struct buf *b, const json_t *body, const struct fit_ask *fit,
                        const struct metric_rows *m)
{
    const json_t *frozen = json_object_get(body, "freeze_from");

    if (json_is_string(frozen))
        json_text_key_string(b, "freeze_from", json_string_value(frozen));
    json_text_key_string(b, "order", m->sent ? "as_sent" : "natural");
    json_text_key_string(b, "matrix_convention", convention(body));
    if (json_object_get(body, "layers")) {
        json_text_key_string(b, "precision", "f64");
        write_fit(b, fit);
    }
}

static void write_head(struct buf *b, const struct schedule_ask *q,
                       const struct schedule_summary *sum)
{
    json_text_key_string(b, "method", q->method);
    if (q->step != UINT64_MAX)
        json_text_key_int(b, "step", (int64_t)q->step);
    json_text_key_string(b, "unit", schedule_unit_name(q->rule.unit));
    if (q->rule.unit == SCHEDULE_WINDOW)
        write_window(b, &q->rule);
    json_text_key_string(b, "tune", schedule_tune_name(q->tune));
    write_assign(b, &q->rule);
    json_text_key_string(b, "norm_binding", schedule_binding_name(q->binding));
    json_text_key_string(b, "compat", q->rule.reference ? "reference" : "safe");
    json_text_key_real(b, "base_lr", q->base_lr);
    json_text_key_real(b, "base_weight_decay", q->base_wd);
    json_text_key_int(b, "n_scheduled", (int64_t)sum->n_matrices);
    json_text_key_int(b, "n_units", (int64_t)sum->n_units);
    json_text_key_real(b, "alpha_mean", sum->mean);
    json_text_key_real(b, "alpha_std", sum->std);
    json_out_raw(b, "degenerate_range", sum->degenerate ? "true" : "false");
}

/* --- the tensors --------------------------------------------------------------------------- */

static void write_layer(struct buf *b, const struct schedule_ask *q, const struct metric_row *t,
                        const struct scheduled *s)
{
    double lr = q->tune == TUNE_WEIGHT_DECAY ? 1 : s->factor;
    double wd = q->tune == TUNE_LR ? 1 : s->factor;

    buf_printf(b, "{");
    buf_put(b, t->facts, strlen(t->facts));
    json_text_key_string(b, "excluded", s->excluded);
    json_out_text(b, "inherits", s->inherited);
    json_text_key_real(b, "multiplier", s->factor);
    json_text_key_real(b, "lr", q->base_lr * lr);
    json_text_key_real(b, "weight_decay", q->base_wd * wd);
    buf_printf(b, "}");
}

/* Which tensor took its factor from which. */
static void write_bindings(struct buf *b, const struct metric_rows *m, const struct schedule *s)
{
    bool any = false;

    json_text_key(b, "bindings");
    buf_printf(b, "{");
    for (size_t i = 0; i < m->n; i++)
        if (s->t[i].inherited) {
            if (any)
                buf_put_u8(b, ',');
            json_text_string(b, m->row[i].name);
            buf_put_u8(b, ':');
            json_text_string(b, s->t[i].inherited);
            any = true;
        }
    buf_printf(b, "}");
}

/* --- warnings ------------------------------------------------------------------------------ */

static void warn(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void warn(struct buf *b, const char *fmt, ...)
{
    AUTO(freep) char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    if (b->data[b->len - 1] != '[')
        buf_put_u8(b, ',');
    json_text_string(b, text);
}

/* Matrices whose score is a fit far out, and rows that share one tensor. */
static void warn_of_tensors(struct buf *b, const struct metric_rows *m, const struct schedule *s)
{
    bool exponent = strncmp(m->metric, "alpha", 5) == 0 && strcmp(m->metric, "alpha_weighted") != 0;
    size_t high = 0, stacked = 0;

    for (size_t i = 0; i < m->n; i++) {
        if (s->t[i].excluded)
            continue;
        high += exponent && m->row[i].metric > 6;
        stacked += i > 0 && strcmp(m->row[i].tensor, m->row[i - 1].tensor) == 0;
    }
    if (high)
        warn(b, "%zu layers have %s above 6, where a power law fits badly; they stretch the range",
             high, m->metric);
    if (stacked)
        warn(b, "stacks of experts have a factor per expert, but one parameter in most optimizers");
}

static void write_warnings(struct buf *b, const struct schedule_ask *q, const struct metric_rows *m,
                           const struct schedule *s)
{
    json_text_key(b, "warnings");
    buf_printf(b, "[");
    if (s->sum.n_matrices == 0)
        warn(b, "no layer takes part; every multiplier is 1");
    if (s->sum.degenerate)
        warn(b, s->sum.n_units == 1 ? "one unit alone: there is nothing to balance"
                                    : "every score is the same: there is nothing to balance");
    if (s->n_unusable)
        warn(b, "%zu matrices have no usable %s; they have no multiplier of their own",
             s->n_unusable, m->metric);
    if (s->sum.n_ties)
        warn(b, "%zu scores are shared by several units; equal ones rank in order", s->sum.n_ties);
    if (s->sum.n_bounded)
        warn(b, "%zu units are held by a limit", s->sum.n_bounded);
    if (!m->sent && (q->exclude.first || q->exclude.last))
        warn(b, "first and last are by the natural order of names, which is not that of modules");
    if (!m->sent && q->binding == BIND_ORDER)
        warn(b, "norms are bound by the natural order of names, which is not that of modules");
    warn_of_tensors(b, m, s);
    buf_printf(b, "]");
}

/* --- the reply ----------------------------------------------------------------------------- */

static int write_schedule(const json_t *body, const struct metric_rows *m, struct buf *out,
                          struct err *err)
{
    AUTO(schedule_done) struct schedule s = {.t = NULL};
    struct schedule_ask q;
    struct fit_ask fit;
    int r = schedule_ask_read(body, &q, err);

    if (r == 0)
        r = fit_ask_read(body, &fit, err);
    if (r == 0)
        r = schedule_make(&q, m, &s, err);
    if (r < 0)
        return r;
    write_head(out, &q, &s.sum);
    write_place(out, body, &fit, m);
    json_text_key(out, "layers");
    buf_printf(out, "[");
    for (size_t i = 0; i < m->n; i++) {
        if (i > 0)
            buf_put_u8(out, ',');
        write_layer(out, &q, &m->row[i], &s.t[i]);
    }
    buf_printf(out, "]");
    write_bindings(out, m, &s);
    write_warnings(out, &q, m, &s);
    return 0;
}

struct reply *ep_schedules_create(struct request *rq)
{
    static const struct decision kind = {schedule_members, SCHEDULE_MEMBERS, check, write_schedule};

    return decision_make(rq, &kind);
}
