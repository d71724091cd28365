/* ep_analyses.c: /v1/analyses. */
#include "api/ep.h"
#include "api/json_out.h"
#include "api/list.h"
#include "api/problem.h"

#include <stdio.h>
#include <string.h>

static void write_analysis(struct buf *b, const struct analysis_record *a)
{
    buf_printf(b, "{");
    json_text_key_string(b, "id", a->id);
    json_text_key_string(b, "job", a->job);
    json_text_key_string(b, "model", a->model);
    json_out_raw(b, "labels", a->labels);
    json_out_raw(b, "params", a->params);
    json_out_raw(b, "summary", a->summary);
    json_text_key_int(b, "layers_total", (int64_t)a->n_layers);
    json_out_time(b, "created_at", a->created_ms);
    json_text_key(b, "links");
    buf_printf(b,
               "{\"self\":\"/v1/analyses/%s\",\"layers\":\"/v1/analyses/%s/layers\","
               "\"job\":\"/v1/jobs/%s\",\"model\":\"/v1/models/%s\"}}",
               a->id, a->id, a->job, a->model);
}

/* --- GET /v1/analyses --------------------------------------------------------------------------
 */

static struct reply *list_analyses(const void *args, struct store *st)
{
    const struct list_args *a = args;
    struct page_query q = {.before_ms = a->page.from.before_ms, .limit = a->page.size + 1};
    struct analysis_list found = {0};
    struct page_cursor next = {0};
    struct buf body = BUF_INIT;
    struct reply *r;
    struct err err;
    size_t n;

    q.label_key = *a->label_key ? a->label_key : NULL;
    q.label_value = q.label_key ? a->label_value : NULL;
    q.model = *a->model ? a->model : NULL;
    memcpy(q.before_id, a->page.from.before_id, sizeof q.before_id);
    if (store_analysis_list(st, &q, &found, &err) < 0)
        return reply_err(&err);
    n = found.count < a->page.size ? found.count : a->page.size;
    buf_printf(&body, "{\"analyses\":[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_put_u8(&body, ',');
        write_analysis(&body, &found.analysis[i]);
        next.before_ms = found.analysis[i].created_ms;
        memcpy(next.before_id, found.analysis[i].id, sizeof next.before_id);
    }
    r = list_reply(a, &body, found.count > n, &next);
    analysis_list_done(&found);
    return r;
}

struct reply *ep_analyses_list(struct request *rq)
{
    struct list_args a = {.resource = ""};
    struct err err;

    if (list_read(rq, "analyses", "/v1/analyses", LIST_BY_LABEL | LIST_BY_MODEL, LIST_PAGE,
                  LIST_PAGE_MAX, &a, &err) < 0)
        return reply_err(&err);
    return request_read(rq, list_analyses, &a, sizeof a);
}

/* --- GET /v1/analyses/{analysis} ---------------------------------------------------------------
 */

static struct reply *no_such_analysis(void)
{
    return reply_problem(ERR_NOT_FOUND, "no such analysis");
}

static struct reply *get_analysis(const void *args, struct store *st)
{
    const char *id = args;
    struct analysis_record a = {0};
    struct buf body = BUF_INIT;
    struct err err;

    if (store_analysis_get(st, id, &a, &err) < 0)
        return reply_err(&err);
    write_analysis(&body, &a);
    analysis_record_done(&a);
    return reply_json_take(200, &body);
}

struct reply *ep_analyses_get(struct request *rq)
{
    char id[IDENT_MAX];
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    if (!ident_valid(rq->match.arg[0], "ana_"))
        return no_such_analysis();
    snprintf(id, sizeof id, "%s", rq->match.arg[0]);
    return request_read(rq, get_analysis, id, sizeof id);
}
