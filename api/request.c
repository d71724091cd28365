/* request.c: the life of a request between the library's callbacks.
 *
 * The library calls request_open() with the request line, request_access() once with the headers,
 * then with pieces of the body, then at the end, then again after each resume; and
 * request_completed() last. It refuses a reply while it offers a piece of the body, so an error
 * found there is remembered and the rest is read and dropped.
 */
#include "api/request.h"

#include "api/accept.h"
#include "api/admit.h"
#include "api/artifact_stream.h"
#include "api/body.h"
#include "api/conn.h"
#include "api/etag.h"
#include "api/parse.h"
#include "api/problem.h"
#include "api/wait.h"
#include "common/ident.h"
#include "daemon/log.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An unwanted body is read and dropped up to this size, so that the client sees why and the
 * connection can be used on. */
#define DRAIN_SMALL (8u << 20)
/* A body of unknown length that turned out too large: read this much before cutting it off, so
 * that most clients get to see the 413. */
#define DRAIN_MAX (64u << 20)

enum stage {
    STAGE_HEADERS, /* request line seen */
    STAGE_BODY,
    STAGE_WORK, /* complete: the handler runs or waits */
    STAGE_DONE, /* a reply is queued */
};

struct ticket {
    struct request *rq; /* NULL once the request is gone */
};

/* --- beginning and end --------------------------------------------------------------------- */

void *request_open(void *cls, const char *target, struct MHD_Connection *c)
{
    struct api *api = cls;
    struct request *rq = xcalloc(1, sizeof *rq);

    *rq = (struct request){.api = api, .mhd = c, .conn = conn_of(c), .stage = STAGE_HEADERS};
    rq->next = api->requests;
    rq->link = &api->requests;
    if (rq->next)
        rq->next->link = &rq->next;
    api->requests = rq;
    rq->started_ns = mono_ns();
    rq->path.query = "";
    rq->method = "";
    if (strlen(target) <= ADMIT_TARGET_MAX)
        rq->target = xstrdup(target);
    conn_request_started(rq->conn);
    return rq;
}

static void drop_body(struct request *rq)
{
    rq->api->body_bytes -= rq->counted;
    rq->counted = 0;
    buf_done(&rq->body);
}

/* Nothing may call back into the request from here on. */
static void detach(struct request *rq)
{
    wait_cancel(rq->wait);
    if (rq->ticket)
        rq->ticket->rq = NULL;
    rq->ticket = NULL;
}

static void request_free(struct request *rq)
{
    detach(rq);
    drop_body(rq);
    if (rq->stream)
        rq->stream_ops->gone(rq->stream);
    if (rq->kept)
        rq->kept_free(rq->kept);
    *rq->link = rq->next;
    if (rq->next)
        rq->next->link = rq->link;
    reply_free(rq->reply);
    json_decref(rq->json);
    query_done(&rq->query);
    path_done(&rq->path);
    free(rq->target);
    free(rq);
}

/* The path for the log: no query, nothing that could break the line. */
static void shown_path(const struct request *rq, char *out, size_t size)
{
    const char *s = rq->target ? rq->target : "(too long)";
    size_t n = strcspn(s, "?");

    if (n >= size)
        n = size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = isgraph((unsigned char)s[i]) ? s[i] : '?';
    out[n] = '\0';
}

/* Label values must come from a closed list. */
static const char *known_method(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(method, known[i]) == 0)
            return known[i];
    return "other";
}

static void account(struct request *rq)
{
    const char *route = rq->match.route ? rq->match.route->path : "none";
    double seconds = (double)(mono_ns() - rq->started_ns) * 1e-9;
    bool quiet = rq->match.route && rq->match.route->access == ACCESS_OPEN && rq->status == 200;
    char labels[160], path[200];

    snprintf(labels, sizeof labels, "%s,%s,%u", route, known_method(rq->method), rq->status);
    metric_inc(rq->api->m_requests, labels, 1);
    metric_observe(rq->api->m_duration, route, seconds);
    shown_path(rq, path, sizeof path);
    if (quiet)
        log_debug("%s %s %u %zu bytes %.3f s request=%s trace=%s", known_method(rq->method), path,
                  rq->status, rq->nbytes, seconds, rq->id, rq->trace_id);
    else
        log_info("%s %s %u %zu bytes %.3f s request=%s trace=%s", known_method(rq->method), path,
                 rq->status, rq->nbytes, seconds, rq->id, rq->trace_id);
}

void request_completed(void *cls, struct MHD_Connection *c, void **context,
                       enum MHD_RequestTerminationCode why)
{
    struct request *rq = *context;

    (void)cls;
    (void)c;
    (void)why;
    if (!rq)
        return;
    account(rq);
    conn_request_done(rq->conn);
    *context = NULL;
    request_free(rq);
}

