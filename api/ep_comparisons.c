/* ep_comparisons.c: /v1/comparisons: the same layers in several analyses. */
#include "api/layer_compare.h"
#include "api/ep.h"
#include "api/problem.h"
#include "api/series.h"
#include "api/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANALYSES_LEN 4096
#define METRICS_LEN  1024

struct work {
    struct layer_compare *c;
    bool picture, csv;
    enum layer_compare_plot kind;
    const char *type; /* of the reply */
};

static void work_free(void *arg)
{
    struct work *w = arg;

    layer_compare_free(w->c);
    free(w);
}

static struct reply *work_read(void *arg, struct store *st)
{
    struct work *w = arg;
    struct err err;

    if (layer_compare_read_some(w->c, st, &err) == 0)
        return NULL;
    layer_compare_free(TAKE(w->c)); /* not on the loop thread */
    return reply_err(&err);
}

static bool work_more(const void *arg)
{
    const struct work *w = arg;

    return layer_compare_more(w->c);
}

static struct reply *work_write(void *arg, struct immutable_text *out)
{
    struct work *w = arg;
    struct err err;
    int r = w->picture ? layer_compare_draw(w->c, w->kind, &out->body, &err)
            : w->csv   ? layer_compare_write_csv(w->c, &out->body, &err)
                       : layer_compare_write_json(w->c, &out->body, &err);

    layer_compare_free(TAKE(w->c));
    out->type = w->type;
    return r == 0 ? NULL : reply_err(&err);
}

/* --- what is asked for ----------------------------------------------------------------------- */

static int bad(struct err *err, const char *name, const char *why)
{
    char pointer[32];

    snprintf(pointer, sizeof pointer, "?%s", name);
    return err_set_at(err, ERR_INVALID, pointer, "query parameter %s: %s", name, why);
}

static int add_analysis(struct layer_compare_ask *a, const char *id, struct err *err)
{
    if (a->n == COMPARE_ANALYSES_MAX)
        return bad(err, "analyses", "more than 64");
    if (!ident_valid(id, "ana_"))
        return bad(err, "analyses", "expected ids of analyses with commas between them");
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->id[i], id) == 0)
            return bad(err, "analyses", "an analysis is given twice");
    snprintf(a->id[a->n++], IDENT_MAX, "%s", id);
    return 0;
}

static int read_analyses(struct query *q, struct layer_compare_ask *a, struct err *err)
{
    const char *s;
    int r = query_text(q, "analyses", ANALYSES_LEN, &s, err);
    AUTO(freep) char *list = NULL;
    char *rest, *id;

    if (r < 0)
        return r;
    list = rest = xstrdup(s ? s : "");
    while (r == 0 && *list && (id = strsep(&rest, ",")))
        r = add_analysis(a, id, err);
    if (r == 0 && a->n < COMPARE_ANALYSES_MIN)
        r = bad(err, "analyses", "required: from 2 to 64 ids, with commas between them");
    return r;
}

static int add_metric(struct layer_compare_ask *a, const char *param, const char *name,
                      struct err *err)
{
    const char *metric;

    if (!series_metric(name, &metric))
        return bad(err, param, "expected numeric columns of layers, such as alpha");
    for (size_t i = 0; i < a->n_metrics; i++)
        if (a->metric[i] == metric)
            return bad(err, param, "a column is given twice");
    if (a->n_metrics == COMPARE_METRICS_MAX)
        return bad(err, param, "more than 16");
    a->metric[a->n_metrics++] = metric;
    return 0;
}

static int read_metrics(struct query *q, struct layer_compare_ask *a, const char *param,
                        const char *usual, struct err *err)
{
    const char *s;
    int r = query_text(q, param, METRICS_LEN, &s, err);
    AUTO(freep) char *list = NULL;
    char *rest, *name;

    if (r < 0)
        return r;
    list = rest = xstrdup(s ? s : usual);
    while (r == 0 && (name = strsep(&rest, ",")))
        r = add_metric(a, param, name, err);
    return r;
}

