/* request.h: one HTTP request, from its first line to the end of its reply.
 *
 * A handler runs once, when the request is complete. It returns a reply, or reply_suspend()
 * after starting something; whatever it started ends in request_finish(), never before the
 * handler has returned. Two things may be under way for a suspended request:
 *   a ticket    the argument of a callback that cannot be called off (service, store). It
 *               outlives the request when the server stops.
 *   a job wait  a watch and a timer (wait.h), called off when the server stops.
 */
#ifndef SPECTRALD_REQUEST_H
#define SPECTRALD_REQUEST_H

#include <jansson.h>

#include "api/api.h"
#include "api/prefer.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/route.h"
#include "api/trace.h"

struct conn;
struct job_wait;
struct ticket;

#define REQUEST_ID_MAX 128

/* How a BODY_STREAM route takes its body. */
struct stream_ops {
    /* A piece, len > 0. False: no more until request_more(). May refuse with request_refuse(). */
    bool (*piece)(struct request *rq, void *stream, const void *data, size_t len);
    /* The body is complete: as a handler. */
    struct reply *(*end)(struct request *rq, void *stream);
    /* The request goes away, whatever became of it: free the stream. */
    void (*gone)(void *stream);
};

struct request {
    struct api *api;
    struct MHD_Connection *mhd;
    struct conn *conn;
    struct request *next, **link;
    const char *method;
    struct path path;
    struct route_match match; /* arguments: match.arg[] */
    struct query query;       /* handlers read it with query_*() and end with ..._check_unused */
    json_t *json;             /* body of a BODY_JSON route, until the handler has returned */
    struct prefer prefer;
    char id[REQUEST_ID_MAX + 1];
    char trace_id[TRACE_ID_MAX]; /* of traceparent, or a new one */
    bool replayed; /* an earlier request with the same Idempotency-Key made what is answered */
    void *kept;    /* what a handler keeps while the request is suspended, freed with it, or NULL */
    void (*kept_free)(void *kept);
    /* Of job_first.h: what answers when the job is over, and how long it may take. */
    struct reply *(*then)(struct request *rq, const struct job_view *view);
    unsigned patience_s;
    bool flat; /* the job's parameters are members of the body, without "/params" above */
    /* The rest is private to request.c and wait.c. */
    int stage;
    char *target;
    struct buf body;
    size_t counted;             /* bytes of api->body_bytes that are this request's */
    uint64_t received, dropped; /* bytes of the body */
    const struct stream_ops *stream_ops;
    void *stream;
    uint64_t length; /* announced, UINT64_MAX = unknown */
    struct reply *reply;
    bool suspended, paused, will_close;
    struct ticket *ticket;
    struct job_wait *wait;
    int64_t started_ns;
    unsigned status;
    size_t nbytes;
};

/* For MHD_OPTION_URI_LOG_CALLBACK, the access handler and MHD_OPTION_NOTIFY_COMPLETED, with the
 * struct api as argument. */
void *request_open(void *cls, const char *target, struct MHD_Connection *c);
enum MHD_Result request_access(void *cls, struct MHD_Connection *c, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *len, void **context);
void request_completed(void *cls, struct MHD_Connection *c, void **context,
                       enum MHD_RequestTerminationCode why);

/* Value of a header, borrowed, or NULL. */
const char *request_header(const struct request *rq, const char *name);

/* True when If-None-Match names `etag` (with its quotes), in any content coding ("…-gz"), or is
 * "*". */
bool request_has_etag(const struct request *rq, const char *etag);

/* For the handler of a BODY_STREAM route: take the body with these. */
void request_stream(struct request *rq, const struct stream_ops *ops, void *stream);
/* Bytes announced (UINT64_MAX when unknown), and bytes received so far. */
uint64_t request_length(const struct request *rq);
uint64_t request_received(const struct request *rq);
/* Go on after a piece said no; harmless when it did not. */
void request_more(struct request *rq);
/* Refuse a body that is arriving; takes the reply. The rest is dropped. */
void request_refuse(struct request *rq, struct reply *why);

/* Answer a suspended request; takes the reply. */
void request_finish(struct request *rq, struct reply *reply);

/* The argument of a callback that comes exactly once. */
struct ticket *request_ticket(struct request *rq);
/* Free the ticket; the request, or NULL when it is gone. */
struct request *ticket_redeem(struct ticket *t);

/* Build a reply on the store thread and finish with it. `run` gets a copy of `args` and must
 * touch nothing else. Returns reply_suspend(). */
typedef struct reply *request_read_fn(const void *args, struct store *st);
struct reply *request_read(struct request *rq, request_read_fn *run, const void *args,
                           size_t nbytes);

/* Answer every suspended request with 503: the server stops. */
void request_abandon_all(struct api *api);

#endif
