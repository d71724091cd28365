/* analyze_reshape_report.c: see analyze_reshape.h. */
#include "daemon/analyze_reshape.h"

#include "common/json_out.h"

#include <math.h>
#include <string.h>

/* More than so much besides what was asked for is worth a word. */
#define MISSED 0.005

struct sums {
    double before, after; /* weights of what is cut */
    double embeddings;    /* of the model's: embeddings and heads */
};

static struct sums sum_up(const struct analyze *a)
{
    const struct reshape *r = a->prune->reshape;
    struct sums s = {0};

    for (size_t i = 0; i < r->n_parts; i++) {
        s.before += r->part[i].before;
        s.after += r->part[i].after;
    }
    for (size_t i = 0; i < a->layers.count; i++) {
        const struct layer *l = &a->layers.l[i];

        if (l->role == ROLE_EMBEDDING || l->role == ROLE_HEAD)
            s.embeddings += (double)l->nbytes * 8 / dtype_bits(l->dtype);
    }
    return s;
}

/* The share that was asked for. */
static double target(const struct analyze *a)
{
    const struct reshape_params *p = &a->prune->params.reshape;
    const struct reshape *r = a->prune->reshape;

    return p->keep || p->by_plan ? 1 - (double)r->kept / (double)r->of : p->sparsity;
}

static double achieved(const struct reshape *r)
{
    return 1 - (double)r->kept / (double)r->of;
}

static void write_gone(const struct reshape *r, const struct reshape_part *p, struct buf *b)
{
    bool first = true;

    json_text_key(b, "dropped");
    buf_put_u8(b, '[');
    for (uint64_t j = 0; j < r->of; j++)
        if (!p->keep[j]) {
            buf_printf(b, first ? "%llu" : ",%llu", (unsigned long long)j);
            first = false;
        }
    buf_put_u8(b, ']');
}

/* Of neurons only how many, and what is lost with them. */
static void write_part(const struct analyze *a, const struct reshape_part *p, struct buf *b)
{
    const struct reshape *r = a->prune->reshape;
    bool experts = a->prune->params.reshape.method == RESHAPE_EXPERT_DROP;

    buf_put_u8(b, '{');
    json_out_text(b, "name", p->name);
    json_out_text(b, "block", *p->block ? p->block : NULL);
    json_text_key_int(b, "params", (int64_t)p->before);
    json_text_key_int(b, "params_kept", (int64_t)p->after);
    json_text_key_real(b, experts ? "saliency_kept" : "score_kept", p->kept_share);
    if (experts)
        write_gone(r, p, b);
    buf_put_u8(b, '}');
}

static void write_parts(const struct analyze *a, struct buf *b)
{
    const struct prune_work *w = a->prune;
    const struct reshape *r = w->reshape;
    bool experts = w->params.reshape.method == RESHAPE_EXPERT_DROP;

    json_text_key(b, experts ? "experts" : "width");
    buf_put_u8(b, '{');
    json_text_key_int(b, "of", (int64_t)r->of);
    json_text_key_int(b, "kept", (int64_t)r->kept);
    if (!experts) {
        if (r->multiple)
            json_text_key_int(b, "multiple_of", (int64_t)r->multiple);
        json_text_key_string(b, "rank_by", reshape_rank_name(r->rank));
    }
    json_text_key(b, experts ? "layers" : "parts");
    buf_put_u8(b, '[');
    for (size_t i = 0; i < r->n_parts; i++) {
        if (i > 0)
            buf_put_u8(b, ',');
        write_part(a, &r->part[i], b);
    }
    buf_printf(b, "]}");
}

/* As of other methods: the share of each block's weights that is gone. */
static void write_blocks(const struct analyze *a, struct buf *b)
{
    const struct reshape *r = a->prune->reshape;
    bool first = true;

    json_text_key(b, "blocks");
    buf_put_u8(b, '[');
    for (size_t i = 0; i < r->n_parts; i++) {
        const struct reshape_part *p = &r->part[i];

        if (!*p->block)
            continue;
        buf_printf(b, first ? "{" : ",{");
        json_out_text(b, "block", p->block);
        json_text_key_int(b, "params", (int64_t)p->before);
        json_text_key_real(b, "sparsity", target(a));
        json_text_key_real(b, "achieved", 1 - p->after / p->before);
        buf_put_u8(b, '}');
        first = false;
    }
    buf_put_u8(b, ']');
}

static void warn(struct buf *b, const char *code, const char *text)
{
    buf_printf(b, b->data[b->len - 1] == '[' ? "{" : ",{");
    json_text_key_string(b, "code", code);
    json_text_key_string(b, "detail", text);
    buf_put_u8(b, '}');
}

static void write_warnings(const struct analyze *a, struct buf *b)
{
    const struct prune_work *w = a->prune;
    const struct reshape *r = w->reshape;

    json_text_key(b, "warnings");
    buf_put_u8(b, '[');
    if (fabs(achieved(r) - target(a)) > MISSED)
        warn(b, "target_missed",
             "the share that is gone differs from what was asked for by more than 0.5 %: whole "
             "experts go, as many in each group, and widths are multiples");
    if (!r->config_json)
        warn(b, "no_config",
             "there is no config.json: whoever loads the model has to know how many experts or "
             "neurons it has");
    buf_put_u8(b, ']');
}

void analyze_reshape_report(const struct analyze *a, struct buf *b)
{
    const struct prune_work *w = a->prune;
    const struct reshape *r = w->reshape;
    struct sums s = sum_up(a);
    double gone = s.before - s.after;

    buf_put_u8(b, '{');
    json_text_key_string(b, "format", "dense");
    json_text_key_string(b, "method", reshape_method_name(w->params.reshape.method));
    json_text_key_string(b, "plan", w->plan_id);
    json_out_text(b, "model", a->source->name);
    json_text_key_real(b, "target_sparsity", target(a));
    json_text_key_real(b, "achieved_sparsity", gone / s.before);
    json_text_key_real(b, "model_sparsity", gone / r->before);
    json_text_key_real(b, "model_sparsity_without_embeddings", gone / (r->before - s.embeddings));
    json_text_key_int(b, "n_params", (int64_t)s.before);
    json_text_key_int(b, "n_params_total", (int64_t)r->before);
    json_text_key_int(b, "n_params_after", (int64_t)r->after);
    write_parts(a, b);
    write_blocks(a, b);
    buf_printf(b, ",\"tensors\":[]");
    write_warnings(a, b);
    buf_put_u8(b, '}');
}