static int read_step(struct query *q, struct layer_compare_ask *a, struct err *err)
{
    const char *s;
    int r = query_text(q, "step", LABEL_KEY_MAX, &s, err);

    if (r < 0 || !s)
        return r;
    if (!label_key_valid(s))
        return bad(err, "step", "no label has such a key");
    snprintf(a->step_label, sizeof a->step_label, "%s", s);
    return 0;
}

static int read_table(struct query *q, struct layer_compare_ask *a, struct err *err)
{
    uint64_t moved = COMPARE_MOVED;
    int r = read_metrics(q, a, "metrics", "alpha,D,log_spectral_norm,stable_rank", err);

    if (r == 0)
        r = query_flag(q, "changed", &a->changed, err);
    if (r == 0)
        r = query_flag(q, "distances", &a->distances, err);
    if (r == 0)
        r = query_size(q, "moved", COMPARE_MOVED, COMPARE_MOVED_MAX, &moved, err);
    a->moved = (size_t)moved;
    return r;
}

static int read_picture(struct query *q, struct layer_compare_ask *a, enum layer_compare_plot *kind,
                        struct err *err)
{
    const char *s;
    int r = query_text(q, "kind", 16, &s, err);

    if (r < 0)
        return r;
    if (s && strcmp(s, layer_compare_plot_name(LAYER_COMPARE_PLOT_TREND)) == 0)
        *kind = LAYER_COMPARE_PLOT_TREND;
    else if (s && strcmp(s, layer_compare_plot_name(LAYER_COMPARE_PLOT_ALPHA_SCATTER)) != 0)
        return bad(err, "kind", "expected alpha_scatter or trend");
    if (*kind == LAYER_COMPARE_PLOT_TREND)
        r = read_metrics(q, a, "metric", "alpha", err);
    if (r == 0 && a->n_metrics > 1)
        r = bad(err, "metric", "expected one column");
    return r;
}

/* --- the answers ----------------------------------------------------------------------------- */

static struct reply *make(struct request *rq, const struct immutable_wish *wish,
                          const struct immutable_form *form, bool picture)
{
    static const struct immutable_ops ops = {work_read, work_write, work_free};
    struct immutable_manner manner = {.more = work_more, .slow = true};
    struct layer_compare_ask ask = {.n = 0};
    struct work *w = xcalloc(1, sizeof *w);
    struct err err;
    int r = read_analyses(&rq->query, &ask, &err);

    if (r == 0)
        r = read_step(&rq->query, &ask, &err);
    if (r == 0)
        r = picture ? read_picture(&rq->query, &ask, &w->kind, &err)
                    : read_table(&rq->query, &ask, &err);
    if (r == 0)
        r = query_check_unused(&rq->query, &err);
    if (r < 0) {
        free(w);
        return reply_err(&err);
    }
    w->picture = picture;
    w->csv = strcmp(form->word, "csv") == 0;
    w->type = form->type;
    w->c = layer_compare_new(&ask);
    manner.changes = *ask.step_label != '\0' || ask.distances;
    return immutable_make_so(rq, wish, &ops, &manner, w);
}

static struct reply *answer(struct request *rq, const struct immutable_form *forms, size_t n,
                            bool picture)
{
    const struct immutable_form *form;
    struct immutable_wish wish;
    struct reply *r = immutable_find(rq, forms, n, &wish);

    if (!r)
        r = immutable_choose(rq, forms, n, &wish, &form);
    return r ? r : make(rq, &wish, form, picture);
}

struct reply *ep_comparisons_get(struct request *rq)
{
    return answer(rq, table_forms, table_n_forms, false);
}

struct reply *ep_comparisons_plot(struct request *rq)
{
    static const struct immutable_form forms[] = {{"svg", "image/svg+xml", "image/svg+xml"}};

    return answer(rq, forms, ARRAY_LEN(forms), true);
}
