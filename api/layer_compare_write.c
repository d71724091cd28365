/* layer_compare_write.c: a comparison as JSON or CSV. */
#include "api/layer_compare_data.h"

#include "api/csv.h"
#include "common/json_out.h"
#include "compute/layer_metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void open_array(struct buf *b, const char *key)
{
    json_text_key(b, key);
    buf_put_u8(b, '[');
}

static void put_bool(struct buf *b, const char *key, bool x)
{
    json_text_key(b, key);
    buf_printf(b, x ? "true" : "false");
}

static void put_analyses(const struct layer_compare *c, struct buf *b)
{
    open_array(b, "analyses");
    for (size_t i = 0; i < c->n; i++) {
        const struct layer_compare_item *p = &c->item[i];

        buf_printf(b, i ? ",{" : "{");
        json_text_key_string(b, "id", p->id);
        json_text_key_string(b, "model", p->model);
        json_text_key_real(b, "at", p->at);
        json_out_time(b, "created_at", p->created_ms);
        buf_put_u8(b, '}');
    }
    buf_put_u8(b, ']');
}

static void put_numbers(struct buf *b, const char *key, const double *x, size_t n)
{
    open_array(b, key);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_put_u8(b, ',');
        json_text_real(b, x[i]);
    }
    buf_put_u8(b, ']');
}

static void put_place(const struct layer_compare *c, struct buf *b, const char *key, size_t step)
{
    json_text_key_string(b, key, step == TREND_NEVER ? NULL : c->item[step].id);
}

/* null where there are too few analyses for one. */
static int put_trend(const struct layer_compare *c, size_t m, const double *x, const char *key,
                     struct buf *b, struct err *err)
{
    struct trend t;
    int r = 0;

    json_text_key(b, key);
    if (c->n < 3) {
        buf_printf(b, "null");
        return 0;
    }
    r = layer_compare_trend(c, m, x, &t, err);
    if (r < 0)
        return r;
    buf_put_u8(b, '{');
    json_text_key_int(b, "n", (int64_t)t.n);
    json_text_key_real(b, "slope", t.slope);
    json_text_key_real(b, "intercept", t.intercept);
    json_text_key_real(b, "kendall", t.kendall);
    put_place(c, b, "leaves", t.leaves);
    put_place(c, b, "returns", t.returns);
    json_text_key_int(b, "outside", (int64_t)t.outside);
    buf_put_u8(b, '}');
    return 0;
}

/* --- metrics --------------------------------------------------------------------------------- */

static int put_moved(const struct layer_compare *c, size_t m, struct buf *b, struct err *err)
{
    AUTO(freep) struct layer_move *moved = NULL;
    size_t n;
    int r = layer_compare_moved(c, m, &moved, &n, err);

    if (r < 0)
        return r;
    open_array(b, "moved");
    for (size_t i = 0; i < n && i < c->ask.moved; i++) {
        buf_printf(b, i ? ",{" : "{");
        json_text_key_string(b, "longname", c->layer[moved[i].layer].longname);
        json_text_key_real(b, "first", moved[i].before);
        json_text_key_real(b, "last", moved[i].after);
        json_text_key_real(b, "difference", moved[i].change);
        json_text_key_real(b, "z", moved[i].z);
        buf_put_u8(b, '}');
    }
    buf_put_u8(b, ']');
    return 0;
}

static int put_metric(const struct layer_compare *c, size_t m, struct buf *b, struct err *err)
{
    double mean[COMPARE_ANALYSES_MAX];
    size_t count = layer_compare_mean(c, m, mean);
    int r;

    buf_printf(b, m ? ",{" : "{");
    json_text_key_string(b, "metric", c->metric[m]);
    json_text_key_int(b, "n_layers", (int64_t)count);
    put_numbers(b, "mean", mean, c->n);
    json_text_key_real(b, "difference", mean[c->n - 1] - mean[0]);
    r = put_trend(c, m, mean, "trend", b, err);
    if (r == 0)
        r = put_moved(c, m, b, err);
    buf_put_u8(b, '}');
    return r;
}

/* --- warnings -------------------------------------------------------------------------------- */

static void put_layer_warnings(const struct layer_compare *c, size_t layer, bool *first,
                               struct buf *b)
{
    const double *x = layer_compare_values(c, layer, c->alpha);
    double before = NAN;

    for (size_t i = 0; i < c->n; i++) {
        if (!isfinite(x[i]))
            continue;
        if (isfinite(before) && strcmp(layer_warning(before), layer_warning(x[i])) != 0) {
            buf_printf(b, *first ? "{" : ",{");
            *first = false;
            json_text_key_string(b, "longname", c->layer[layer].longname);
            json_text_key_string(b, "analysis", c->item[i].id);
            json_text_key_string(b, "warning_before", layer_warning(before));
            json_text_key_string(b, "warning_after", layer_warning(x[i]));
            json_text_key_real(b, "alpha_before", before);
            json_text_key_real(b, "alpha_after", x[i]);
            buf_put_u8(b, '}');
        }
        before = x[i];
    }
}

static void put_warnings(const struct layer_compare *c, struct buf *b)
{
    bool first = true;

    open_array(b, "warning_changes");
    for (size_t i = 0; i < c->n_layers; i++)
        put_layer_warnings(c, i, &first, b);
    buf_put_u8(b, ']');
}

/* --- layers ---------------------------------------------------------------------------------- */

