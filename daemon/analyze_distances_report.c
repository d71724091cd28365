/* analyze_distances_report.c: what is said of distances: a row a layer, and all together.
 *
 * The id is a digest of the rows and the summary, so what is under an id never changes, and the
 * same comparison has the same id again.
 */
#include "daemon/analyze_distances.h"

#include "common/json_out.h"
#include "compute/matrix_distance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_PER_PUT 1000

/* --- numbers of a layer ---------------------------------------------------------------------- */

struct layer_distance {
    double raw, euclidean, relative, cosine, cka, norm, base_norm, bias;
};

static const struct layer_distance unknown = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};

/* Equal tensors are as near as can be, even where all weights are zero. */
static struct layer_distance numbers(const struct tensor_pair *p, const struct distance_params *ask)
{
    const struct distance_result *v = &p->result;
    bool equal = p->identical;
    double relative = v->norm_b > 0 ? v->raw / v->norm_b : NAN;

    return (struct layer_distance){
        .raw = v->raw,
        .euclidean = v->euclidean,
        .relative = equal ? 0 : relative,
        .cosine = equal ? 1 : v->cosine,
        .cka = !ask->cka     ? NAN
               : equal       ? 1
               : p->task.cka ? v->cka
                             : NAN,
        .norm = v->norm_a,
        .base_norm = v->norm_b,
        .bias = NAN,
    };
}

/* NULL when there is none, or it failed. */
static const struct tensor_pair *pair_at(const struct distances_work *w, size_t i)
{
    const struct tensor_pair *p = i == DISTANCE_NONE ? NULL : distances_pair(w, i);

    return p && p->outcome == DISTANCE_DONE ? p : NULL;
}

static struct layer_distance distance_of(const struct distances_work *w,
                                         const struct distance_row *row)
{
    const struct tensor_pair *weight = pair_at(w, row->weight), *bias = pair_at(w, row->bias);
    struct layer_distance d = weight ? numbers(weight, &w->params) : unknown;

    if (bias)
        d.bias = bias->result.raw;
    return d;
}

/* --- a row ----------------------------------------------------------------------------------- */

static void put_status(struct buf *b, const struct distances_work *w,
                       const struct distance_row *row, const struct layer *l)
{
    const struct tensor_pair *p =
        row->weight == DISTANCE_NONE ? NULL : distances_pair(w, row->weight);
    bool failed = p && p->outcome == DISTANCE_FAILED;

    json_text_key_string(b, "status", !p ? "skipped" : failed ? "failed" : "success");
    json_text_key_string(b, "reason",
                         !p       ? skip_reason_name(l->skip)
                         : failed ? err_name(p->code)
                                  : NULL);
    json_text_key_string(b, "detail", !p ? skip_reason_text(l->skip) : p->detail);
}

static void put_numbers(struct buf *b, const struct distances_work *w,
                        const struct distance_row *row)
{
    const struct layer_distance d = distance_of(w, row);
    const struct tensor_pair *p = pair_at(w, row->weight);

    json_text_key(b, "identical");
    buf_printf(b, "%s", !p ? "null" : p->identical ? "true" : "false");
    json_text_key_real(b, "raw", d.raw);
    json_text_key_real(b, "euclidean", d.euclidean);
    json_text_key_real(b, "relative", d.relative);
    json_text_key_real(b, "cosine", d.cosine);
    json_text_key_real(b, "cka", d.cka);
    json_text_key_string(b, "cka_reason", p && p->cka_left_out ? "limit" : NULL);
    json_text_key_real(b, "norm", d.norm);
    json_text_key_real(b, "base_norm", d.base_norm);
    json_text_key_real(b, "bias", d.bias);
    if (row->bias != DISTANCE_NONE && distances_pair(w, row->bias)->outcome == DISTANCE_FAILED)
        json_text_key_string(b, "bias_reason", err_name(distances_pair(w, row->bias)->code));
    else
        json_text_key_string(b, "bias_reason", row->bias_reason);
}

static void put_digest(struct buf *b, const char *key, const struct digest *d)
{
    char hex[DIGEST_HEX_LEN + 1];

    if (d)
        digest_hex(d, hex);
    json_text_key_string(b, key, d ? hex : NULL);
}

static void write_row(const struct analyze *a, size_t i, struct buf *b)
{
    const struct distances_work *w = a->distances;
    const struct distance_row *row = &w->row[i];
    const struct layer *l = &a->layers.l[row->layer];
    const struct tensor_pair *p = row->weight == DISTANCE_NONE ? NULL : &w->pair[row->weight];

    buf_put_u8(b, '{');
    analyze_row_names(row->layer, l, b);
    json_text_key_string(b, "base_dtype", p ? dtype_name(l->part[1].dtype) : NULL);
    json_text_key_counts(b, "shape", l->dims, l->rank);
    json_text_key_int(b, "rf", (int64_t)(l->n_slices ? l->n_slices : 1));
    put_status(b, w, row, l);
    put_numbers(b, w, row);
    put_digest(b, "digest", p ? &p->digest[0] : NULL);
    put_digest(b, "base_digest", p ? &p->digest[1] : NULL);
    buf_put_u8(b, '}');
}

/* --- all together ---------------------------------------------------------------------------- */

