/* http.h: calls to the daemon, over TCP or a unix socket.
 *
 * http_call() is one call from start to end. Where several shall run at a time, each on a
 * connection of its own: http_begin(), http_next(), http_end().
 */
#ifndef SPECTRALCTL_HTTP_H
#define SPECTRALCTL_HTTP_H

#include <jansson.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/err.h"

#define HTTP_SERVER_DEFAULT "http://127.0.0.1:8437"
#define HTTP_ETAG_MAX       128

struct http_client;

/* `server`: "http[s]://HOST[:PORT]", "HOST:PORT" or "unix:PATH". Nothing is sent yet.
 * Free with http_client_free(). */
int http_client_new(const char *server, struct http_client **out, struct err *err);
void http_client_free(struct http_client *c);
DEFINE_AUTO(struct http_client, http_client_free)

/* Give up calls in progress as soon as `fd` is readable; -1 = never. */
void http_client_set_interrupt(struct http_client *c, int fd);

/* True when the server is this machine: a loopback address or a unix socket. */
bool http_client_is_local(const struct http_client *c);

/* A body that is made while it is sent. The client asks first whether the server wants it
 * (Expect: 100-continue), so a refusal costs no body. */
struct http_stream {
    const char *content_type;
    uint64_t nbytes;
    /* Put up to `cap` bytes into `to`; returns how many, 0 at the end, -1 to give up. */
    ssize_t (*read)(void *arg, void *to, size_t cap);
    void *arg;
};

/* A body that is taken as it arrives, uncompressed. Never told of what a refusal says. */
struct http_sink {
    uint64_t from;        /* Range: bytes=FROM-, unless 0 */
    const char *if_range; /* entity tag of what FROM counts in */
    /* Some bytes of a reply with this status (200: from the beginning, 206). False to give up. */
    bool (*write)(void *arg, long status, const void *bytes, size_t len);
    void *arg;
};

struct http_request {
    const char *method;
    const char *path;                 /* "/v1/jobs?state=running" */
    const json_t *body;               /* or NULL */
    const struct http_stream *stream; /* or NULL; instead of body; borrowed until http_end() */
    const struct http_sink *sink;     /* or NULL; borrowed until http_end() */
    const char *accept;               /* media type of a reply taken as bytes; NULL = JSON */
    unsigned wait_s;                  /* Prefer: wait=N; 0 = do not wait */
    const char *if_none_match;        /* entity tag, or NULL or "" */
    const char *if_match;             /* the same */
};

struct http_reply {
    long status;    /* 2xx or 304; 0 = interrupted */
    json_t *body;   /* owned; NULL when there was none */
    struct buf raw; /* owned; the bytes, when the request had `accept` */
    char *next;     /* owned; path of the next page (Link: rel="next"), or NULL */
    char etag[HTTP_ETAG_MAX];
};
#define HTTP_REPLY_INIT                                                                            \
    {                                                                                              \
        .status = 0                                                                                \
    }

void http_reply_done(struct http_reply *r);

/* Send and wait for the answer. ERR_IO: no answer came (server unreachable, connection lost);
 * ERR_BUSY: 503 or 429; any other refusal carries the server's words and the field at fault:
 * ERR_FORBIDDEN (403), ERR_NOT_FOUND (404), ERR_CONFLICT (409, 412), ERR_FULL (413, 507), else
 * ERR_INVALID. */
int http_call(struct http_client *c, const struct http_request *rq, struct http_reply *out,
              struct err *err);

struct http_transfer;

/* Start a call; it goes on while http_next() runs. `tag` is for the caller. */
struct http_transfer *http_begin(struct http_client *c, const struct http_request *rq, void *tag);

/* Wait up to `timeout_ms` (-1 = for ever) for any call to end. *ended is that call or NULL.
 * Returns true when the interrupt descriptor became readable. */
bool http_next(struct http_client *c, int timeout_ms, struct http_transfer **ended);

void *http_tag(const struct http_transfer *t);

/* Take the answer of a call that ended, and free the call; results as http_call(). */
int http_end(struct http_transfer *t, struct http_reply *out, struct err *err);

/* Break off a call and free it. */
void http_abandon(struct http_transfer *t);

/* `s` percent-encoded for use in a path or query. The caller frees it. */
char *http_escape(const char *s);

#endif
