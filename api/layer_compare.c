/* layer_compare.c: see layer_compare.h. Which analyses, and their layers. */
#include "api/layer_compare_data.h"

#include "api/series.h"
#include "compute/model_summary.h"
#include "daemon/layer_analysis.h"
#include "daemon/row_text.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows in one turn on the store thread: some milliseconds. */
#define ROWS_AT_ONCE 1000

struct layer_compare *layer_compare_new(const struct layer_compare_ask *ask)
{
    struct layer_compare *c = xcalloc(1, sizeof *c);

    c->ask = *ask;
    c->looked_all = !ask->distances;
    c->n = ask->n;
    c->n_metrics = ask->n_metrics;
    c->alpha = SIZE_MAX;
    for (size_t m = 0; m < ask->n_metrics; m++) {
        c->metric[m] = ask->metric[m];
        if (strcmp(ask->metric[m], "alpha") == 0)
            c->alpha = m;
    }
    if (c->alpha == SIZE_MAX) {
        c->alpha = c->n_metrics;
        c->metric[c->n_metrics++] = "alpha";
    }
    c->index = json_object();
    return c;
}

void layer_compare_free(struct layer_compare *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_layers; i++) {
        free(c->layer[i].longname);
        free(c->layer[i].before);
        layer_distance_free(c->layer[i].distance);
    }
    free(c->layer);
    free(c->request);
    free(c->x);
    json_decref(c->index);
    free(c);
}

/* --- the analyses ---------------------------------------------------------------------------- */

static int read_place(const struct layer_compare *c, size_t i, const struct analysis_record *rec,
                      double *at, struct err *err)
{
    json_auto_t *labels = NULL;
    const char *value;

    *at = (double)i;
    if (!*c->ask.step_label)
        return 0;
    labels = json_loads(rec->labels ? rec->labels : "{}", 0, NULL);
    value = json_string_value(json_object_get(labels, c->ask.step_label));
    if (!value || !series_number(value, at))
        return err_set_at(err, ERR_INVALID, "?step", "label %s of analysis %s is no number",
                          c->ask.step_label, rec->id);
    return 0;
}

static int read_analysis(struct layer_compare *c, size_t i, struct store *st, struct err *err)
{
    struct layer_compare_item *p = &c->item[i];
    struct analysis_record rec = {0};
    double at = 0;
    int r = layer_analysis(st, c->ask.id[i], &rec, err);

    if (r == ERR_NOT_FOUND || r == ERR_GONE) {
        struct err why = *err;

        return err_set_at(err, r, "?analyses", "%s: %s", c->ask.id[i], why.text);
    }
    if (r == 0)
        r = read_place(c, i, &rec, &at, err);
    if (r == 0 && rec.n_layers > COMPARE_LAYERS_MAX)
        r = err_set_at(err, ERR_LIMIT, "?analyses",
                       "analysis %s has %llu layers; a comparison has room for %d", rec.id,
                       (unsigned long long)rec.n_layers, COMPARE_LAYERS_MAX);
    if (r == 0) {
        p->at = at;
        p->n_layers = rec.n_layers;
        p->rows = rec.rows;
        p->created_ms = rec.created_ms;
        snprintf(p->id, sizeof p->id, "%s", rec.id);
        snprintf(p->model, sizeof p->model, "%s", rec.model);
        snprintf(p->job, sizeof p->job, "%s", rec.job);
    }
    analysis_record_done(&rec);
    return r;
}

static int by_place(const void *x, const void *y)
{
    const struct layer_compare_item *a = x, *b = y;

    if (a->at != b->at)
        return (a->at > b->at) - (a->at < b->at);
    if (a->created_ms != b->created_ms)
        return (a->created_ms > b->created_ms) - (a->created_ms < b->created_ms);
    return strcmp(a->id, b->id);
}

static int read_analyses(struct layer_compare *c, struct store *st, struct err *err)
{
    uint64_t rows = 0;

    for (size_t i = 0; i < c->n; i++) {
        int r = read_analysis(c, i, st, err);

        if (r < 0)
            return r;
        rows += c->item[i].n_layers;
    }
    if (rows > COMPARE_ROWS_MAX)
        return err_set_at(err, ERR_LIMIT, "?analyses",
                          "these analyses have %llu layers together; a comparison has room for %d",
                          (unsigned long long)rows, COMPARE_ROWS_MAX);
    qsort(c->item, c->n, sizeof *c->item, by_place);
    c->known = true;
    return 0;
}

