/* plan_bits.c: see plan_bits.h; the mathematics is compute/bits.h. */
#include "daemon/plan_bits.h"

#include "common/json_out.h"
#include "common/sort.h"
#include "daemon/member.h"
#include "daemon/plan_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GAMMA_MAX 100

static const char *const overs[] = {"matrices", "parameters"};

/* --- what is asked --------------------------------------------------------------------------- */

static int bad(struct err *err, const char *name, const char *why)
{
    char at[ERR_POINTER_MAX];

    err_pointer(at, "/bits", name);
    return err_set_at(err, ERR_INVALID, at, "%s", why);
}

static int parse_candidates(const json_t *v, struct bits_rule *out, struct err *err)
{
    static const char why[] = "expected 1 to 16 ascending numbers of bits, each from 1 to 16";
    size_t n = json_array_size(v);

    if (!v)
        return 0;
    if (n < 1 || n > BITS_CANDIDATES_MAX)
        return bad(err, "candidates", why);
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;

        if (!member_whole(json_array_get(v, i), 1, BITS_MAX, &bits) ||
            (i > 0 && bits <= out->candidate[i - 1]))
            return bad(err, "candidates", why);
        out->candidate[i] = (unsigned)bits;
    }
    out->n_candidates = n;
    return 0;
}

static int parse_numbers(const json_t *v, struct bits_rule *out, struct err *err)
{
    const json_t *average = json_object_get(v, "average"), *gamma = json_object_get(v, "gamma");

    if (average && (!json_is_number(average) || json_number_value(average) > BITS_MAX))
        return bad(err, "average", "expected a number of bits, at most 16");
    if (gamma && (!json_is_number(gamma) || fabs(json_number_value(gamma)) > GAMMA_MAX))
        return bad(err, "gamma", "expected a number from -100 to 100");
    if (average)
        out->average = json_number_value(average);
    if (gamma)
        out->gamma = json_number_value(gamma);
    if (out->average < out->candidate[0])
        return bad(err, "average", "it is below the smallest candidate");
    return 0;
}

static int parse_over(const json_t *v, struct bits_rule *out, struct err *err)
{
    const char *text = v ? json_string_value(v) : overs[0];

    if (!text || (strcmp(text, overs[0]) != 0 && strcmp(text, overs[1]) != 0))
        return bad(err, "over", "expected matrices or parameters");
    out->per_parameter = strcmp(text, overs[1]) == 0;
    return 0;
}

int plan_bits_parse(const json_t *v, struct bits_rule *out, struct err *err)
{
    static const char *const names[] = {"candidates", "average", "gamma", "over"};
    struct bits_rule rule = {
        .candidate = {2, 3, 4, 8}, .n_candidates = 4, .average = 3.5, .gamma = 1};
    const char *name;
    json_t *member;
    int r;

    if (!json_is_object(v))
        return err_set_at(err, ERR_INVALID, "/bits",
                          v ? "expected an object" : "the method alphaq needs this member");
    json_object_foreach((json_t *)v, name, member)
    {
        bool known = false;

        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            known = known || strcmp(name, names[i]) == 0;
        if (!known)
            return bad(err, name, "unknown member");
    }
    r = parse_candidates(json_object_get(v, "candidates"), &rule, err);
    if (r == 0)
        r = parse_numbers(v, &rule, err);
    if (r == 0)
        r = parse_over(json_object_get(v, "over"), &rule, err);
    if (r == 0)
        *out = rule;
    return r;
}

json_t *plan_bits_json(const struct bits_rule *rule)
{
    json_t *v = json_object(), *list = json_array();

    for (size_t i = 0; i < rule->n_candidates; i++)
        (void)json_array_append_new(list, json_integer((json_int_t)rule->candidate[i]));
    (void)json_object_set_new(v, "candidates", list);
    (void)json_object_set_new(v, "average", json_real(rule->average));
    (void)json_object_set_new(v, "gamma", json_real(rule->gamma));
    (void)json_object_set_new(v, "over", json_string(overs[rule->per_parameter]));
    return v;
}

/* --- what is computed ------------------------------------------------------------------------ */

