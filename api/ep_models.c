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

static struct reply *list_models(const void *args, struct store *st)
{
    const struct list_args *a = args;
    struct page_query q = {.before_ms = a->page.from.before_ms, .limit = a->page.size + 1};
    struct model_list models = {0};
    struct page_cursor next = {0};
    struct buf body = BUF_INIT;
    struct reply *r;
    struct err err;
    size_t n;

    memcpy(q.before_id, a->page.from.before_id, sizeof q.before_id);
    if (store_model_list(st, &q, &models, &err) < 0)
        return reply_err(&err);
    n = models.count < a->page.size ? models.count : a->page.size;
    buf_printf(&body, "{\"models\":[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_put_u8(&body, ',');
        write_model(&body, &models.model[i]);
        next.before_ms = models.model[i].first_seen_ms;
        memcpy(next.before_id, models.model[i].id, sizeof next.before_id);
    }
    r = list_reply(a, &body, models.count > n, &next);
    model_list_done(&models);
    return r;
}

struct reply *ep_models_list(struct request *rq)
{
    struct list_args a = {.resource = ""};
    struct err err;

    if (list_read(rq, "models", "/v1/models", 0, LIST_PAGE, LIST_PAGE_MAX, &a, &err) < 0)
        return reply_err(&err);
    return request_read(rq, list_models, &a, sizeof a);
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