/* --- their layers ---------------------------------------------------------------------------- */

struct reading {
    struct layer_compare *c;
    size_t item;
    size_t next; /* the number that the next layer probably has */
    struct err *err;
};

static const char *role_of(const struct row_text *t)
{
    const struct row_member *m = row_text_find(t, "role", 5);

    for (int i = 0; m && i < ROLE_COUNT; i++)
        if (row_text_matches(m, layer_role_name((enum layer_role)i), false))
            return layer_role_name((enum layer_role)i);
    return layer_role_name(ROLE_OTHER);
}

static const char *type_of(const struct row_text *t)
{
    AUTO(buf_done) struct buf plain = BUF_INIT;
    const struct row_member *m = row_text_find(t, "layer_type", 6);
    int type;

    if (m)
        (void)row_text_plain(m, &plain);
    buf_put_u8(&plain, '\0');
    type = layer_type_from_name((const char *)plain.data);
    return type < 0 ? "other" : layer_type_name((enum layer_type)type);
}

static void grow(struct layer_compare *c)
{
    size_t of_one = c->n_metrics * c->n;

    c->cap = c->cap ? 2 * c->cap : 256;
    c->layer = xrealloc(c->layer, c->cap * sizeof *c->layer);
    c->x = xrealloc(c->x, c->cap * of_one * sizeof *c->x);
}

static int add_layer(struct layer_compare *c, const char *longname, const struct row_text *t,
                     struct err *err)
{
    size_t of_one = c->n_metrics * c->n;

    if ((c->n_layers + 1) * of_one > COMPARE_VALUES_MAX)
        return err_set_at(err, ERR_LIMIT, "?analyses",
                          "layers times analyses times metrics are more than %d: take fewer "
                          "analyses or metrics",
                          COMPARE_VALUES_MAX);
    if (c->n_layers == c->cap)
        grow(c);
    c->layer[c->n_layers] = (struct layer_compare_layer){
        .longname = xstrdup(longname), .role = role_of(t), .type = type_of(t)};
    for (size_t k = 0; k < of_one; k++)
        c->x[c->n_layers * of_one + k] = NAN;
    (void)json_object_set_new_nocheck(c->index, longname, json_integer((json_int_t)c->n_layers));
    c->n_layers++;
    return 0;
}

/* The number of the layer, which is added where it is new. */
static int find_layer(struct reading *g, const char *longname, const struct row_text *t)
{
    struct layer_compare *c = g->c;
    json_t *known;

    if (g->next < c->n_layers && strcmp(c->layer[g->next].longname, longname) == 0)
        return 0;
    known = json_object_get(c->index, longname);
    g->next = known ? (size_t)json_integer_value(known) : c->n_layers;
    return known ? 0 : add_layer(c, longname, t, g->err);
}

/* The content now, against that of the step before. */
static void note_content(struct layer_compare *c, struct layer_compare_layer *l, size_t item,
                         const struct row_text *t)
{
    const struct row_member *m = row_text_find(t, "digest", t->count > 5 ? t->count - 5 : 0);
    AUTO(buf_done) struct buf hex = BUF_INIT;

    if (item + 2 < c->n)
        return;
    if (m)
        (void)row_text_plain(m, &hex);
    buf_put_u8(&hex, '\0');
    if (item + 2 == c->n)
        l->before = (char *)TAKE(hex.data);
    else
        l->changed = !l->before || strcmp(l->before, (const char *)hex.data) != 0;
}

static int take_row(struct reading *g, const struct layer_row *row)
{
    struct layer_compare *c = g->c;
    struct layer_compare_layer *l;
    const struct row_member *status;
    struct row_text t;
    double *x;
    int r;

    if (!row_text_parse(row->json, &t))
        return err_set(g->err, ERR_INTERNAL, "a row of the analysis is malformed");
    status = row_text_find(&t, "status", 9);
    if (status && row_text_matches(status, "skipped", false))
        return 0;
    r = find_layer(g, row->longname, &t);
    if (r < 0)
        return r;
    l = &c->layer[g->next];
    if (!(l->in >> g->item & 1)) { /* two rows of one name: the first counts */
        l->in |= 1ull << g->item;
        x = c->x + g->next * c->n_metrics * c->n;
        for (size_t m = 0; m < c->n_metrics; m++)
            x[m * c->n + g->item] = row_text_real(&t, c->metric[m]);
        note_content(c, l, g->item, &t);
        layer_compare_note_end(c, l, g->item, &t);
    }
    g->next++;
    return 0;
}

