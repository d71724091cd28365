/* layer_compare_distance.c: how far the layers went from the first analysis to the last, as far as
 * jobs of kind distances have measured it. Nothing is computed here: the weights are not at hand.
 */
#include "api/layer_compare_data.h"

#include "common/json_out.h"
#include "daemon/row_text.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Pairs that are looked up in one turn on the store thread: some milliseconds. */
#define PAIRS_AT_ONCE 500

void layer_distance_free(struct layer_distance *d)
{
    if (!d)
        return;
    free(d->shape);
    free(d);
}

/* --- reading -----------------------------------------------------------------------------------
 */

static bool read_digest(const struct row_text *t, struct digest *out)
{
    const struct row_member *m = row_text_find(t, "digest", t->count > 5 ? t->count - 5 : 0);

    return m && m->len == DIGEST_HEX_LEN + 2 && digest_from_hex(m->value + 1, out);
}

/* Of the first analysis; of the last when it is the same. */
static void note_shape(struct layer_distance *d, const struct row_text *t)
{
    const struct row_member *m = row_text_find(t, "shape", 8);

    if (m && !d->shape)
        d->shape = strndup(m->value, m->len);
    else if (m && d->status != LAYER_DISTANCE_COMPOSED &&
             (strlen(d->shape) != m->len || memcmp(d->shape, m->value, m->len) != 0))
        d->status = LAYER_DISTANCE_SHAPE;
}

/* The row is no tensor as it lies in its file: its digest is that of several. */
static bool is_composed(const struct row_text *t)
{
    const struct row_member *m = row_text_find(t, "operation", t->count > 8 ? t->count - 8 : 0);

    return m && *m->value == '"' && !row_text_matches(m, "tensor", false);
}

void layer_compare_note_end(const struct layer_compare *c, struct layer_compare_layer *l,
                            size_t item, const struct row_text *t)
{
    size_t end = item == 0 ? 0 : 1;

    if (!c->ask.distances || (item != 0 && item != c->n - 1))
        return;
    if (!l->distance)
        l->distance = xcalloc(1, sizeof *l->distance);
    l->distance->has[end] = read_digest(t, &l->distance->digest[end]);
    if (is_composed(t))
        l->distance->status = LAYER_DISTANCE_COMPOSED;
    note_shape(l->distance, t);
}

static void look_up(struct store *st, const struct layer_compare_layer *l)
{
    struct layer_distance *d = l->distance;
    struct distance_pair pair;

    if (d && (!d->has[0] || !d->has[1]))
        d->status = LAYER_DISTANCE_ABSENT;
    if (!d || !d->has[0] || !d->has[1] || d->status != LAYER_DISTANCE_ABSENT)
        return;
    d->status = LAYER_DISTANCE_UNKNOWN;
    if (digest_equal(&d->digest[0], &d->digest[1])) {
        d->status = LAYER_DISTANCE_IDENTICAL;
        return;
    }
    distance_pair_make(&d->digest[1], &d->digest[0], strcmp(l->type, "conv2d") == 0, &pair);
    if (distance_find(st, &pair, &d->result) == 0)
        d->status = LAYER_DISTANCE_MEASURED;
}

/* What would measure the rest: the sources of both analyses' jobs, while those are remembered. */
static void read_request(struct layer_compare *c, struct store *st)
{
    struct job_record first = {0}, last = {0};

    if (store_job_get(st, c->item[0].job, &first, NULL) == 0 &&
        store_job_get(st, c->item[c->n - 1].job, &last, NULL) == 0)
        c->request = xasprintf("{\"kind\":\"distances\",\"source\":%s,\"params\":{\"base\":%s}}",
                               last.source, first.source);
    job_record_done(&first);
    job_record_done(&last);
}

void layer_compare_look_up_some(struct layer_compare *c, struct store *st)
{
    size_t last = c->looked + PAIRS_AT_ONCE < c->n_layers ? c->looked + PAIRS_AT_ONCE : c->n_layers;

    if (c->looked == 0)
        read_request(c, st);
    for (; c->looked < last; c->looked++)
        look_up(st, &c->layer[c->looked]);
    c->looked_all = c->looked == c->n_layers;
}

