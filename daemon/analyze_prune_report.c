/* analyze_prune_report.c: see analyze_prune.h. */
#include "daemon/analyze_prune.h"

#include "common/json_out.h"
#include "common/json_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than so much besides what was asked for is worth a word. */
#define MISSED 0.005

static double weights_of(const struct prune_row *r)
{
    return (double)r->task.m.rows * (double)r->task.m.cols;
}

/* --- notes ---------------------------------------------------------------------------------- */

static char *hex_of(const struct buf *b)
{
    char *hex = xmalloc(2 * b->len + 1);

    for (size_t i = 0; i < b->len; i++)
        snprintf(hex + 2 * i, 3, "%02x", b->data[i]);
    hex[2 * b->len] = '\0';
    return hex;
}

/* {"digest": "…", "outcomes": ["…", …]}: records as a worker sent them, checked again on the way
 * back. */
char *analyze_prune_note(const struct analyze *a, const struct prune_shard *s)
{
    char digest[DIGEST_HEX_LEN + 1];
    struct buf b = BUF_INIT;

    digest_hex(&s->digest, digest);
    buf_printf(&b, "{\"digest\":\"%s\",\"outcomes\":[", digest);
    for (size_t i = s->first; i < s->first + s->count; i++) {
        struct buf record = BUF_INIT;
        AUTO(freep) char *hex = NULL;

        prune_outcome_write(&a->prune->row[i].outcome, &record);
        hex = hex_of(&record);
        buf_printf(&b, "%s\"%s\"", i > s->first ? "," : "", hex);
        buf_done(&record);
    }
    buf_printf(&b, "]}");
    buf_put_u8(&b, '\0');
    return (char *)b.data;
}

static bool read_outcome(struct prune_row *r, const json_t *text)
{
    const char *hex = json_string_value(text);
    struct buf b = BUF_INIT;
    unsigned byte;
    bool good;

    for (size_t i = 0; hex && hex[i] && hex[i + 1]; i += 2) {
        if (sscanf(hex + i, "%2x", &byte) != 1)
            break;
        buf_put_u8(&b, (uint8_t)byte);
    }
    good = prune_outcome_parse(&r->task, b.data, b.len, &r->outcome, NULL) == 0;
    buf_done(&b);
    return good;
}

bool analyze_prune_read_note(struct analyze *a, struct prune_shard *s, const char *note)
{
    json_auto_t *o = json_loads(note, 0, NULL);
    const json_t *outcomes = json_object_get(o, "outcomes");
    const char *digest = json_string_value(json_object_get(o, "digest"));

    if (!digest || strlen(digest) != DIGEST_HEX_LEN || !digest_from_hex(digest, &s->digest) ||
        json_array_size(outcomes) != s->count)
        return false;
    for (size_t i = 0; i < s->count; i++)
        if (!read_outcome(&a->prune->row[s->first + i], json_array_get(outcomes, i)))
            return false;
    for (size_t i = 0; i < s->count; i++)
        a->prune->row[s->first + i].there = a->prune->row[s->first + i].done = true;
    return true;
}

/* --- tensors -------------------------------------------------------------------------------- */

static void write_trim(const struct trim_result *t, struct buf *b)
{
    json_text_key(b, "trim");
    buf_put_u8(b, '{');
    json_text_key_real(b, "uniform", t->uniform);
    json_text_key_real(b, "best", t->best);
    json_text_key_real(b, "learning_rate", t->rate);
    json_text_key_int(b, "iteration", t->iteration);
    json_text_key_real(b, "variance_uniform", t->spread_uniform);
    json_text_key_real(b, "variance", t->spread);
    buf_put_u8(b, '}');
}

/* Means over rows. */
static void write_dsnot(const struct dsnot_result *d, double rows, struct buf *b)
{
    json_text_key(b, "dsnot");
    buf_put_u8(b, '{');
    json_text_key_int(b, "swaps", (int64_t)d->swaps);
    json_text_key_real(b, "error_before", d->before / rows);
    json_text_key_real(b, "error", d->after / rows);
    buf_put_u8(b, '}');
}