/* Of the tensors that have an exponent; a tensor without takes it. NaN: none has. */
static double median_alpha(const struct plan *p)
{
    AUTO(freep) double *x = xcalloc(p->n, sizeof *x);
    size_t n = 0;

    for (size_t i = 0; i < p->n; i++)
        if (!isnan(p->unit[i].metric))
            x[n++] = p->unit[i].metric;
    if (n == 0)
        return NAN;
    sort_ascending(x, n);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static int fill(struct plan *p, struct bits_matrix *m, struct err *err)
{
    double median = median_alpha(p);

    if (isnan(median))
        return err_set_at(err, ERR_INVALID, "/metric", "no tensor of the plan has a number \"%s\"",
                          plan_ask_column(p->ask));
    for (size_t i = 0; i < p->n; i++) {
        const struct metric_row *r = &p->rows->row[p->row[i]];
        double alpha = p->unit[i].metric;
        char at[ERR_POINTER_MAX];

        err_pointer(at, "/metrics", r->name);
        if (isnan(r->weight_var))
            return err_set_at(err, ERR_INVALID, p->ask->tensors ? at : "/analysis",
                              "%.200s has no weight_var: %s", r->name,
                              p->ask->tensors ? "send it" : "analyse it again, or exclude it");
        if (alpha <= 0)
            return err_set_at(err, ERR_INVALID, p->ask->tensors ? at : "/metric",
                              "the %s of %.200s is not above 0", p->ask->metric, r->name);
        p->info.n_missing += isnan(alpha) ? 1 : 0;
        m[i] = (struct bits_matrix){
            .alpha = isnan(alpha) ? median : alpha, .variance = r->weight_var, .params = r->params};
    }
    return 0;
}

int plan_bits_solve(struct plan *p, struct err *err)
{
    const struct bits_rule *rule = &p->ask->bits;
    AUTO(freep) struct bits_matrix *m = xcalloc(p->n, sizeof *m);
    int r = fill(p, m, err);

    if (r < 0)
        return r;
    p->bits = xcalloc(p->n, sizeof *p->bits);
    p->loss = xcalloc(p->n, sizeof *p->loss);
    r = bits_allocate(rule, m, p->n, p->bits, &p->bits_summary, err);
    if (r == 0)
        r = bits_losses(rule, m, p->n, p->bits, p->loss, err);
    return r;
}

/* --- the text -------------------------------------------------------------------------------- */

static void write_tensor(const struct plan *p, size_t i, struct buf *b)
{
    const struct metric_row *r = &p->rows->row[p->row[i]];

    buf_put(b, r->text, strlen(r->text));
    json_text_key_real(b, "weight_var", r->weight_var);
    json_text_key_int(b, "bits", p->bits[i]);
    json_text_key_real(b, "loss", p->loss[i]);
    buf_put_u8(b, '}');
}

struct block_sum {
    double params, bits, metric;
    int64_t tensors, with_metric;
};

static void write_blocks(const struct plan *p, struct buf *b)
{
    AUTO(freep) struct block_sum *sum = xcalloc(p->n_blocks, sizeof *sum);

    for (size_t i = 0; i < p->n; i++) {
        const struct allocate_unit *u = &p->unit[i];
        struct block_sum *s = &sum[u->block];

        s->params += u->weights;
        s->bits += u->weights * p->bits[i];
        s->tensors++;
        if (!isnan(u->metric)) {
            s->metric += u->metric;
            s->with_metric++;
        }
    }
    json_text_key(b, "blocks");
    buf_put_u8(b, '[');
    for (size_t i = 0; i < p->n_blocks; i++) {
        const struct block_sum *s = &sum[i];

        buf_printf(b, i ? ",{" : "{");
        plan_text_block(p, i, b);
        json_text_key_int(b, "n_tensors", s->tensors);
        json_text_key_real(b, "metric", s->with_metric ? s->metric / (double)s->with_metric : NAN);
        json_text_key_int(b, "params", (int64_t)s->params);
        json_text_key_real(b, "bits", s->bits / s->params);
        buf_put_u8(b, '}');
    }
    buf_put_u8(b, ']');
}

static double bits_per_weight(const struct plan *p)
{
    long double sum = 0;

    for (size_t i = 0; i < p->n; i++)
        sum += (long double)p->unit[i].weights * p->bits[i];
    return (double)(sum / p->params);
}

static void write_params(const struct plan *p, struct buf *b)
{
    const struct bits_rule *rule = &p->ask->bits;

    json_text_key(b, "params");
    buf_printf(b, "{\"bits\":{\"candidates\":");
    for (size_t i = 0; i < rule->n_candidates; i++)
        buf_printf(b, "%s%u", i ? "," : "[", rule->candidate[i]);
    buf_put_u8(b, ']');
    json_text_key_real(b, "average", rule->average);
    json_text_key_real(b, "gamma", rule->gamma);
    json_text_key_string(b, "over", overs[rule->per_parameter]);
    buf_put_u8(b, '}');
    json_text_key_string(b, "peak_compat", p->ask->peak_linear ? "linear" : "upstream");
    buf_put_u8(b, '}');
}

static void write_head(const struct plan *p, struct buf *b)
{
    const struct plan_ask *a = p->ask;

    json_text_key_string(b, "id", p->id);
    json_text_key_string(b, "analysis", *a->analysis ? a->analysis : NULL);
    json_text_key_string(b, "method", plan_ask_method(a));
    json_text_key_string(b, "metric", plan_ask_column(a));
    write_params(p, b);
    json_text_key_real(b, "target_bits", a->bits.average);
    json_text_key_real(b, "achieved_bits", p->bits_summary.average);
    json_text_key_real(b, "bits_per_weight", bits_per_weight(p));
    json_text_key_real(b, "loss", p->bits_summary.loss);
    json_text_key_real(b, "bound", p->bits_summary.bound);
    json_text_key_int(b, "n_params", (int64_t)p->params);
    json_text_key_int(b, "n_params_total", (int64_t)p->params_total);
    json_text_key(b, "feasible");
    buf_printf(b, "true");
}

void plan_bits_write(const struct plan *p, struct buf *out)
{
    buf_put_u8(out, '{');
    write_head(p, out);
    write_blocks(p, out);
    json_text_key(out, "tensors");
    buf_put_u8(out, '[');
    for (size_t i = 0; i < p->n; i++) {
        if (i > 0)
            buf_put_u8(out, ',');
        write_tensor(p, i, out);
    }
    buf_put_u8(out, ']');
    plan_text_warnings(p, out);
    plan_text_links(p, out);
    buf_put_u8(out, '}');
}
