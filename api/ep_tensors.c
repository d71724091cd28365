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

static const struct table tensors = {"tensors", columns, ARRAY_LEN(columns),
                                     NULL,      filters, ARRAY_LEN(filters)};

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
        r = err_set(err, ERR_GONE,
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

struct reply *ep_tensors_list(struct request *rq)
{
    static const struct immutable_ops ops = {read_tensors, table_write, table_free};

    if (!ident_valid(rq->match.arg[0], "mdl_"))
        return reply_problem(ERR_NOT_FOUND, "no such model");
    return table_reply(rq, &tensors, "/v1/models/", rq->match.arg[0], "/tensors", &ops);
}