struct mean {
    double sum;
    size_t n;
};

static void add(struct mean *m, double x)
{
    if (!isnan(x)) {
        m->sum += x;
        m->n++;
    }
}

static void put_mean(struct buf *b, const char *key, const struct mean *m)
{
    json_text_key_real(b, key, m->n ? m->sum / (double)m->n : NAN);
}

struct totals {
    size_t measured, identical, skipped, failed;
    struct mean raw, euclidean, relative, cosine, cka, bias;
    double squares, base_squares; /* of all layers that were measured */
};

static void add_row(struct totals *t, const struct distances_work *w,
                    const struct distance_row *row)
{
    const struct layer_distance d = distance_of(w, row);
    const struct tensor_pair *p = pair_at(w, row->weight);

    if (row->weight == DISTANCE_NONE)
        t->skipped++;
    else if (!p)
        t->failed++;
    if (!p)
        return;
    t->measured++;
    t->identical += p->identical;
    add(&t->raw, d.raw);
    add(&t->euclidean, d.euclidean);
    add(&t->relative, d.relative);
    add(&t->cosine, d.cosine);
    add(&t->cka, d.cka);
    add(&t->bias, isnan(d.bias) ? 0 : d.bias); /* as upstream: a layer without counts as 0 */
    t->squares += d.raw * d.raw;
    t->base_squares += d.base_norm * d.base_norm;
}

static void write_summary(const struct analyze *a, const struct totals *t, struct buf *b)
{
    const struct distances_work *w = a->distances;

    json_text_key_string(b, "model", a->model_id);
    json_text_key_string(b, "base", a->base->id);
    json_text_key(b, "cka");
    buf_printf(b, "%s", w->params.cka ? "true" : "false");
    json_text_key_int(b, "n_layers", (int64_t)w->n_rows);
    json_text_key_int(b, "n_measured", (int64_t)t->measured);
    json_text_key_int(b, "n_identical", (int64_t)t->identical);
    json_text_key_int(b, "n_skipped", (int64_t)t->skipped);
    json_text_key_int(b, "n_failed", (int64_t)t->failed);
    json_text_key_int(b, "n_only_in_base", (int64_t)w->n_only_in_base);
    json_text_key_real(b, "total", t->measured ? sqrt(t->squares) : NAN);
    json_text_key_real(b, "relative_total",
                       t->base_squares > 0 ? sqrt(t->squares / t->base_squares) : NAN);
    put_mean(b, "mean_raw", &t->raw);
    put_mean(b, "mean_euclidean", &t->euclidean);
    put_mean(b, "mean_relative", &t->relative);
    put_mean(b, "mean_cosine", &t->cosine);
    put_mean(b, "mean_cka", &t->cka);
    put_mean(b, "mean_bias", &t->bias);
}

void analyze_distances_summarise(struct analyze *a)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    AUTO(buf_done) struct buf b = BUF_INIT;
    AUTO(buf_done) struct buf body = BUF_INIT;
    struct distances_work *w = a->distances;
    struct totals t = {0};
    struct digest d;

    hasher_add_str(h, "spectrald-distances-1");
    for (size_t i = 0; i < w->n_rows; i++) {
        buf_reset(&b);
        write_row(a, i, &b);
        hasher_add(h, b.data, b.len);
        add_row(&t, w, &w->row[i]);
    }
    buf_put_u8(&body, '{');
    write_summary(a, &t, &body);
    hasher_add(h, body.data, body.len);
    hasher_finish(h, &d);
    ident_of_bytes(w->id, "dst_", d.b);
    buf_reset(&b);
    buf_put_u8(&b, '{');
    json_text_key_string(&b, "id", w->id);
    buf_printf(&b, ",%.*s", (int)(body.len - 1), (const char *)body.data + 1);
    buf_put_u8(&b, '}');
    buf_put_u8(&b, '\0');
    w->summary = (char *)TAKE(b.data);
}

/* --- storing --------------------------------------------------------------------------------- */

static int put_some(struct analyze *a, struct store *st, const struct digest *key, size_t first)
{
    const struct distances_work *w = a->distances;
    size_t count = w->n_rows - first < ROWS_PER_PUT ? w->n_rows - first : ROWS_PER_PUT;
    struct layer_row *row = xcalloc(count, sizeof *row);
    struct layer_row_list list = {row, count};
    int r;

    for (size_t k = 0; k < count; k++) {
        size_t layer = w->row[first + k].layer;
        struct buf b = BUF_INIT;

        write_row(a, first + k, &b);
        buf_put_u8(&b, '\0');
        row[k] = (struct layer_row){.layer_id = layer,
                                    .longname = xstrdup(a->layers.l[layer].longname),
                                    .json = (char *)b.data};
    }
    r = store_rows_put(st, key, row, count, &a->err);
    layer_row_list_done(&list);
    return r;
}

int analyze_distances_put(struct analyze *a, struct store *st)
{
    const struct distances_work *w = a->distances;
    struct digest key;
    int r = 0;

    distances_rows_key(w->id, &key);
    for (size_t i = 0; r == 0 && i < w->n_rows; i += ROWS_PER_PUT)
        r = put_some(a, st, &key, i);
    if (r == 0)
        r = distances_put(st, w->id, w->summary, &a->err);
    return r;
}
