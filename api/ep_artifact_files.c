/* ep_artifact_files.c: the bytes of artifacts: one file, or all as an archive. */
#include "api/artifact_request.h"
#include "api/artifact_stream.h"
#include "api/ep.h"
#include "api/etag.h"
#include "api/problem.h"
#include "api/range.h"

#include <stdio.h>
#include <string.h>

#define TAG_MAX 128

/* --- GET /v1/artifacts/{artifact}/files/{name} -------------------------------------------------
 */

/* The digest says what the file holds, unless somebody wrote to it since. */
static void tag_of(const struct artifact_open_file *f, char tag[TAG_MAX])
{
    char hex[DIGEST_HEX_LEN + 1];

    digest_hex(&f->blake2b, hex);
    if (f->touched_ns)
        (void)snprintf(tag, TAG_MAX, "\"%s-%lld\"", hex, (long long)f->touched_ns);
    else
        (void)snprintf(tag, TAG_MAX, "\"%s\"", hex);
}

/* A client that goes on with what it has wants the same bytes, or all anew. There are no dates to
 * compare. */
static bool may_go_on(const struct request *rq, const char *tag)
{
    const char *if_range = request_header(rq, "If-Range");

    return !if_range || strcmp(if_range, tag) == 0;
}

/* A range is for GET only (RFC 9110, 14.2). */
static enum range range_of(const struct request *rq, const char *tag, uint64_t size,
                           uint64_t *first, uint64_t *len)
{
    if (strcmp(rq->method, "GET") != 0 || !may_go_on(rq, tag))
        return RANGE_WHOLE;
    return range_parse(request_header(rq, "Range"), size, first, len);
}

static struct reply *send_range(const struct request *rq, struct artifact_open_file *f,
                                const char *tag)
{
    static const char type[] = "application/octet-stream";
    unsigned long long size = f->nbytes;
    uint64_t first = 0, len = f->nbytes;
    struct reply *r;

    switch (range_of(rq, tag, f->nbytes, &first, &len)) {
    case RANGE_NOT_SATISFIABLE:
        r = reply_problem(FAULT_RANGE, "the file has %llu bytes", size);
        return reply_header(r, "Content-Range", "bytes */%llu", size);
    case RANGE_PART:
        r = reply_file(206, type, &f->fd, first, len);
        reply_header(r, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)first,
                     (unsigned long long)(first + len - 1), size);
        break;
    default: /* RANGE_WHOLE */
        r = reply_file(200, type, &f->fd, 0, f->nbytes);
    }
    return reply_header(r, "Content-Disposition", "attachment");
}

static void add_headers(struct reply *r, const char *tag)
{
    reply_header(r, "ETag", "%s", tag);
    reply_header(r, "Cache-Control", "private, no-cache"); /* kept, and asked for again */
}

static void on_file(void *arg, const struct err *err, struct artifact_open_file *f)
{
    struct request *rq = ticket_redeem(arg);
    struct reply *r;
    char tag[TAG_MAX];

    if (!rq)
        return;
    if (err) {
        request_finish(rq, artifact_refused(err));
        return;
    }
    tag_of(f, tag);
    if (request_has_etag(rq, tag)) {
        r = reply_empty(304);
    } else {
        r = send_range(rq, f, tag);
        reply_header(r, "Accept-Ranges", "bytes");
    }
    add_headers(r, tag);
    request_finish(rq, r);
}

struct reply *ep_artifact_file(struct request *rq)
{
    char id[IDENT_MAX];
    struct err err;

    if (artifact_id(rq, id, &err) < 0)
        return artifact_refused(&err);
    service_artifact_file(rq->api->svc, id, rq->match.arg[1], on_file, request_ticket(rq));
    return reply_suspend();
}

/* --- GET /v1/artifacts/{artifact}/tar ----------------------------------------------------------
 */

static void on_tar(void *arg, const struct err *err, struct artifact_tar *tar)
{
    struct request *rq = ticket_redeem(arg);
    struct reply *r;

    if (!rq) {
        artifact_tar_close(tar);
        return;
    }
    if (err) {
        request_finish(rq, artifact_refused(err));
        return;
    }
    r = artifact_stream_reply(rq, tar);
    reply_header(r, "Content-Disposition", "attachment; filename=\"%s.tar\"", rq->match.arg[0]);
    request_finish(rq, r);
}

struct reply *ep_artifact_tar(struct request *rq)
{
    char id[IDENT_MAX];
    struct err err;

    if (artifact_id(rq, id, &err) < 0)
        return artifact_refused(&err);
    service_artifact_tar(rq->api->svc, id, on_tar, request_ticket(rq));
    return reply_suspend();
}
