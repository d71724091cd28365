/* analyze_smooth.c: a job that writes a model whose matrices have lower rank, or have lost their
 * largest singular values: instead of a plan and its rows. The rest is that of a prune job
 * (analyze_prune.h).
 */
#include "daemon/analyze_prune.h"

#include "common/json_out.h"
#include "common/json_text.h"
#include "daemon/artifacts_main.h"

#include <math.h>
#include <stdlib.h>

int analyze_smooth_start(struct analyze *a, const json_t *params, struct err *err)
{
    struct prune_params p;
    struct analyze_params layers;
    int r = prune_params_parse_smooth(params, &p, &layers, err);

    if (r < 0)
        return r;
    a->params = layers;
    a->prune = xcalloc(1, sizeof *a->prune);
    a->prune->params = p;
    artifact_id_of_job(a->job->rec.id, a->prune->artifact_id);
    return 0;
}

/* --- which layers ---------------------------------------------------------------------------- */

/* Weights of embeddings are looked up one by one: they stay unless they are named. */
static void leave_some(struct analyze *a)
{
    for (size_t i = 0; i < a->layers.count; i++) {
        struct layer *l = &a->layers.l[i];

        if (l->skip == SKIP_NONE && l->type == TYPE_EMBEDDING &&
            !a->prune->params.smooth.embeddings)
            l->skip = SKIP_FILTERED;
        if (l->skip == SKIP_NONE && !dtype_encodable(l->dtype))
            l->skip = SKIP_DTYPE;
    }
}

int analyze_smooth_rows(struct analyze *a, struct err *err)
{
    struct prune_work *w = a->prune;

    leave_some(a);
    w->row = xcalloc(a->layers.count + 1, sizeof *w->row);
    for (size_t i = 0; i < a->layers.count; i++) {
        const struct layer *l = &a->layers.l[i];
        struct weights weights;

        if (l->skip != SKIP_NONE)
            continue;
        w->row[w->n_rows] = (struct prune_row){.layer = i, .fd = -1};
        weights_of_layer(l, &weights);
        w->row[w->n_rows++].task.m = weights.tensor[0];
    }
    if (w->n_rows == 0)
        return err_set_at(err, ERR_INVALID, "/params",
                          "no layer that is asked for can be smoothed");
    return analyze_prune_shards(a, err);
}

/* --- tasks ----------------------------------------------------------------------------------- */

static struct smooth_task task_of(const struct prune_work *w, const struct prune_row *row)
{
    return (struct smooth_task){.m = row->task.m, .opt = w->params.smooth.opt};
}

double analyze_smooth_flops(const struct prune_work *w, const struct prune_row *row)
{
    const struct smooth_task t = task_of(w, row);

    return smooth_task_flops(&t);
}

void analyze_smooth_task(const struct analyze *a, const struct prune_row *row, struct task *t)
{
    const struct smooth_task s = task_of(a->prune, row);

    t->bytes = smooth_task_bytes(&s);
    t->fd[t->n_fds++] = a->source->file[a->layers.l[row->layer].file].fd;
    smooth_task_put(&t->body, &s);
}

/* --- the report ------------------------------------------------------------------------------ */

struct sums {
    double params, before, change; /* weights; squares of norms */
    size_t smoothed;
};

static void write_smoothed(const struct smooth_outcome *o, struct buf *b)
{
    json_text_key_string(b, "status", "smoothed");
    json_text_key_string(b, "action", o->how == TRUNCATE_REMOVE ? "remove" : "keep");
    json_text_key_int(b, "k", (int64_t)o->k);
    json_text_key_int(b, "kept", (int64_t)o->kept);
    json_text_key_real(b, "norm", o->norm);
    json_text_key_real(b, "relative_error", o->stated);
    json_text_key_real(b, "relative_error_stored", o->change);
}

static void write_skipped(const char *reason, struct buf *b)
{
    json_text_key_string(b, "status", "skipped");
    json_text_key_string(b, "reason", reason);
}

static const struct prune_row **rows_by_layer(const struct analyze *a)
{
    const struct prune_row **of = xcalloc(a->layers.count + 1, sizeof(struct prune_row *));

    for (size_t i = 0; i < a->prune->n_rows; i++)
        of[a->prune->row[i].layer] = &a->prune->row[i];
    return of;
}

static void write_layer(const struct layer *l, const struct prune_row *row, struct sums *s,
                        struct buf *b)
{
    const struct smooth_outcome *o = row ? &row->outcome.smooth : NULL;

    buf_put_u8(b, '{');
    json_out_text(b, "name", l->longname);
    json_out_text(b, "tensor", l->tensor);
    json_text_key_string(b, "type", layer_type_name(l->type));
    if (o) {
        json_text_key_int(b, "params", (int64_t)(l->rows * l->cols * l->n_slices));
        json_text_key_int(b, "slices", (int64_t)l->n_slices);
        if (o->rank)
            json_text_key_int(b, "rank_before", (int64_t)o->rank);
    }
    if (o && o->reason == SMOOTHED) {
        write_smoothed(o, b);
        s->params += (double)(l->rows * l->cols * l->n_slices);
        s->before += o->norm * o->norm;
        s->change += o->change * o->norm * o->change * o->norm;
        s->smoothed++;
    } else {
        write_skipped(o ? smooth_reason_name(o->reason) : skip_reason_name(l->skip), b);
    }
    buf_put_u8(b, '}');
}

static void write_options(const struct smooth_options *o, struct buf *b)
{
    json_text_key_string(b, "method", smooth_method_name(o->method));
    if (o->method == SMOOTH_SVD && o->k)
        json_text_key_int(b, "k", o->k);
    else if (o->method == SMOOTH_SVD)
        json_text_key_real(b, "percent", o->percent);
    if (o->compat)
        json_text_key_string(b, "compat", ANALYZE_COMPAT_NAME);
}

/* Norms and biases are no layers that anybody would smooth: they have no line. */
static bool is_listed(const struct layer *l)
{
    return l->skip != SKIP_NORM && l->skip != SKIP_BIAS && l->skip != SKIP_ONE_DIMENSION &&
           l->skip != SKIP_MASK;
}

void analyze_smooth_report(const struct analyze *a, struct buf *b)
{
    AUTO(freep) const struct prune_row **row = rows_by_layer(a);
    struct sums s = {0};
    bool first = true;

    buf_put_u8(b, '{');
    json_text_key_string(b, "format", "dense");
    write_options(&a->prune->params.smooth.opt, b);
    json_out_text(b, "model", a->source->name);
    json_text_key(b, "layers");
    buf_put_u8(b, '[');
    for (size_t i = 0; i < a->layers.count; i++) {
        if (!is_listed(&a->layers.l[i]))
            continue;
        if (!first)
            buf_put_u8(b, ',');
        write_layer(&a->layers.l[i], row[i], &s, b);
        first = false;
    }
    buf_put_u8(b, ']');
    json_text_key_int(b, "n_smoothed", (int64_t)s.smoothed);
    json_text_key_int(b, "n_params", (int64_t)s.params);
    json_text_key_real(b, "relative_error", s.before > 0 ? sqrt(s.change / s.before) : 0);
    buf_put_u8(b, '}');
}
