/* reply.c: see reply.h. A problem is kept as a document until it is sent, because only then is
 * the request id known to it. */
#include "api/reply.h"

#include "api/doc.h"
#include "api/gzip.h"
#include "api/problem.h"
#include "common/fdio.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 6
#define READ_BLOCK  (128u << 10) /* of a body made while it is sent */

struct reply {
    unsigned status;
    const char *type; /* or NULL: no body */
    void *body;       /* owned unless `borrowed` */
    size_t len;
    bool borrowed, gzip;
    int fd; /* owned, or -1: the body is `len` bytes of it */
    uint64_t offset;
    MHD_ContentReaderCallback read; /* or NULL: makes the body */
    MHD_ContentReaderFreeCallback gone;
    void *read_arg;
    struct doc *doc; /* its headers; its body too, unless the status is 304 */
    json_t *problem;
    char *private_text;
    size_t n_headers;
    struct {
        const char *name;
        char *value;
    } header[HEADERS_MAX];
};

/* Stands for "suspended"; never changed, never freed. */
static const struct reply suspended = {.status = 0};

static struct reply *reply_new(unsigned status, const char *type)
{
    struct reply *r = xcalloc(1, sizeof *r);

    r->status = status;
    r->type = type;
    r->fd = -1;
    return r;
}

struct reply *reply_take(unsigned status, const char *type, struct buf *body)
{
    struct reply *r = reply_new(status, type);

    r->len = body->len;
    r->body = TAKE(body->data);
    *body = (struct buf)BUF_INIT;
    return r;
}

struct reply *reply_json_take(unsigned status, struct buf *body)
{
    return reply_take(status, "application/json", body);
}

struct reply *reply_text(unsigned status, const char *text)
{
    struct reply *r = reply_new(status, "text/plain; charset=utf-8");

    r->body = xstrdup(text);
    r->len = strlen(text);
    return r;
}

struct reply *reply_static(unsigned status, const char *type, const void *bytes, size_t len)
{
    struct reply *r = reply_new(status, type);

    r->body = (void *)bytes;
    r->len = len;
    r->borrowed = true;
    return r;
}

struct reply *reply_empty(unsigned status)
{
    return reply_new(status, NULL);
}

struct reply *reply_doc(struct doc *doc, bool not_modified)
{
    struct reply *r = reply_new(not_modified ? 304 : 200, not_modified ? NULL : doc->type);

    r->doc = doc_ref(doc);
    if (!not_modified)
        r->len = doc->len;
    return r;
}

struct reply *reply_file(unsigned status, const char *type, int *fd, uint64_t offset, uint64_t len)
{
    struct reply *r = reply_new(status, type);

    r->fd = *fd;
    *fd = -1;
    r->offset = offset;
    r->len = len;
    return r;
}

struct reply *reply_made(unsigned status, const char *type, uint64_t len,
                         MHD_ContentReaderCallback read, MHD_ContentReaderFreeCallback gone,
                         void *arg)
{
    struct reply *r = reply_new(status, type);

    r->len = len;
    r->read = read;
    r->gone = gone;
    r->read_arg = arg;
    return r;
}

struct reply *reply_err(const struct err *err)
{
    const struct problem_type *t = problem_type(err->code);
    struct reply *r = reply_new(t->status, "application/problem+json");

    r->problem = problem_json(err->code, err->pointer, err->text);
    if (t->private_text)
        r->private_text = xstrdup(err->text);
    if (err->code == ERR_IN_FLIGHT)
        reply_header(r, "Retry-After", "1");
    if (t->status == 503)
        reply_header(r, "Retry-After", "%d", err->code == ERR_BUSY ? 2 : 10);
    return r;
}

struct reply *reply_problem(int code, const char *fmt, ...)
{
    struct err err = {.code = code};
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(err.text, sizeof err.text, fmt, ap);
    va_end(ap);
    return reply_err(&err);
}

struct reply *reply_suspend(void)
{
    return (struct reply *)&suspended;
}

bool reply_is_suspend(const struct reply *r)
{
    return r == &suspended;
}

void reply_free(struct reply *r)
{
    if (!r || reply_is_suspend(r))
        return;
    if (!r->borrowed)
        free(r->body);
    fd_close(&r->fd);
    if (r->read)
        r->gone(r->read_arg);
    doc_unref(r->doc);
    json_decref(r->problem);
    free(r->private_text);
    for (size_t i = 0; i < r->n_headers; i++)
        free(r->header[i].value);
    free(r);
}

struct reply *reply_header(struct reply *r, const char *name, const char *fmt, ...)
{
    va_list ap;
    int n;

