/* ep_plot.c: …/plot.svg: pictures of a layer, and of all layers of an analysis. */
#include "api/analysis_plot.h"
#include "api/ep.h"
#include "api/immutable.h"
#include "api/layer_plot.h"
#include "api/layer_spectrum.h"
#include "api/problem.h"
#include "daemon/measure_task.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct immutable_form forms[] = {{"svg", "image/svg+xml", "image/svg+xml"}};

/* --- of a layer ------------------------------------------------------------------------------ */

struct layer_picture {
    struct layer_esd of;
    struct buf null; /* eigenvalues of shuffled weights, where the kind needs them */
    enum layer_plot_kind kind;
};

static void layer_free(void *work)
{
    struct layer_picture *p = work;

    layer_esd_done(&p->of);
    buf_done(&p->null);
    free(p);
}

static int fetch_null(struct layer_picture *p, struct store *st, struct err *err)
{
    const struct layer_row *row = &p->of.layer->row;
    struct digest key;

    measure_null_key(&row->spectrum, row->scale, &key);
    if (store_cache_find(st, CACHE_SPECTRUM, &key, &p->null, err) == ERR_NOT_FOUND)
        return err_set(
            err, ERR_NOT_FOUND,
            "the weights of this layer have not been shuffled: submit an analyze job with "
            "\"randomize\": true first");
    return 0;
}

static struct reply *layer_read(void *work, struct store *st)
{
    struct layer_picture *p = work;
    struct err err = {0};
    int r = layer_esd_fetch(&p->of, st, &err);

    if (r == 0 && p->kind == LAYER_PLOT_RAND)
        r = fetch_null(p, st, &err);
    return r == 0 ? NULL : reply_err(&err);
}

static double number(const json_t *row, const char *name)
{
    const json_t *v = json_object_get(row, name);

    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* As the row has it, where the analysis was asked for the fit. */
static bool upstream(const json_t *row)
{
    const char *method = json_string_value(json_object_get(row, "mp_method"));

    return method && strcmp(method, "upstream") == 0;
}

/* The law of noise is one of matrices, not of their products. */
static bool has_bulk(const json_t *row)
{
    const char *made = json_string_value(json_object_get(row, "operation"));

    return !made || (strcmp(made, "lora") != 0 && strcmp(made, "product") != 0);
}

static struct reply *layer_write(void *work, struct immutable_text *out)
{
    struct layer_picture *p = work;
    json_auto_t *row = json_loads(p->of.layer->row.json, 0, NULL);
    const char *name = json_string_value(json_object_get(row, "longname"));
    struct err err;
    int r = layer_esd_pool(&p->of, &err);

    if (r == 0 && p->kind == LAYER_PLOT_MP && !has_bulk(row))
        r = err_set(&err, ERR_NOT_FOUND, "a product of matrices has no bulk of noise to fit");
    if (r == 0) {
        struct layer_plot lp = {.name = name ? name : "",
                                .lambda = p->of.lambda,
                                .n = p->of.n,
                                .n_long = p->of.rec.n_long,
                                .n_short = p->of.rec.n_per_slice,
                                .upstream = upstream(row),
                                .null = p->null.len == p->of.n * sizeof(double)
                                            ? (const double *)(const void *)p->null.data
                                            : NULL,
                                .noise = p->of.noise,
                                .alpha = number(row, "alpha"),
                                .D = number(row, "D"),
                                .sigma = number(row, "sigma"),
                                .xmin = number(row, "xmin"),
                                .xmax = number(row, "xmax")};

        r = layer_plot_draw(p->kind, &lp, &out->body, &err);
    }
    out->type = forms[0].type;
    return r < 0 ? reply_err(&err) : NULL;
}

/* ?kind=, one of `n` names; the first when it is not there. */
static int read_kind(struct query *q, const char *(*name)(int k), int n, int *out, struct err *err)
{
    AUTO(buf_done) struct buf all = BUF_INIT;
    const char *kind;
    int r = query_text(q, "kind", 16, &kind, err);

    *out = 0;
    if (r < 0 || !kind)
        return r;
    for (int k = 0; k < n; k++) {
        if (strcmp(kind, name(k)) == 0) {
            *out = k;
            return 0;
        }
        buf_printf(&all, "%s%s", k == 0 ? "" : k == n - 1 ? " or " : ", ", name(k));
    }
    return err_set_at(err, ERR_INVALID, "?kind", "query parameter kind: expected %.*s",
                      (int)all.len, (const char *)all.data);
}

/* The picture from memory, or whatever else is the answer before one is drawn. */
static struct reply *find(struct request *rq, struct immutable_wish *wish)
{
    const struct immutable_form *form;
    struct reply *r = immutable_find(rq, forms, ARRAY_LEN(forms), wish);

    return r ? r : immutable_choose(rq, forms, ARRAY_LEN(forms), wish, &form);
}

static const char *layer_kind(int k)
{
    return layer_plot_name((enum layer_plot_kind)k);
}

struct reply *ep_layers_plot(struct request *rq)
{
    static const struct immutable_ops ops = {layer_read, layer_write, layer_free};
    struct immutable_wish wish;
    struct reply *r = find(rq, &wish);
    struct layer_picture *p;
    struct err err;
    int kind;

    if (r)
        return r;
    p = xcalloc(1, sizeof *p);
    if (read_kind(&rq->query, layer_kind, LAYER_PLOT_COUNT, &kind, &err) < 0 ||
        query_check_unused(&rq->query, &err) < 0 || layer_esd_new(rq, &p->of, &err) < 0) {
        layer_free(p);
        return reply_err(&err);
    }
    p->kind = (enum layer_plot_kind)kind;
    return immutable_make(rq, &wish, &ops, p);
}

/* --- of an analysis -------------------------------------------------------------------------- */

struct analysis_picture {
    char id[IDENT_MAX];
    enum analysis_plot_kind kind;
    struct analysis_points points;
};

static void analysis_free(void *work)
{
    struct analysis_picture *p = work;

    analysis_points_done(&p->points);
    free(p);
}

static struct reply *analysis_read(void *work, struct store *st)
{
    struct analysis_picture *p = work;
    struct err err;

    return analysis_points_read(st, p->id, &p->points, &err) == 0 ? NULL : reply_err(&err);
}

static struct reply *analysis_write(void *work, struct immutable_text *out)
{
    struct analysis_picture *p = work;
    struct err err;

    out->type = forms[0].type;
    return analysis_plot_draw(p->kind, &p->points, &out->body, &err) == 0 ? NULL : reply_err(&err);
}

static const char *analysis_kind(int k)
{
    return analysis_plot_name((enum analysis_plot_kind)k);
}

struct reply *ep_analyses_plot(struct request *rq)
{
    static const struct immutable_ops ops = {analysis_read, analysis_write, analysis_free};
    struct immutable_wish wish;
    struct reply *r = find(rq, &wish);
    struct analysis_picture *p;
    struct err err;
    int kind;

    if (r)
        return r;
    if (!ident_valid(rq->match.arg[0], "ana_"))
        return reply_problem(ERR_NOT_FOUND, "no such analysis");
    if (read_kind(&rq->query, analysis_kind, ANALYSIS_PLOT_COUNT, &kind, &err) < 0 ||
        query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    p = xcalloc(1, sizeof *p);
    snprintf(p->id, sizeof p->id, "%s", rq->match.arg[0]);
    p->kind = (enum analysis_plot_kind)kind;
    return immutable_make(rq, &wish, &ops, p);
}
