/* ep_traps.c: …/layers/{layer}/traps: the correlation traps of a layer, and which weights carry
 * them.
 */
#include "api/ep.h"
#include "api/immutable.h"
#include "api/layer_ref.h"
#include "api/problem.h"
#include "common/json_text.h"
#include "daemon/traps_record.h"
#include "daemon/measure_task.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct layer_traps {
    struct layer_ref *layer;
    struct measure_result result;
    struct trap trap[TRAPS_MAX];
    size_t n;
};

static void traps_free(void *work)
{
    struct layer_traps *t = work;

    if (t->layer)
        layer_ref_free(t->layer);
    free(t);
}

/* --- reading --------------------------------------------------------------------------------- */

static int not_looked_for(const char *reason, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "traps of this layer were not looked for: %.64s", reason);
}

/* Why the analysis did not look, from its row; 0 when it says nothing of that. */
static int refused(const struct layer_row *row, struct err *err)
{
    json_auto_t *o = json_loads(row->json, 0, NULL);
    const json_t *v;
    size_t i;

    json_array_foreach(json_object_get(o, "not_measured"), i, v)
    {
        const char *text = json_string_value(v);

        if (text && strncmp(text, "traps: ", 7) == 0)
            return not_looked_for(text + 7, err);
    }
    return 0;
}

/* Nothing is kept: because nobody asked for it, or because the cache has lost it. */
static int missing(bool asked, struct err *err)
{
    return asked ? err_set(err, ERR_GONE,
                           "the traps of this layer are no longer cached; submit the job again to "
                           "have them found anew, and ask for the new analysis")
                 : err_set(err, ERR_NOT_FOUND,
                           "traps of this layer have not been looked for: submit an analyze job "
                           "with \"traps\": true first");
}

static int parse(struct layer_traps *t, const struct buf *b, struct err *err)
{
    struct reader r;

    reader_init(&r, b->data, b->len);
    if (!measure_result_get(&r, MEASURE_TRAPS, &t->result) ||
        !traps_record_get(&r, UINT64_MAX, UINT64_MAX, t->trap, &t->n) || !reader_ok(&r))
        return missing(true, err);
    return t->result.reason == MEASURED
               ? 0
               : not_looked_for(measure_reason_name(t->result.reason), err);
}

static int fetch(struct layer_traps *t, struct store *st, struct err *err)
{
    const struct layer_row *row = &t->layer->row;
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct measure_options opt;
    struct digest key;
    bool asked;
    int r = layer_ref_read(t->layer, st, err);

    if (r == 0 && !row->has_spectrum)
        r = err_set(err, ERR_NOT_FOUND, "this layer has no spectrum");
    if (r == 0)
        r = refused(row, err);
    if (r < 0)
        return r;
    asked = traps_record_options(t->layer->record.params, &opt);
    traps_record_key(&row->spectrum, row->scale, &opt, &key);
    r = store_cache_find(st, CACHE_FIT, &key, &b, err);
    if (r == ERR_NOT_FOUND)
        return missing(asked, err);
    return r < 0 ? r : parse(t, &b, err);
}

static struct reply *traps_read(void *work, struct store *st)
{
    struct err err = {0};

    return fetch(work, st, &err) == 0 ? NULL : reply_err(&err);
}

/* --- writing --------------------------------------------------------------------------------- */

static void write_vector(struct buf *b, const char *key, const struct trap_vector *v)
{
    json_text_key(b, key);
    buf_printf(b, "{");
    json_text_key_real(b, "ipr", v->ipr);
    json_text_key_real(b, "q", v->q);
    json_text_key_real(b, "support", v->support);
    json_text_key_real(b, "entropy", v->entropy);
    json_text_key_real(b, "top", v->top);
    json_text_key_real(b, "gini", v->gini);
    buf_printf(b, "}");
}

static void write_entries(struct buf *b, const struct trap *t)
{
    json_text_key(b, "entries");
    buf_printf(b, "[");
    for (size_t i = 0; i < t->n_entries; i++) {
        const struct trap_entry *e = &t->entry[i];

        buf_printf(b, i > 0 ? ",{" : "{");
        json_text_key_int(b, "row", (int64_t)e->row);
        json_text_key_int(b, "column", (int64_t)e->column);
        json_text_key_real(b, "weight", e->weight);
        json_text_key_real(b, "component", e->component);
        json_text_key_real(b, "share", e->share);
        buf_printf(b, "}");
    }
    buf_printf(b, "]");
}

static void write_trap(struct buf *b, const struct trap *t)
{
    buf_printf(b, "{");
    json_text_key_real(b, "eigenvalue", t->lambda);
    json_text_key_real(b, "delta", t->delta);
    json_text_key_real(b, "share", t->share);
    json_text_key_string(b, "label", trap_label_name(t->label));
    json_text_key_real(b, "risk", t->risk);
    json_text_key_real(b, "diffuseness", t->diffuseness);
    json_text_key_real(b, "top_5_mass", t->top_5_mass);
    json_text_key_real(b, "top_10_mass", t->top_10_mass);
    json_text_key_real(b, "ipr", t->ipr);
    json_text_key_real(b, "q", t->q);
    write_vector(b, "left", &t->left);
    write_vector(b, "right", &t->right);
    write_entries(b, t);
    buf_printf(b, "}");
}

static struct reply *traps_write(void *work, struct immutable_text *out)
{
    const struct layer_traps *t = work;
    struct buf *b = &out->body;

    buf_printf(b, "{");
    json_text_key_string(b, "analysis", t->layer->analysis);
    json_text_key_int(b, "layer_id", (int64_t)t->layer->row.layer_id);
    json_text_key_string(b, "longname", t->layer->row.longname);
    json_text_key_int(b, "trap_count", (int64_t)t->result.v[MEASURE_TRAPS_COUNT]);
    json_text_key(b, "traps");
    buf_printf(b, "[");
    for (size_t k = 0; k < t->n; k++) {
        if (k > 0)
            buf_put_u8(b, ',');
        write_trap(b, &t->trap[k]);
    }
    buf_printf(b, "]}");
    out->type = IMMUTABLE_JSON;
    return NULL;
}

struct reply *ep_layers_traps(struct request *rq)
{
    static const struct immutable_ops ops = {traps_read, traps_write, traps_free};
    struct immutable_wish wish;
    struct layer_traps *t;
    struct err err;
    struct reply *r = immutable_find_json(rq, &wish);

    if (r)
        return r;
    t = xcalloc(1, sizeof *t);
    if (query_check_unused(&rq->query, &err) < 0 || layer_ref_new(rq, &t->layer, &err) < 0) {
        traps_free(t);
        return reply_err(&err);
    }
    return immutable_make(rq, &wish, &ops, t);
}