/* A layer that left with the last step has changed, too. */
static void note_gone(struct layer_compare *c)
{
    for (size_t i = 0; i < c->n_layers; i++)
        if (c->layer[i].before && !layer_compare_has(c, i, c->n - 1))
            c->layer[i].changed = true;
}

static int read_rows(struct layer_compare *c, struct store *st, struct err *err)
{
    struct layer_row_list l = {0};
    struct reading g = {.c = c, .item = c->read, .next = c->next, .err = err};
    int r = store_rows_get(st, &c->item[c->read].rows, c->row, ROWS_AT_ONCE, &l, err);

    for (size_t i = 0; r == 0 && i < l.count; i++)
        r = take_row(&g, &l.row[i]);
    c->next = g.next;
    if (r == 0 && l.count == ROWS_AT_ONCE) {
        c->row = l.row[l.count - 1].layer_id + 1;
    } else if (r == 0) {
        c->row = c->next = 0;
        c->read++;
        if (c->read == c->n)
            note_gone(c);
    }
    layer_row_list_done(&l);
    return r;
}

int layer_compare_read_some(struct layer_compare *c, struct store *st, struct err *err)
{
    uint64_t rows = 0;

    if (!c->known)
        return read_analyses(c, st, err);
    if (c->read == c->n)
        layer_compare_look_up_some(c, st);
    while (c->read < c->n && rows < ROWS_AT_ONCE) {
        uint64_t of_it = c->item[c->read].n_layers - c->row;
        int r = read_rows(c, st, err);

        if (r < 0)
            return r;
        rows += of_it < ROWS_AT_ONCE ? of_it : ROWS_AT_ONCE;
    }
    return 0;
}

bool layer_compare_more(const struct layer_compare *c)
{
    return c->read < c->n || !c->looked_all;
}

/* --- what they say --------------------------------------------------------------------------- */

int layer_compare_trend(const struct layer_compare *c, size_t m, const double *x, struct trend *out,
                        struct err *err)
{
    double t[COMPARE_ANALYSES_MAX];
    bool exponents = m == c->alpha;

    for (size_t i = 0; i < c->n; i++)
        t[i] = c->item[i].at;
    return series_trend(t, x, c->n, exponents ? ALPHA_LOW : -INFINITY,
                        exponents ? ALPHA_HIGH : INFINITY, out, err);
}

int layer_compare_moved(const struct layer_compare *c, size_t m, struct layer_move **out,
                        size_t *count, struct err *err)
{
    AUTO(freep) double *before = xcalloc(c->n_layers + 1, sizeof *before);
    AUTO(freep) double *after = xcalloc(c->n_layers + 1, sizeof *after);
    struct layer_move *moved = xcalloc(c->n_layers + 1, sizeof *moved);
    int r;

    for (size_t i = 0; i < c->n_layers; i++) {
        before[i] = layer_compare_values(c, i, m)[0];
        after[i] = layer_compare_values(c, i, m)[c->n - 1];
    }
    r = layer_moves(before, after, c->n_layers, 0, moved, count, err);
    if (r == 0)
        *out = moved;
    else
        free(moved);
    return r;
}

size_t layer_compare_mean(const struct layer_compare *c, size_t m, double *mean)
{
    size_t count = 0;

    memset(mean, 0, c->n * sizeof *mean);
    for (size_t i = 0; i < c->n_layers; i++) {
        const double *x = layer_compare_values(c, i, m);
        bool all = true;

        for (size_t k = 0; k < c->n; k++)
            all = all && isfinite(x[k]);
        for (size_t k = 0; all && k < c->n; k++)
            mean[k] += x[k];
        count += all;
    }
    for (size_t k = 0; k < c->n; k++)
        mean[k] = count ? mean[k] / (double)count : NAN;
    return count;
}