static void write_tensor(const struct analyze *a, const struct prune_row *r, struct buf *b)
{
    const struct layer *l = &a->layers.l[r->layer];
    const struct prune_outcome *o = &r->outcome;

    buf_put_u8(b, '{');
    json_out_text(b, "name", l->longname);
    json_out_text(b, "tensor", l->tensor);
    json_out_text(b, "block", *l->block ? l->block : NULL);
    json_text_key_int(b, "params", (int64_t)weights_of(r));
    json_text_key_real(b, "sparsity", r->target);
    json_text_key_real(b, "achieved", (double)o->zeros / weights_of(r));
    json_text_key_int(b, "pruned", (int64_t)o->pruned);
    json_text_key_int(b, "zeros", (int64_t)o->zeros);
    json_text_key_int(b, "zeros_before", (int64_t)o->zeros_before);
    if (r->task.opt.selection == PRUNE_N_OF_M) {
        json_text_key_int(b, "keep", r->task.opt.m - r->task.opt.pruned);
        json_text_key_int(b, "of", r->task.opt.m);
    }
    if (o->has_error) {
        json_text_key_real(b, "error", o->error);
        json_text_key_real(b, "damping", o->damping);
        json_text_key_int(b, "dead_inputs", (int64_t)o->n_dead);
    }
    if (o->iterations) {
        json_text_key_int(b, "iterations", o->iterations);
        json_text_key_real(b, "rho", o->rho);
    }
    if (o->tokens)
        json_text_key_int(b, "tokens", (int64_t)o->tokens);
    if (o->has_trim)
        write_trim(&o->trim, b);
    if (o->has_dsnot)
        write_dsnot(&o->dsnot, (double)r->task.m.rows, b);
    buf_put_u8(b, '}');
}

/* In natural order of names, as everywhere. */
static int by_layer(const void *x, const void *y)
{
    const struct prune_row *p = *(struct prune_row *const *)x, *q = *(struct prune_row *const *)y;

    return (p->layer > q->layer) - (p->layer < q->layer);
}

struct block {
    const char *name;
    double params, zeros, target;
};

static void write_blocks(const struct analyze *a, struct prune_row *const *row, struct buf *b)
{
    const struct prune_work *w = a->prune;
    struct block at = {0};
    bool first = true;

    json_text_key(b, "blocks");
    buf_put_u8(b, '[');
    for (size_t i = 0; i <= w->n_rows; i++) {
        const char *name = i < w->n_rows ? a->layers.l[row[i]->layer].block : NULL;

        if (at.name && (!name || strcmp(name, at.name) != 0)) {
            if (*at.name) {
                buf_printf(b, first ? "{" : ",{");
                json_out_text(b, "block", at.name);
                json_text_key_int(b, "params", (int64_t)at.params);
                json_text_key_real(b, "sparsity", at.target / at.params);
                json_text_key_real(b, "achieved", at.zeros / at.params);
                buf_put_u8(b, '}');
                first = false;
            }
            at = (struct block){0};
        }
        if (!name)
            break;
        at.name = name;
        at.params += weights_of(row[i]);
        at.zeros += (double)row[i]->outcome.zeros;
        at.target += row[i]->target * weights_of(row[i]);
    }
    buf_put_u8(b, ']');
}

/* --- sums ----------------------------------------------------------------------------------- */

struct sums {
    double params, zeros, target; /* of what the plan names */
    double model, embeddings;     /* weights of all tensors; of embeddings and heads */
    uint64_t dead, damped, few;
};

static struct sums sum_up(const struct analyze *a)
{
    const struct prune_work *w = a->prune;
    struct sums s = {0};

    for (size_t i = 0; i < w->n_rows; i++) {
        const struct prune_row *r = &w->row[i];

        s.params += weights_of(r);
        s.zeros += (double)r->outcome.zeros;
        s.target += r->target * weights_of(r);
        s.dead += r->outcome.n_dead > 0;
        s.few += r->outcome.has_error && r->outcome.tokens && r->outcome.tokens < r->task.m.cols;
        s.damped += r->task.update == UPDATE_SPARSEGPT && r->outcome.damping > r->task.damping;
    }
    for (size_t i = 0; i < a->layers.count; i++) {
        const struct layer *l = &a->layers.l[i];
        double n = (double)l->nbytes * 8 / dtype_bits(l->dtype);

        s.model += n;
        s.embeddings += l->role == ROLE_EMBEDDING || l->role == ROLE_HEAD ? n : 0;
    }
    return s;
}

static void warn(struct buf *b, bool *first, const char *code, const char *text)
{
    buf_printf(b, *first ? "{" : ",{");
    json_text_key_string(b, "code", code);
    json_text_key_string(b, "detail", text);
    buf_put_u8(b, '}');
    *first = false;
}

