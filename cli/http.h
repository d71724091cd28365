/* http.h: calls to the daemon, over TCP or a unix socket. JSON in, JSON out. */
#ifndef SPECTRALCTL_HTTP_H
#define SPECTRALCTL_HTTP_H

#include <jansson.h>

#include "common/err.h"

#define HTTP_SERVER_DEFAULT "http://127.0.0.1:8437"
#define HTTP_ETAG_MAX       128

struct http_client;

/* `server`: "http[s]://HOST[:PORT]", "HOST:PORT" or "unix:PATH". Nothing is sent yet.
 * Free with http_client_free(). */
int http_client_new(const char *server, struct http_client **out, struct err *err);
void http_client_free(struct http_client *c);
DEFINE_AUTO(struct http_client, http_client_free)

/* Give up a call in progress as soon as `fd` is readable; -1 = never. */
void http_client_set_interrupt(struct http_client *c, int fd);

struct http_request {
    const char *method;
    const char *path;          /* "/v1/jobs?state=running" */
    const json_t *body;        /* or NULL */
    unsigned wait_s;           /* Prefer: wait=N; 0 = do not wait */
    const char *if_none_match; /* entity tag, or NULL or "" */
};

struct http_reply {
    long status;  /* 2xx or 304; 0 = interrupted */
    json_t *body; /* owned; NULL when there was none */
    char etag[HTTP_ETAG_MAX];
};
#define HTTP_REPLY_INIT                                                                            \
    {                                                                                              \
        0, NULL, ""                                                                                \
    }

void http_reply_done(struct http_reply *r);

/* Send and wait for the answer. ERR_IO: no answer came (server unreachable, connection lost);
 * ERR_BUSY: 503 or 429; any other refusal carries the server's words and the field at fault:
 * ERR_NOT_FOUND (404), ERR_CONFLICT (409), else ERR_INVALID. */
int http_call(struct http_client *c, const struct http_request *rq, struct http_reply *out,
              struct err *err);

/* `s` percent-encoded for use in a path or query. The caller frees it. */
char *http_escape(const char *s);

#endif
