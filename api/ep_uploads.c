/* ep_uploads.c: /v1/uploads. */
#include "api/conn.h"
#include "api/content_digest.h"
#include "api/ep.h"
#include "api/idempotency.h"
#include "api/list.h"
#include "api/problem.h"
#include "common/json_out.h"
#include "daemon/uploads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void write_upload(struct buf *b, const struct upload_record *u)
{
    char hex[DIGEST_HEX_LEN + 1];

    digest_hex(&u->sha256, hex);
    buf_printf(b, "{");
    json_text_key_string(b, "id", u->id);
    json_out_text(b, "name", u->name);
    json_text_key_string(b, "kind", u->kind == UPLOAD_TAR ? "tar" : "file");
    json_text_key_int(b, "bytes", (int64_t)u->nbytes);
    json_text_key_int(b, "files", (int64_t)u->n_files);
    json_text_key_string(b, "sha256", hex);
    json_out_time(b, "created_at", u->created_ms);
    json_out_time(b, "expires_at", u->expires_ms);
    json_text_key(b, "links");
    buf_printf(b, "{\"self\":\"/v1/uploads/%s\"}}", u->id);
}

/* --- POST /v1/uploads ---------------------------------------------------------------------------
 */

struct incoming {
    struct request *rq;
    struct upload_in *u; /* NULL once it was ended */
};

/* Held back before, or failed meanwhile. */
static void on_ready(void *arg)
{
    struct incoming *in = arg;

    request_more(in->rq);
}

/* A failure is answered as soon as the library lets us; the rest of the body is dropped. */
static bool on_piece(struct request *rq, void *stream, const void *data, size_t len)
{
    struct incoming *in = stream;
    bool more = service_upload_write(in->u, data, len);

    if (service_upload_failure(in->u))
        request_refuse(rq, reply_err(service_upload_failure(in->u)));
    return more;
}

static void on_complete(void *arg, const struct err *err, const struct upload_view *view)
{
    struct request *rq = ticket_redeem(arg);
    struct buf body = BUF_INIT;
    struct reply *r;

    if (!rq)
        return; /* it is stored; only its client is gone */
    if (err) {
        request_finish(rq, reply_err(err));
        return;
    }
    write_upload(&body, view->upload);
    r = reply_json_take(201, &body);
    reply_header(r, "Location", "/v1/uploads/%s", view->upload->id);
    reply_header(r, "Cache-Status", "spectrald; %s", view->shared ? "hit" : "fwd=miss");
    if (view->replayed)
        reply_header(r, "Idempotency-Replayed", "true");
    request_finish(rq, r);
}

static struct reply *on_end(struct request *rq, void *stream)
{
    struct incoming *in = stream;

    if (service_upload_failure(in->u))
        return reply_err(service_upload_failure(in->u));
    if (request_received(rq) == 0)
        return reply_problem(ERR_INVALID, "the body is empty, expected a model file or a tar "
                                          "archive");
    service_upload_end(TAKE(in->u), on_complete, request_ticket(rq));
    return reply_suspend();
}

static void on_gone(void *stream)
{
    struct incoming *in = stream;

    service_upload_abort(in->u);
    free(in);
}

static const char *name_fault(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > UPLOAD_NAME_MAX)
        return "a file name has 1 to 255 bytes";
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
        return "expected a file name, not a path";
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)name[i] < 0x20 || name[i] == 0x7f)
            return "a file name holds no control characters";
    return NULL;
}

static bool media_type_is(const char *type, const char *want)
{
    size_t n = type ? strcspn(type, "; \t") : 0;

    return n == strlen(want) && strncasecmp(type, want, n) == 0;
}

static int read_kind(const struct request *rq, struct upload_request *q, struct err *err)
{
    const char *type = request_header(rq, "Content-Type");
    const char *encoding = request_header(rq, "Content-Encoding");

    q->kind = media_type_is(type, "application/x-tar") ? UPLOAD_TAR : UPLOAD_FILE;
    if (q->kind == UPLOAD_FILE && !media_type_is(type, "application/octet-stream"))
        return err_set(err, FAULT_MEDIA_TYPE,
                       "this call takes a body of Content-Type: application/octet-stream (one "
                       "file) or application/x-tar (a directory)");
    if (encoding && strcasecmp(encoding, "identity") != 0)
        return err_set(err, FAULT_MEDIA_TYPE, "Content-Encoding must be identity");
    return 0;
}