    ASSERT(!reply_is_suspend(r) && r->n_headers < HEADERS_MAX);
    r->header[r->n_headers].name = name;
    va_start(ap, fmt);
    n = vasprintf(&r->header[r->n_headers].value, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    r->n_headers++;
    return r;
}

unsigned reply_status(const struct reply *r)
{
    return r->status;
}

const char *reply_private_text(const struct reply *r)
{
    return r->private_text ? r->private_text : "";
}

static void print_problem(struct reply *r, const char *request_id)
{
    if (!r->problem)
        return;
    (void)json_object_set_new(r->problem, "instance", json_string(request_id));
    r->body = json_dumps(r->problem, JSON_COMPACT);
    r->len = r->body ? strlen(r->body) : 0;
}

bool reply_compressible(const struct reply *r)
{
    return r->body && !r->gzip && r->len >= GZIP_MIN && r->type &&
           (strncmp(r->type, "text/", 5) == 0 || strstr(r->type, "json") ||
            strstr(r->type, "yaml"));
}

void reply_compress(struct reply *r)
{
    struct buf small = BUF_INIT;

    if (!gzip_bytes(r->body, r->len, GZIP_ONCE, &small))
        return;
    if (!r->borrowed)
        free(r->body);
    r->borrowed = false;
    r->body = small.data;
    r->len = small.len;
    r->gzip = true;
}

static void doc_headers(const struct doc *d, bool body, struct MHD_Response *out)
{
    (void)MHD_add_response_header(out, "ETag", d->etag);
    (void)MHD_add_response_header(out, "Cache-Control",
                                  d->changes ? "private, no-cache"
                                             : "private, max-age=31536000, immutable");
    (void)MHD_add_response_header(out, "Vary", "Accept, Accept-Encoding");
    if (d->gzip && body)
        (void)MHD_add_response_header(out, "Content-Encoding", "gzip");
    if (d->link)
        (void)MHD_add_response_header(out, "Link", d->link);
}

/* Another encoding is another representation, and has another strong tag. */
static void tag_header(const struct reply *r, const char *value, struct MHD_Response *out)
{
    size_t n = strlen(value);
    AUTO(freep) char *tag = NULL;

    if (r->gzip && n > 1 && value[n - 1] == '"')
        tag = xasprintf("%.*s-gz\"", (int)(n - 1), value);
    (void)MHD_add_response_header(out, "ETag", tag ? tag : value);
}

static void set_headers(const struct reply *r, struct MHD_Response *out, const char *request_id,
                        bool varies, bool close)
{
    bool cache = r->doc != NULL;

    if (r->doc)
        doc_headers(r->doc, r->status == 200, out);
    else if (varies)
        (void)MHD_add_response_header(out, "Vary", "Accept-Encoding");
    if (r->gzip)
        (void)MHD_add_response_header(out, "Content-Encoding", "gzip");

    for (size_t i = 0; i < r->n_headers; i++) {
        /* A value that the library refuses (control characters) is left out, not sent. */
        if (strcmp(r->header[i].name, "ETag") == 0)
            tag_header(r, r->header[i].value, out);
        else
            (void)MHD_add_response_header(out, r->header[i].name, r->header[i].value);
        cache = cache || strcmp(r->header[i].name, "Cache-Control") == 0;
    }
    if (r->type)
        (void)MHD_add_response_header(out, "Content-Type", r->type);
    if (!cache)
        (void)MHD_add_response_header(out, "Cache-Control", "no-store");
    if (close)
        (void)MHD_add_response_header(out, "Connection", "close");
    (void)MHD_add_response_header(out, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(out, "X-Request-Id", request_id);
}

static void drop_doc(void *doc)
{
    doc_unref(doc);
}

static struct MHD_Response *response_of_file(struct reply *r)
{
    struct MHD_Response *out = MHD_create_response_from_fd_at_offset64(r->len, r->fd, r->offset);

    if (out)
        r->fd = -1;
    return out;
}

static struct MHD_Response *response_made(struct reply *r)
{
    struct MHD_Response *out =
        MHD_create_response_from_callback(r->len, READ_BLOCK, r->read, r->read_arg, r->gone);

    if (out)
        r->read = NULL;
    return out;
}

/* The response takes the body over, or a reference to the document's. */
static struct MHD_Response *make_response(struct reply *r)
{
    struct MHD_Response *out;

    if (r->fd >= 0 && r->len > 0)
        return response_of_file(r);
    if (r->read)
        return response_made(r);
    if (r->doc && r->status == 200) {
        out = MHD_create_response_from_buffer_with_free_callback_cls(r->doc->len, r->doc->body,
                                                                     drop_doc, doc_ref(r->doc));
        if (!out)
            doc_unref(r->doc);
        return out;
    }
    out = MHD_create_response_from_buffer(
        r->len, r->body, r->borrowed || !r->body ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (out && !r->borrowed)
        r->body = NULL;
    return out;
}

enum MHD_Result reply_queue(struct reply *r, struct MHD_Connection *c, const char *request_id,
                            bool close, size_t *nbytes)
{
    struct MHD_Response *out;
    enum MHD_Result result = MHD_NO;

    bool varies = r->gzip || reply_compressible(r);

    ASSERT(!reply_is_suspend(r));
    print_problem(r, request_id);
    *nbytes = r->len;
    out = make_response(r);
    if (out) {
        set_headers(r, out, request_id, varies, close);
        result = MHD_queue_response(c, r->status, out);
        MHD_destroy_response(out);
    }
    reply_free(r);
    return result;
}