/* --- writing -----------------------------------------------------------------------------------
 */

static enum layer_distance_status status_of(const struct layer_compare_layer *l)
{
    return l->distance ? l->distance->status : LAYER_DISTANCE_ABSENT;
}

static const char *status_name(enum layer_distance_status s)
{
    static const char *const name[] = {
        [LAYER_DISTANCE_ABSENT] = "absent",       [LAYER_DISTANCE_SHAPE] = "shape",
        [LAYER_DISTANCE_COMPOSED] = "composed",   [LAYER_DISTANCE_UNKNOWN] = "unknown",
        [LAYER_DISTANCE_IDENTICAL] = "identical", [LAYER_DISTANCE_MEASURED] = "measured",
    };

    return name[s];
}

struct numbers {
    double raw, euclidean, relative, cosine, cka;
};

static struct numbers numbers_of(const struct layer_compare_layer *l)
{
    const struct distance_result *v = l->distance ? &l->distance->result : NULL;

    if (status_of(l) == LAYER_DISTANCE_IDENTICAL)
        return (struct numbers){0, 0, 0, 1, 1};
    if (status_of(l) != LAYER_DISTANCE_MEASURED)
        return (struct numbers){NAN, NAN, NAN, NAN, NAN};
    return (struct numbers){v->raw, v->euclidean, v->norm_b > 0 ? v->raw / v->norm_b : NAN,
                            v->cosine, v->has_cka ? v->cka : NAN};
}

void layer_compare_put_distance(const struct layer_compare_layer *l, struct buf *b)
{
    const struct numbers x = numbers_of(l);

    json_text_key(b, "distance");
    buf_put_u8(b, '{');
    json_text_key_string(b, "status", status_name(status_of(l)));
    json_text_key_real(b, "raw", x.raw);
    json_text_key_real(b, "euclidean", x.euclidean);
    json_text_key_real(b, "relative", x.relative);
    json_text_key_real(b, "cosine", x.cosine);
    json_text_key_real(b, "cka", x.cka);
    buf_put_u8(b, '}');
}

void layer_compare_put_distances(const struct layer_compare *c, struct buf *b)
{
    size_t count[LAYER_DISTANCE_MEASURED + 1] = {0};

    for (size_t i = 0; i < c->n_layers; i++)
        count[status_of(&c->layer[i])]++;
    json_text_key(b, "distances");
    buf_put_u8(b, '{');
    json_text_key_string(b, "first", c->item[0].id);
    json_text_key_string(b, "last", c->item[c->n - 1].id);
    json_text_key_int(b, "n_measured", (int64_t)count[LAYER_DISTANCE_MEASURED]);
    json_text_key_int(b, "n_identical", (int64_t)count[LAYER_DISTANCE_IDENTICAL]);
    json_text_key_int(b, "n_unknown", (int64_t)count[LAYER_DISTANCE_UNKNOWN]);
    json_text_key_int(b, "n_composed", (int64_t)count[LAYER_DISTANCE_COMPOSED]);
    json_text_key_int(b, "n_shape", (int64_t)count[LAYER_DISTANCE_SHAPE]);
    json_text_key_int(b, "n_absent", (int64_t)count[LAYER_DISTANCE_ABSENT]);
    json_out_raw(b, "request", count[LAYER_DISTANCE_UNKNOWN] ? c->request : NULL);
    buf_put_u8(b, '}');
}

void layer_compare_distance_values(const struct layer_compare_layer *l,
                                   double out[LAYER_DISTANCE_COLUMNS])
{
    const struct numbers x = numbers_of(l);
    const double v[] = {x.raw, x.euclidean, x.relative, x.cosine, x.cka};

    _Static_assert(ARRAY_LEN(v) == LAYER_DISTANCE_COLUMNS, "a value for each column");
    memcpy(out, v, sizeof v);
}