/* --- answering ----------------------------------------------------------------------------- */

static enum MHD_Result send_reply(struct request *rq)
{
    struct reply *r = TAKE(rq->reply);

    rq->status = reply_status(r);
    if (*reply_private_text(r))
        log_warn("%s (request=%s)", reply_private_text(r), rq->id);
    rq->stage = STAGE_DONE;
    if (reply_queue(r, rq->mhd, rq->id, rq->will_close || rq->api->stopping, &rq->nbytes) !=
        MHD_YES)
        return MHD_NO;
    conn_reply_queued(rq->conn, rq->nbytes);
    return MHD_YES;
}

/* --- compressing --------------------------------------------------------------------------- */

struct compressing {
    struct ticket *ticket;
    struct reply *reply;
};

static void compress_run(void *arg, void *state)
{
    (void)state;
    reply_compress(((struct compressing *)arg)->reply);
}

static void resume(struct request *rq, struct reply *reply)
{
    rq->reply = reply;
    rq->suspended = false;
    MHD_resume_connection(rq->mhd);
}

static void compress_done(void *arg, const struct err *group_err)
{
    struct compressing *c = arg;
    struct request *rq = ticket_redeem(c->ticket);

    (void)group_err;
    if (rq)
        resume(rq, c->reply);
    else
        reply_free(c->reply);
    free(c);
}

/* True when the reply was sent to be compressed: the request goes on when that is done. */
static bool compress_later(struct request *rq, struct reply *reply)
{
    struct compressing *c;

    if (rq->api->stopping || !reply_compressible(reply) ||
        !accept_gzip(request_header(rq, "Accept-Encoding")))
        return false;
    c = xmalloc(sizeof *c);
    *c = (struct compressing){request_ticket(rq), reply};
    actor_send(rq->api->writer, compress_run, compress_done, c);
    return true;
}

void request_finish(struct request *rq, struct reply *reply)
{
    ASSERT(rq->suspended && !rq->reply && !reply_is_suspend(reply));
    if (!compress_later(rq, reply))
        resume(rq, reply);
}

/* The document may take twenty times the memory of its text: it goes as soon as it was read. */
static struct reply *run_handler(struct request *rq, bool large)
{
    struct reply *reply = rq->match.route->handler(rq);

    if (large)
        parse_free(rq->api, TAKE(rq->json));
    else
        json_decref(TAKE(rq->json));
    return reply;
}

static void on_parsed(struct request *rq, const struct err *err)
{
    struct reply *reply;

    drop_body(rq);
    reply = err ? reply_err(err) : run_handler(rq, true);
    if (!reply_is_suspend(reply))
        request_finish(rq, reply);
}

static struct reply *start_work(struct request *rq)
{
    struct err err;
    int r;

    if (rq->api->stopping)
        return reply_problem(ERR_BUSY, "the server is shutting down");
    if (rq->match.route->body == BODY_STREAM)
        return rq->stream_ops->end(rq, rq->stream);
    if (rq->match.route->body != BODY_JSON)
        return run_handler(rq, false);
    if (rq->body.len > PARSE_INLINE_MAX) {
        parse_later(rq, on_parsed);
        return reply_suspend();
    }
    r = body_parse(&rq->body, &rq->json, &err);
    drop_body(rq);
    return r < 0 ? reply_err(&err) : run_handler(rq, false);
}

static enum MHD_Result work(struct request *rq)
{
    struct reply *reply;

    rq->stage = STAGE_WORK;
    conn_request_received(rq->conn);
    if (rq->reply) /* refused already; what came was dropped */
        return send_reply(rq);
    reply = start_work(rq);
    if (reply_is_suspend(reply) || compress_later(rq, reply)) {
        MHD_suspend_connection(rq->mhd);
        rq->suspended = true;
        return MHD_YES;
    }
    rq->reply = reply;
    return send_reply(rq);
}

/* --- arriving ------------------------------------------------------------------------------ */

static enum MHD_Result headers(struct request *rq, const char *method)
{
    bool expects_go = request_header(rq, "Expect") != NULL;

    rq->method = method;
    rq->stage = STAGE_BODY;
    rq->reply = admit_request(rq, rq->target, &rq->length);
    if (!rq->reply && rq->match.route->body == BODY_STREAM)
        rq->reply = rq->match.route->handler(rq);
    if (!rq->reply || rq->length == 0)
        return MHD_YES; /* answered in the last call: the connection stays usable */
    if (rq->length <= DRAIN_SMALL && !expects_go && !rq->will_close)
        return MHD_YES;
    rq->will_close = true;
    return send_reply(rq);
}

void request_refuse(struct request *rq, struct reply *why)
{
    drop_body(rq);
    reply_free(rq->reply);
    rq->reply = why;
    rq->will_close = true;
}

