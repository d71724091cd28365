/* ep_tensors.c: /v1/models/{model}/tensors. */
#include "api/ep.h"
#include "api/problem.h"
#include "api/table.h"
#include "daemon/tensor_rows.h"

/* In the order of the rows' members. */
static const char *const columns[] = {"name",  "dtype", "shape",      "n_params", "nbytes",
                                      "block", "role",  "layer_type", "digest"};

static const struct table_filter filters[] = {
    {"dtype", "dtype", false, 32, NULL, NULL},
    {"name", "name", true, 512, NULL, NULL},
};

static const struct table tensors = {"tensors", columns, ARRAY_LEN(columns), filters,
                                     ARRAY_LEN(filters)};

static int fetch(struct table_page *p, struct store *st, struct err *err)
{
    struct model_record model = {0};
    struct layer_row_list first = {0};
    struct digest key;
    int r = store_model_get(st, p->resource, &model, err);

    tensor_rows_key(p->resource, &key);
    if (r == 0)
        r = store_rows_get(st, &key, 0, 1, &first, err);
    if (r == 0 && first.count == 0 && model.n_tensors > 0)
        r = err_set(err, FAULT_GONE,
                    "the cache that held the tensors of this model was removed, or is older than "
                    "this table; analyse the model again to have it anew");
    layer_row_list_done(&first);
    model_record_done(&model);
    return r == 0 ? table_fetch(p, st, &key, err) : r;
}

static struct reply *read_tensors(void *work, struct store *st)
{
    struct err err;

    return fetch(work, st, &err) == 0 ? NULL : reply_err(&err);
}

static struct reply *write_tensors(void *work, struct immutable_text *out)
{
    struct err err;

    return table_write(work, out, &err) < 0 ? reply_err(&err) : NULL;
}

static void free_page(void *work)
{
    table_page_free(work);
}

struct reply *ep_tensors_list(struct request *rq)
{
    static const struct immutable_ops ops = {read_tensors, write_tensors, free_page};
    struct immutable_wish wish;
    struct table_page *p;
    struct reply *r = immutable_find(rq, table_forms, table_n_forms, &wish);
    AUTO(freep) char *path = NULL;

    if (r)
        return r;
    if (!ident_valid(rq->match.arg[0], "mdl_"))
        return reply_problem(ERR_NOT_FOUND, "no such model");
    path = xasprintf("/v1/models/%s/tensors", rq->match.arg[0]);
    r = table_ask(rq, &tensors, rq->match.arg[0], path, &wish, &p);
    return r ? r : immutable_make(rq, &wish, &ops, p);
}