static int read_request(struct request *rq, struct upload_request *q, struct digest *want,
                        struct err *err)
{
    const char *name;
    int r = read_kind(rq, q, err);

    if (r != 0)
        return r;
    r = query_text(&rq->query, "name", UPLOAD_NAME_MAX, &name, err);
    if (r == 0)
        r = query_check_unused(&rq->query, err);
    if (r < 0)
        return r;
    q->name = name ? name : q->kind == UPLOAD_TAR ? "model" : "model.safetensors";
    if (name_fault(q->name))
        return err_set_at(err, ERR_INVALID, "?name", "query parameter name: %s",
                          name_fault(q->name));
    r = content_digest_parse(request_header(rq, "Content-Digest"), want, err);
    if (r == 0)
        r = content_digest_parse(request_header(rq, "Repr-Digest"), want, err);
    if (r < 0)
        return r;
    q->want = r == 1 ? want : NULL;
    return 0;
}

struct reply *ep_uploads_create(struct request *rq)
{
    static const struct stream_ops ops = {on_piece, on_end, on_gone};
    struct upload_request q = {.owner = "local", .length = request_length(rq)};
    struct incoming *in;
    char key[IDEMPOTENCY_KEY_MAX + 1];
    struct digest want;
    struct err err;

    if (read_request(rq, &q, &want, &err) != 0 || idempotency_key(rq, key, &err) < 0)
        return reply_err(&err);
    q.key = *key ? key : NULL;
    in = xcalloc(1, sizeof *in);
    in->rq = rq;
    if (service_upload_begin(rq->api->svc, &q, on_ready, in, &in->u, &err) < 0) {
        free(in);
        return reply_err(&err);
    }
    request_stream(rq, &ops, in);
    return NULL;
}

/* --- GET /v1/uploads ----------------------------------------------------------------------------
 */

static int find_uploads(struct store *st, const struct list_query *q, struct list_page *page,
                        struct err *err)
{
    struct upload_list found = {0};
    int r = store_upload_list(st, &q->page, &found, err);

    for (size_t i = 0; i < found.count; i++) {
        const struct upload_record *x = &found.upload[i];
        struct buf *b = list_entry(page, x->created_ms, x->id);

        if (b)
            write_upload(b, x);
    }
    upload_list_done(&found);
    return r;
}

struct reply *ep_uploads_list(struct request *rq)
{
    static const struct list_kind kind = {"uploads", 0, find_uploads};

    return list_handle(rq, &kind);
}

/* --- GET, DELETE /v1/uploads/{upload} -----------------------------------------------------------
 */

static struct reply *no_such_upload(void)
{
    return reply_problem(ERR_NOT_FOUND, "no such upload; it may have expired");
}

static struct reply *get_upload(const void *args, struct store *st)
{
    struct upload_record u = {0};
    struct buf body = BUF_INIT;
    struct err err;
    int r = store_upload_get(st, args, &u, &err);

    if (r < 0)
        return r == ERR_NOT_FOUND ? no_such_upload() : reply_err(&err);
    write_upload(&body, &u);
    upload_record_done(&u);
    return reply_json_take(200, &body);
}

struct reply *ep_uploads_get(struct request *rq)
{
    char id[IDENT_MAX];
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    if (!ident_valid(rq->match.arg[0], "upl_"))
        return no_such_upload();
    snprintf(id, sizeof id, "%s", rq->match.arg[0]);
    return request_read(rq, get_upload, id, sizeof id);
}

static void on_removed(void *arg, const struct err *err, const struct upload_view *view)
{
    struct request *rq = ticket_redeem(arg);

    (void)view;
    if (rq)
        request_finish(rq, !err                         ? reply_empty(204)
                           : err->code == ERR_NOT_FOUND ? no_such_upload()
                                                        : reply_err(err));
}

struct reply *ep_uploads_delete(struct request *rq)
{
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    if (!ident_valid(rq->match.arg[0], "upl_"))
        return no_such_upload();
    service_upload_remove(rq->api->svc, rq->match.arg[0], on_removed, request_ticket(rq));
    return reply_suspend();
}
