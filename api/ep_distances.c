/* ep_distances.c: /v1/distances/{distances}: what a job of kind distances found, and its layers. */
#include "api/ep.h"
#include "api/problem.h"
#include "api/layer_filters.h"
#include "api/table.h"
#include "daemon/distance_store.h"
#include "models/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- all together ---------------------------------------------------------------------------- */

struct summary {
    char id[IDENT_MAX];
    struct buf text;
};

static struct reply *read_summary(void *work, struct store *st)
{
    struct summary *s = work;
    struct err err;

    return distances_find(st, s->id, &s->text, &err) == 0 ? NULL : reply_err(&err);
}

static struct reply *write_summary(void *work, struct immutable_text *out)
{
    const struct summary *s = work;
    size_t len = strlen((const char *)s->text.data);

    buf_put(&out->body, s->text.data, len - 1);
    buf_printf(&out->body,
               ",\"links\":{\"self\":\"/v1/distances/%s\",\"layers\":\"/v1/distances/%s/layers\"}}",
               s->id, s->id);
    out->type = IMMUTABLE_JSON;
    return NULL;
}

static void free_summary(void *work)
{
    struct summary *s = work;

    buf_done(&s->text);
    free(s);
}

struct reply *ep_distances_get(struct request *rq)
{
    static const struct immutable_ops ops = {read_summary, write_summary, free_summary};
    struct immutable_wish wish;
    struct summary *s;
    struct err err;
    struct reply *r = immutable_find_json(rq, &wish);

    if (r)
        return r;
    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    if (!ident_valid(rq->match.arg[0], "dst_"))
        return reply_problem(ERR_NOT_FOUND, "no such distances");
    s = xcalloc(1, sizeof *s);
    snprintf(s->id, sizeof s->id, "%s", rq->match.arg[0]);
    return immutable_make(rq, &wish, &ops, s);
}

/* --- layers ---------------------------------------------------------------------------------- */

/* In the order of the rows' members. */
static const char *const columns[] = {
    "layer_id",  "name",       "longname",  "tensor",      "block",  "role",        "layer_type",
    "dtype",     "base_dtype", "shape",     "rf",          "status", "reason",      "detail",
    "identical", "raw",        "euclidean", "relative",    "cosine", "cka",         "cka_reason",
    "norm",      "base_norm",  "bias",      "bias_reason", "digest", "base_digest",
};

static const struct table layers = {"layers", columns,       ARRAY_LEN(columns),
                                    NULL,     layer_filters, LAYER_FILTERS};

/* Its summary and its rows may be forgotten one without the other. */
static int fetch(struct table_page *p, struct store *st, struct err *err)
{
    AUTO(buf_done) struct buf summary = BUF_INIT;
    struct layer_row_list first = {0};
    struct digest key;
    int r = distances_find(st, p->resource, &summary, err);

    distances_rows_key(p->resource, &key);
    if (r == 0)
        r = store_rows_get(st, &key, 0, 1, &first, err);
    if (r == 0 && first.count == 0)
        r = err_set(err, ERR_GONE,
                    "the cache that held these distances was removed; run the job again");
    layer_row_list_done(&first);
    return r == 0 ? table_fetch(p, st, &key, err) : r;
}

static struct reply *read_layers(void *work, struct store *st)
{
    struct err err;

    return fetch(work, st, &err) == 0 ? NULL : reply_err(&err);
}

struct reply *ep_distances_layers(struct request *rq)
{
    static const struct immutable_ops ops = {read_layers, table_write, table_free};

    if (!ident_valid(rq->match.arg[0], "dst_"))
        return reply_problem(ERR_NOT_FOUND, "no such distances");
    return table_reply(rq, &layers, "/v1/distances/", rq->match.arg[0], "/layers", &ops);
}