static void take_stream(struct request *rq, const char *data, size_t len)
{
    conn_body_progress(rq->conn, rq->received, rq->started_ns);
    if (rq->stream_ops->piece(rq, rq->stream, data, len))
        return;
    MHD_suspend_connection(rq->mhd);
    rq->paused = true;
}

static void take_json(struct request *rq, const char *data, size_t len)
{
    struct api *api = rq->api;

    if (rq->received > api->config->body_limit) {
        request_refuse(rq, admit_too_large(api->config));
    } else if (api->body_bytes + len > ADMIT_BODIES_MAX + api->config->body_limit) {
        request_refuse(rq, reply_problem(ERR_BUSY, "too many requests are being received"));
    } else {
        api->body_bytes += len;
        rq->counted += len;
        buf_put(&rq->body, data, len);
    }
}

/* Take or drop one piece of the body. False: enough, close the connection. */
static bool take_piece(struct request *rq, const char *data, size_t len)
{
    rq->received += len;
    if (rq->reply) {
        rq->dropped += len;
        return rq->dropped <= DRAIN_MAX;
    }
    if (rq->match.route->body == BODY_STREAM)
        take_stream(rq, data, len);
    else if (rq->match.route->body == BODY_JSON)
        take_json(rq, data, len);
    return true;
}

void request_stream(struct request *rq, const struct stream_ops *ops, void *stream)
{
    rq->stream_ops = ops;
    rq->stream = stream;
}

uint64_t request_length(const struct request *rq)
{
    return rq->length;
}

uint64_t request_received(const struct request *rq)
{
    return rq->received;
}

void request_more(struct request *rq)
{
    if (!rq->paused)
        return;
    rq->paused = false;
    MHD_resume_connection(rq->mhd);
}

enum MHD_Result request_access(void *cls, struct MHD_Connection *c, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *len, void **context)
{
    struct request *rq = *context;

    (void)cls;
    (void)c;
    (void)url; /* decoded by the library, which loses escaped slashes: rq->target is used */
    (void)version;
    switch ((enum stage)rq->stage) {
    case STAGE_HEADERS:
        return headers(rq, method);
    case STAGE_BODY:
        if (*len == 0)
            return work(rq);
        if (!take_piece(rq, data, *len))
            return MHD_NO;
        *len = 0;
        return MHD_YES;
    case STAGE_WORK:
        return rq->reply ? send_reply(rq) : MHD_YES;
    case STAGE_DONE:
        break;
    }
    return MHD_NO;
}

const char *request_header(const struct request *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->mhd, MHD_HEADER_KIND, name);
}

bool request_has_etag(const struct request *rq, const char *etag)
{
    char list[ETAG_LIST_MAX + 1];

    return etag_list(rq, "If-None-Match", list) && etag_listed(list, etag, true);
}

/* --- waiting ------------------------------------------------------------------------------- */

struct ticket *request_ticket(struct request *rq)
{
    struct ticket *t = xmalloc(sizeof *t);

    ASSERT(!rq->ticket);
    t->rq = rq;
    rq->ticket = t;
    return t;
}

struct request *ticket_redeem(struct ticket *t)
{
    struct request *rq = t->rq;

    if (rq)
        rq->ticket = NULL;
    free(t);
    return rq;
}

struct store_read {
    struct ticket *ticket;
    request_read_fn *run;
    struct reply *reply;
    uint64_t args[]; /* aligned for anything */
};

static void read_on_store(void *arg, struct store *st)
{
    struct store_read *rd = arg;

    rd->reply = rd->run(rd->args, st);
}

static void read_done(void *arg)
{
    struct store_read *rd = arg;
    struct request *rq = ticket_redeem(rd->ticket);

    if (rq)
        request_finish(rq, rd->reply);
    else
        reply_free(rd->reply);
    free(rd);
}

struct reply *request_read(struct request *rq, request_read_fn *run, const void *args,
                           size_t nbytes)
{
    struct store_read *rd = xmalloc(sizeof *rd + (nbytes + 7) / 8 * 8);

    *rd = (struct store_read){.ticket = request_ticket(rq), .run = run};
    memcpy(rd->args, args, nbytes);
    service_store_call(rq->api->svc, read_on_store, read_done, rd);
    return reply_suspend();
}

void request_abandon_all(struct api *api)
{
    artifact_streams_stop(api);
    for (struct request *rq = api->requests; rq; rq = rq->next) {
        detach(rq);
        if (rq->suspended)
            request_finish(rq, reply_problem(ERR_BUSY, "the server is shutting down"));
        if (rq->paused) {
            request_refuse(rq, reply_problem(ERR_BUSY, "the server is shutting down"));
            request_more(rq);
        }
    }
}
