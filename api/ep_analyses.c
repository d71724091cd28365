/* ep_analyses.c: /v1/analyses. */
#include "api/ep.h"
#include "api/label_change.h"
#include "api/list.h"
#include "api/problem.h"
#include "common/json_out.h"

#include <inttypes.h>
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
    json_text_key_int(b, "version", (int64_t)a->version);
    json_out_time(b, "created_at", a->created_ms);
    json_text_key(b, "links");
    buf_printf(b,
               "{\"self\":\"/v1/analyses/%s\",\"layers\":\"/v1/analyses/%s/layers\","
               "\"job\":\"/v1/jobs/%s\",\"model\":\"/v1/models/%s\"}}",
               a->id, a->id, a->job, a->model);
}

#define ANALYSIS_ETAG_MAX 32

/* Everything but the labels is fixed. */
static void etag_of(const struct analysis_record *a, char out[ANALYSIS_ETAG_MAX])
{
    snprintf(out, ANALYSIS_ETAG_MAX, "\"v%" PRIu64 "\"", a->version);
}

/* --- GET /v1/analyses --------------------------------------------------------------------------
 */

static int find_analyses(struct store *st, const struct list_query *q, struct list_page *page,
                         struct err *err)
{
    struct analysis_list found = {0};
    int r = store_analysis_list(st, &q->page, &found, err);

    for (size_t i = 0; i < found.count; i++) {
        const struct analysis_record *x = &found.analysis[i];
        struct buf *b = list_entry(page, x->created_ms, x->id);

        if (b)
            write_analysis(b, x);
    }
    analysis_list_done(&found);
    return r;
}

struct reply *ep_analyses_list(struct request *rq)
{
    static const struct list_kind kind = {"analyses", LIST_BY_LABEL | LIST_BY_MODEL, find_analyses};

    return list_handle(rq, &kind);
}

/* --- GET /v1/analyses/{analysis} ---------------------------------------------------------------
 */

static struct reply *no_such_analysis(void)
{
    return reply_problem(ERR_NOT_FOUND, "no such analysis");
}

static struct reply *analysis_reply(const struct analysis_record *a, const char *if_none_match)
{
    char etag[ANALYSIS_ETAG_MAX];
    struct buf body = BUF_INIT;
    struct reply *r;

    etag_of(a, etag);
    if (etag_listed(if_none_match, etag, true)) {
        r = reply_empty(304);
    } else {
        write_analysis(&body, a);
        r = reply_json_take(200, &body);
    }
    reply_header(r, "Cache-Control", "private, no-cache");
    return reply_header(r, "ETag", "%s", etag);
}

struct get_args {
    char id[IDENT_MAX];
    char if_none_match[ETAG_LIST_MAX + 1];
};

static struct reply *get_analysis(const void *args, struct store *st)
{
    const struct get_args *g = args;
    struct analysis_record a = {0};
    struct reply *r;
    struct err err;

    if (store_analysis_get(st, g->id, &a, &err) < 0)
        return reply_err(&err);
    r = analysis_reply(&a, g->if_none_match);
    analysis_record_done(&a);
    return r;
}

struct reply *ep_analyses_get(struct request *rq)
{
    struct get_args g;
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    if (!ident_valid(rq->match.arg[0], "ana_"))
        return no_such_analysis();
    snprintf(g.id, sizeof g.id, "%s", rq->match.arg[0]);
    if (!etag_list(rq, "If-None-Match", g.if_none_match))
        g.if_none_match[0] = '\0';
    return request_read(rq, get_analysis, &g, sizeof g);
}

/* --- PATCH /v1/analyses/{analysis} -------------------------------------------------------------
 */

static bool analysis_matches(const char *if_match, const struct analysis_record *a)
{
    char etag[ANALYSIS_ETAG_MAX];

    etag_of(a, etag);
    return etag_listed(if_match, etag, false);
}

static void on_labelled(void *arg, const struct err *err, const struct analysis_record *a)
{
    struct request *rq = ticket_redeem(arg);

    if (rq)
        request_finish(rq, err ? reply_err(err) : analysis_reply(a, ""));
}

struct reply *ep_analyses_patch(struct request *rq)
{
    struct label_change change;
    struct reply *no = label_change_read(rq, &change);

    if (no)
        return no;
    if (!ident_valid(rq->match.arg[0], "ana_"))
        return no_such_analysis();
    service_analysis_label(rq->api->svc, rq->match.arg[0], change.patch, change.if_match,
                           analysis_matches, on_labelled, request_ticket(rq));
    return reply_suspend();
}
