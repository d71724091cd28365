/* ep_layers.c: /v1/analyses/{analysis}/layers: the table, and single rows. */
#include "api/ep.h"
#include "api/layer_ref.h"
#include "api/problem.h"
#include "api/layer_filters.h"
#include "api/table.h"
#include "compute/measure.h"
#include "daemon/layer_analysis.h"
#include "models/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the table ---------------------------------------------------------------------------------
 */

/* In the order of the rows' members: a lookup then hits at once. */
static const char *const columns[] = {
    "layer_id",
    "name",
    "longname",
    "tensor",
    "block",
    "role",
    "layer_type",
    "dtype",
    "shape",
    "status",
    "reason",
    "detail",
    "warning",
    "has_esd",
    "num_nonfinite",
    "D",
    "M",
    "N",
    "Q",
    "alpha",
    "alpha_weighted",
    "entropy",
    "lambda_max",
    "log_alpha_norm",
    "log_norm",
    "log_spectral_norm",
    "matrix_rank",
    "norm",
    "num_evals",
    "num_pl_spikes",
    "rank_loss",
    "rf",
    "sigma",
    "spectral_norm",
    "stable_rank",
    "sv_max",
    "sv_min",
    "weak_rank_loss",
    "xmax",
    "xmin",
    "alpha_mid",
    "alpha_peak",
    "alpha_peak_linear",
    "weight_mean",
    "weight_var",
    "Lambda",
    "num_fingers",
    "raw_alpha",
    "farms_alpha",
    "farms_D",
    "farms_num_evals",
    "farms_alpha_se",
    "farms_reason",
    "notes",
    "digest",
    "method",
    "precision",
    "error_bound",
    "blas_core",
};

/* Of the measures that an analysis was asked for, and of what its rows are made of. */
static const char *measured_column(size_t i)
{
    static const char *const last[] = {"not_measured", "operation", "lora_scale", "lora_rank"};

    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        const struct measure_info *info = measure_info((enum measure)m);

        if (i < info->n_columns)
            return info->column[i].name;
        i -= info->n_columns;
    }
    return i < ARRAY_LEN(last) ? last[i] : NULL;
}

static const struct table layers = {"layers",        columns,       ARRAY_LEN(columns),
                                    measured_column, layer_filters, LAYER_FILTERS};

static struct reply *read_layers(void *work, struct store *st)
{
    struct table_page *p = work;
    struct analysis_record analysis = {0};
    struct err err;
    int r = layer_analysis(st, p->resource, &analysis, &err);

    if (r == 0)
        r = table_fetch(p, st, &analysis.rows, &err);
    analysis_record_done(&analysis);
    return r == 0 ? NULL : reply_err(&err);
}

struct reply *ep_layers_list(struct request *rq)
{
    static const struct immutable_ops ops = {read_layers, table_write, table_free};

    if (!ident_valid(rq->match.arg[0], "ana_"))
        return reply_problem(ERR_NOT_FOUND, "no such analysis");
    return table_reply(rq, &layers, "/v1/analyses/", rq->match.arg[0], "/layers", &ops);
}

/* --- one row -----------------------------------------------------------------------------------
 */

static struct reply *read_layer(void *work, struct store *st)
{
    struct layer_ref *l = work;
    struct err err;

    return layer_ref_read(l, st, &err) == 0 ? NULL : reply_err(&err);
}

/* The row as in the table, and where to go from it. */
static struct reply *write_layer(void *work, struct immutable_text *out)
{
    const struct layer_ref *l = work;
    size_t len = strlen(l->row.json);
    unsigned long long id = l->row.layer_id;

    buf_put(&out->body, l->row.json, len - 1);
    buf_printf(&out->body,
               ",\"links\":{\"self\":\"/v1/analyses/%s/layers/%llu\","
               "\"esd\":\"/v1/analyses/%s/layers/%llu/esd\",\"analysis\":\"/v1/analyses/%s\"}}",
               l->analysis, id, l->analysis, id, l->analysis);
    out->type = IMMUTABLE_JSON;
    return NULL;
}

static void free_layer(void *work)
{
    layer_ref_free(work);
}

struct reply *ep_layers_get(struct request *rq)
{
    static const struct immutable_ops ops = {read_layer, write_layer, free_layer};
    struct immutable_wish wish;
    struct layer_ref *l;
    struct err err;
    struct reply *r = immutable_find_json(rq, &wish);

    if (r)
        return r;
    if (query_check_unused(&rq->query, &err) < 0 || layer_ref_new(rq, &l, &err) < 0)
        return reply_err(&err);
    return immutable_make(rq, &wish, &ops, l);
}
