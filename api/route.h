/* route.h: which handler answers which request: one visible table. */
#ifndef SPECTRALD_ROUTE_H
#define SPECTRALD_ROUTE_H

#include "api/path.h"

struct reply;
struct request;

enum route_body {
    BODY_NONE,   /* a body is read and ignored */
    BODY_JSON,   /* parsed, an object; up to config.body_limit */
    BODY_STREAM, /* taken piece by piece; the handler runs at the headers (request_stream()) */
};

enum route_access {
    ACCESS_OPEN,   /* probes: no Host check */
    ACCESS_CALLER, /* the Host must be allowed */
};

struct route {
    const char *operation; /* operationId in openapi.yaml */
    const char *method;
    const char *path; /* "/v1/jobs/{job}:cancel"; label of metrics, too */
    struct reply *(*handler)(struct request *rq);
    enum route_body body;
    enum route_access access;
};

/* The table of this server. */
const struct route *api_routes(size_t *n);

#define ROUTE_ARGS_MAX  4
#define ROUTE_ALLOW_MAX 64

struct route_match {
    const struct route *route;       /* NULL: no such path, or see allow */
    const char *arg[ROUTE_ARGS_MAX]; /* decoded {…} segments, borrowed from the path */
    size_t n_args;
    char allow[ROUTE_ALLOW_MAX]; /* methods of the path: "GET, HEAD"; "" = unknown path */
};

/* Find the route of a method and a path in a table of `n`. HEAD matches GET. */
void route_find(const struct route *table, size_t n, const char *method, const struct path *path,
                struct route_match *out);

#endif
