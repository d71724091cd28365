/* ep_models.c: /v1/models. */
#include "api/ep.h"
#include "api/list.h"
#include "common/json_out.h"

#include <stdio.h>
#include <string.h>

static void write_model(struct buf *b, const struct model_record *m)
{
    bool typed = m->model_type && *m->model_type;

    buf_printf(b, "{");
    json_text_key_string(b, "id", m->id);
    json_out_text(b, "name", m->name);
    json_text_key_string(b, "format", m->format);
    json_out_text(b, "model_type", typed ? m->model_type : NULL);
    json_text_key_int(b, "tensors", (int64_t)m->n_tensors);
    json_text_key_int(b, "parameters", (int64_t)m->n_params);
    json_text_key_int(b, "bytes", (int64_t)m->nbytes);
    json_out_time(b, "first_seen_at", m->first_seen_ms);
    json_out_time(b, "last_seen_at", m->last_seen_ms);
    json_text_key(b, "links");
    buf_printf(b,
               "{\"self\":\"/v1/models/%s\",\"tensors\":\"/v1/models/%s/tensors\","
               "\"analyses\":\"/v1/analyses?model=%s\"}}",
               m->id, m->id, m->id);
}

static int find_models(struct store *st, const struct list_query *q, struct list_page *page,
                       struct err *err)
{
    struct model_list found = {0};
    int r = store_model_list(st, &q->page, &found, err);

    for (size_t i = 0; i < found.count; i++) {
        const struct model_record *x = &found.model[i];
        struct buf *b = list_entry(page, x->first_seen_ms, x->id);

        if (b)
            write_model(b, x);
    }
    model_list_done(&found);
    return r;
}

struct reply *ep_models_list(struct request *rq)
{
    static const struct list_kind kind = {"models", 0, find_models};

    return list_handle(rq, &kind);
}

static struct reply *get_model(const void *args, struct store *st)
{
    const char *id = args;
    struct model_record m = {0};
    struct buf body = BUF_INIT;
    struct err err;

    if (store_model_get(st, id, &m, &err) < 0)
        return reply_err(&err);
    write_model(&body, &m);
    model_record_done(&m);
    return reply_json_take(200, &body);
}

struct reply *ep_models_get(struct request *rq)
{
    char id[IDENT_MAX];
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    if (!ident_valid(rq->match.arg[0], "mdl_"))
        return reply_problem(ERR_NOT_FOUND, "no such model");
    snprintf(id, sizeof id, "%s", rq->match.arg[0]);
    return request_read(rq, get_model, id, sizeof id);
}