static void put_missing(const struct layer_compare *c, size_t layer, struct buf *b)
{
    bool first = true;

    open_array(b, "missing_in");
    for (size_t i = 0; i < c->n; i++) {
        if (layer_compare_has(c, layer, i))
            continue;
        buf_printf(b, "%s\"%s\"", first ? "" : ",", c->item[i].id);
        first = false;
    }
    buf_put_u8(b, ']');
}

static double difference(const struct layer_compare *c, const double *x)
{
    return x[c->n - 1] - x[0];
}

static int put_layer(const struct layer_compare *c, size_t i, struct buf *b, struct err *err)
{
    const struct layer_compare_layer *l = &c->layer[i];
    int r = 0;

    buf_put_u8(b, '{');
    json_text_key_string(b, "longname", l->longname);
    json_text_key_string(b, "role", l->role);
    json_text_key_string(b, "layer_type", l->type);
    put_bool(b, "changed", l->changed);
    put_missing(c, i, b);
    if (c->ask.distances)
        layer_compare_put_distance(l, b);
    json_text_key(b, "metrics");
    buf_put_u8(b, '{');
    for (size_t m = 0; r == 0 && m < c->ask.n_metrics; m++) {
        const double *x = layer_compare_values(c, i, m);

        json_text_key(b, c->metric[m]);
        buf_put_u8(b, '{');
        put_numbers(b, "values", x, c->n);
        json_text_key_real(b, "difference", difference(c, x));
        r = put_trend(c, m, x, "trend", b, err);
        buf_put_u8(b, '}');
    }
    buf_printf(b, "}}");
    return r;
}

static bool is_wanted(const struct layer_compare *c, size_t i)
{
    return !c->ask.changed || c->layer[i].changed;
}

static int put_layers(const struct layer_compare *c, struct buf *b, struct err *err)
{
    bool first = true;
    int r = 0;

    open_array(b, "layers");
    for (size_t i = 0; r == 0 && i < c->n_layers; i++) {
        if (!is_wanted(c, i))
            continue;
        if (!first)
            buf_put_u8(b, ',');
        first = false;
        r = put_layer(c, i, b, err);
    }
    buf_put_u8(b, ']');
    return r;
}

static size_t count_changed(const struct layer_compare *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n_layers; i++)
        n += c->layer[i].changed;
    return n;
}

static size_t count_shared(const struct layer_compare *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n_layers; i++)
        n += (size_t)__builtin_popcountll(c->layer[i].in) == c->n;
    return n;
}

int layer_compare_write_json(const struct layer_compare *c, struct buf *b, struct err *err)
{
    int r = 0;

    buf_put_u8(b, '{');
    put_analyses(c, b);
    json_text_key_string(b, "step_label", *c->ask.step_label ? c->ask.step_label : NULL);
    json_text_key_int(b, "n_layers", (int64_t)c->n_layers);
    json_text_key_int(b, "n_shared", (int64_t)count_shared(c));
    json_text_key_int(b, "n_changed", (int64_t)count_changed(c));
    open_array(b, "metrics");
    for (size_t m = 0; r == 0 && m < c->ask.n_metrics; m++)
        r = put_metric(c, m, b, err);
    buf_put_u8(b, ']');
    put_warnings(c, b);
    if (c->ask.distances)
        layer_compare_put_distances(c, b);
    if (r == 0)
        r = put_layers(c, b, err);
    buf_put_u8(b, '}');
    return r;
}

/* --- CSV ------------------------------------------------------------------------------------- */

static void csv_real(struct buf *b, double x)
{
    csv_comma(b);
    if (isfinite(x))
        json_text_real(b, x);
}

static void csv_distance(const struct layer_compare_layer *l, struct buf *b)
{
    double x[LAYER_DISTANCE_COLUMNS];

    layer_compare_distance_values(l, x);
    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        csv_real(b, x[i]);
}

static int put_line(const struct layer_compare *c, size_t i, size_t m, struct buf *b,
                    struct err *err)
{
    const struct layer_compare_layer *l = &c->layer[i];
    const double *x = layer_compare_values(c, i, m);
    struct trend t = {.slope = NAN, .kendall = NAN};
    int r = c->n < 3 ? 0 : layer_compare_trend(c, m, x, &t, err);

    csv_text(b, l->longname, strlen(l->longname));
    buf_printf(b, ",%s,%s", c->metric[m], l->changed ? "true" : "false");
    for (size_t k = 0; k < c->n; k++)
        csv_real(b, x[k]);
    csv_real(b, difference(c, x));
    csv_real(b, t.slope);
    csv_real(b, t.kendall);
    if (c->ask.distances)
        csv_distance(l, b);
    csv_end(b);
    return r;
}

int layer_compare_write_csv(const struct layer_compare *c, struct buf *b, struct err *err)
{
    int r = 0;

    buf_printf(b, "longname,metric,changed");
    for (size_t i = 0; i < c->n; i++)
        buf_printf(b, ",%s", c->item[i].id);
    buf_printf(b, ",difference,slope,kendall%s",
               c->ask.distances ? ",raw,euclidean,relative,cosine,cka" : "");
    csv_end(b);
    for (size_t i = 0; r == 0 && i < c->n_layers; i++)
        for (size_t m = 0; r == 0 && is_wanted(c, i) && m < c->ask.n_metrics; m++)
            r = put_line(c, i, m, b, err);
    return r;
}