static void write_warnings(const struct analyze *a, const struct sums *s, struct buf *b)
{
    const struct prune_work *w = a->prune;
    bool first = true, approximate = fabs(s->zeros - s->target) > MISSED * s->params;

    json_text_key(b, "warnings");
    buf_put_u8(b, '[');
    if (approximate)
        warn(b, &first, "target_missed",
             "the share of zeros differs from the plan by more than 0.5 %: counts of rows are "
             "rounded down, or there were zeros before");
    if (s->dead)
        warn(b, &first, "dead_inputs",
             "some inputs were never active in the calibration: their weights went first");
    if (s->few)
        warn(b, &first, "few_tokens",
             "some Gram matrices are of fewer tokens than they have inputs, and so are singular: "
             "what they say rests on their damping");
    if (s->damped)
        warn(b, &first, "damping_raised",
             "some Gram matrices are not positive definite: more was added to their diagonals");
    if (w->stats.loaded && w->stats.calibration.sequential == false && w->n_rows > 0 &&
        w->params.task.update)
        warn(b, &first, "dense_statistics",
             "the statistics are those of the dense model; the original method takes those of the "
             "pruned blocks before");
    if (w->params.format == FORMAT_SPARSE_BITMASK)
        warn(b, &first, "legacy_format",
             "sparse-bitmask is read by compressed-tensors 0.9.0 to 0.14.0.1 and by nothing newer; "
             "a job of kind decode makes the model dense again");
    buf_put_u8(b, ']');
}

static void write_file(struct buf *b, const char *name, uint64_t nbytes, const struct digest *d)
{
    char digest[DIGEST_HEX_LEN + 1];

    digest_hex(d, digest);
    buf_printf(b, b->data[b->len - 1] == '[' ? "{" : ",{");
    json_out_text(b, "name", name);
    json_text_key_int(b, "bytes", (int64_t)nbytes);
    json_text_key_string(b, "blake2b", digest);
    buf_put_u8(b, '}');
}

void analyze_prune_manifest(const struct analyze *a, const struct buf *report, struct buf *b)
{
    const struct prune_work *w = a->prune;

    buf_printf(b, "{\"files\":[");
    for (size_t i = 0; i < a->source->n_files; i++)
        if (!w->shard[i].absent)
            write_file(b, a->source->file[i].name, w->shard[i].nbytes, &w->shard[i].digest);
    for (size_t i = 0; i < w->n_side; i++)
        write_file(b, w->side[i].name, w->side[i].nbytes, &w->side[i].digest);
    buf_printf(b, "],");
    buf_put(b, report->data + 1, report->len - 1);
}

double analyze_prune_model_sparsity(const struct analyze *a)
{
    struct sums s = sum_up(a);

    return s.model > 0 ? s.zeros / s.model : 0;
}

void analyze_prune_report(const struct analyze *a, struct buf *b)
{
    const struct prune_work *w = a->prune;
    AUTO(freep) struct prune_row **row = xcalloc(w->n_rows + 1, sizeof(struct prune_row *));
    struct sums s = sum_up(a);

    for (size_t i = 0; i < w->n_rows; i++)
        row[i] = &w->row[i];
    if (w->n_rows)
        qsort(row, w->n_rows, sizeof *row, by_layer);
    buf_put_u8(b, '{');
    json_text_key_string(b, "format", prune_format_name(w->params.format));
    json_text_key_string(b, "method", prune_method_name(&w->params.task));
    json_text_key_string(b, "plan", w->plan_id);
    json_out_text(b, "model", a->source->name);
    json_text_key_real(b, "target_sparsity", s.target / s.params);
    json_text_key_real(b, "achieved_sparsity", s.zeros / s.params);
    json_text_key_real(b, "model_sparsity", s.zeros / s.model);
    json_text_key_real(b, "model_sparsity_without_embeddings", s.zeros / (s.model - s.embeddings));
    json_text_key_int(b, "n_params", (int64_t)s.params);
    json_text_key_int(b, "n_params_total", (int64_t)s.model);
    write_blocks(a, row, b);
    json_text_key(b, "tensors");
    buf_put_u8(b, '[');
    for (size_t i = 0; i < w->n_rows; i++) {
        if (i > 0)
            buf_put_u8(b, ',');
        write_tensor(a, row[i], b);
    }
    buf_put_u8(b, ']');
    write_warnings(a, &s, b);
    buf_printf(b, "}");
}
