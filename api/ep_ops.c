/* ep_ops.c: health, metrics and the description of this interface. */
#include "api/ep.h"
#include "api/openapi_text.h"
#include "api/request.h"

#include <string.h>

struct reply *ep_ops_live(struct request *rq)
{
    struct err err;

    /* That this runs at all is the proof: the loop turns. */
    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    return reply_text(200, "ok\n");
}

static void write_check(struct buf *out, bool ok, const char *name, const char *detail)
{
    buf_printf(out, "[%c]%s %s%s%s\n", ok ? '+' : '-', name, ok ? "ok" : "failed",
               *detail ? ": " : "", detail);
}

static struct reply *ready_verbose(const struct health *h, bool ok)
{
    AUTO(buf_done) struct buf out = BUF_INIT;

    write_check(&out, h->store_ok, "store", h->store_detail);
    write_check(&out, h->workers_ok, "workers", h->workers_detail);
    write_check(&out, h->disk_ok, "disk", h->disk_detail);
    write_check(&out, !h->draining, "serving", h->draining ? "shutting down" : "");
    buf_printf(&out, "readyz check %s\n", ok ? "passed" : "failed");
    return reply_take(ok ? 200 : 503, "text/plain; charset=utf-8", &out);
}

struct reply *ep_ops_ready(struct request *rq)
{
    struct health h;
    struct err err;
    bool verbose, ok;

    if (query_flag(&rq->query, "verbose", &verbose, &err) < 0 ||
        query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    service_health(rq->api->svc, &h);
    ok = h.store_ok && h.workers_ok && h.disk_ok && !h.draining;
    if (verbose)
        return ready_verbose(&h, ok);
    if (ok)
        return reply_text(200, "ok\n");
    return reply_problem(ERR_BUSY, "not ready:%s%s%s%s", h.store_ok ? "" : " store",
                         h.workers_ok ? "" : " workers", h.disk_ok ? "" : " disk",
                         h.draining ? " shutting down" : "");
}

struct reply *ep_ops_metrics(struct request *rq)
{
    struct buf out = BUF_INIT;
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    metrics_write(service_metrics(rq->api->svc), &out);
    return reply_take(200, "text/plain; version=0.0.4; charset=utf-8", &out);
}

struct reply *ep_ops_openapi(struct request *rq)
{
    struct reply *r;
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    r = reply_static(200, "application/yaml", openapi_text, openapi_text_len);
    return reply_header(r, "Cache-Control", "no-cache");
}
