/* admit.c: see admit.h. */
#include "api/admit.h"

#include "api/conn.h"
#include "api/host.h"
#include "api/problem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* --- headers that decide how the request is read --------------------------------------------- */

struct framing {
    unsigned n_length, n_encoding, n_host, n_type, n_trace;
    const char *length, *encoding, *trace;
    const char *too_long; /* name of a header */
    struct prefer prefer;
};

/* Longest value of the headers below, which are searched item by item. */
#define HEADER_VALUE_MAX 1024

static bool is_searched(const char *name)
{
    return strcasecmp(name, "Prefer") == 0 || strcasecmp(name, "If-None-Match") == 0 ||
           strcasecmp(name, "If-Match") == 0 || strcasecmp(name, "Content-Digest") == 0;
}

static enum MHD_Result see_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    struct framing *f = arg;

    (void)kind;
    if (!value)
        value = "";
    if (is_searched(name) && strlen(value) > HEADER_VALUE_MAX)
        f->too_long = name;
    if (strcasecmp(name, "Content-Length") == 0) {
        f->n_length++;
        f->length = value;
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        f->n_encoding++;
        f->encoding = value;
    } else if (strcasecmp(name, "Host") == 0) {
        f->n_host++;
    } else if (strcasecmp(name, "Content-Type") == 0) {
        f->n_type++;
    } else if (strcasecmp(name, "traceparent") == 0) {
        f->n_trace++;
        f->trace = value;
    } else if (strcasecmp(name, "Prefer") == 0) {
        prefer_add(&f->prefer, value);
    }
    return MHD_YES;
}

/* Only one unambiguous way to say how long a body is: a proxy in front might read two differently
 * and let a second request hide in the first one's body. */
static struct reply *check_framing(const struct framing *f, uint64_t *length)
{
    *length = 0;
    if (f->n_length + f->n_encoding > 1 || f->n_host > 1 || f->n_type > 1)
        return reply_problem(ERR_INVALID, "a header that may stand only once was repeated, or "
                                          "both Content-Length and Transfer-Encoding were sent");
    if (f->n_encoding) {
        *length = UINT64_MAX;
        if (strcasecmp(f->encoding, "chunked") != 0)
            return reply_problem(ERR_INVALID, "the only Transfer-Encoding known is chunked");
    }
    if (f->n_length &&
        (f->length[strspn(f->length, "0123456789")] || sscanf(f->length, "%" SCNu64, length) != 1))
        return reply_problem(ERR_INVALID, "Content-Length is not a number");
    return NULL;
}

/* --- checks ---------------------------------------------------------------------------------- */

static bool id_is_safe(const char *id)
{
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                               "-_.:/+=@~";

    return id && *id && strlen(id) <= REQUEST_ID_MAX && !id[strspn(id, safe)];
}

static void set_id(struct request *rq)
{
    const char *sent = request_header(rq, "X-Request-Id");

    if (id_is_safe(sent))
        snprintf(rq->id, sizeof rq->id, "%s", sent);
    else
        ident_new(rq->id, "req_");
}

static struct reply *find_route(struct request *rq, const char *target)
{
    struct err err;
    const struct route *table;
    size_t n;
    int r;

    if (!target)
        return reply_problem(FAULT_URI_LENGTH, "the request target is longer than %d bytes",
                             ADMIT_TARGET_MAX);
    r = path_parse(target, &rq->path, &err);
    if (r < 0)
        return reply_problem(r, "%s", err.text);
    table = api_routes(&n);
    route_find(table, n, rq->method, &rq->path, &rq->match);
    if (rq->match.route)
        return NULL;
    if (!*rq->match.allow)
        return reply_problem(ERR_NOT_FOUND, "no such resource");
    return reply_header(reply_problem(FAULT_METHOD, "this resource allows %s", rq->match.allow),
                        "Allow", "%s", rq->match.allow);
}

/* The address that the client reached us at is asked for when the name alone is not enough. */
static bool host_is_ours(const struct request *rq)
{
    const struct api *api = rq->api;
    const char *host = request_header(rq, "Host");
    struct sockaddr_storage local;

    return host_allowed(host, api->listener.host, api->config->allowed_hosts, NULL) ||
           (conn_local_address(rq->conn, &local) &&
            host_allowed(host, api->listener.host, api->config->allowed_hosts,
                         (struct sockaddr *)&local));
}

static struct reply *check_caller(const struct request *rq)
{
    if (rq->match.route->access == ACCESS_OPEN)
        return NULL;
    if (!rq->api->listener.unix_path && !host_is_ours(rq))
        return reply_problem(FAULT_HOST, "the Host header does not name this server; more names "
                                         "can be allowed with allowed-hosts");
    return NULL;
}

/* Parameters such as charset are allowed and ignored: JSON is UTF-8. */
static bool is_type(const char *header, const char *type)
{
    size_t n = header ? strcspn(header, "; \t") : 0;

    return n == strlen(type) && strncasecmp(header, type, n) == 0;
}

static struct reply *check_type(const struct request *rq)
{
    const char *type = request_header(rq, "Content-Type");
    bool patch = strcmp(rq->method, "PATCH") == 0;
    struct reply *no;

    if (is_type(type, "application/json") ||
        (patch && is_type(type, "application/merge-patch+json")))
        return NULL;
    no = reply_problem(FAULT_MEDIA_TYPE, "this call takes a body of Content-Type: %s",
                       patch ? "application/merge-patch+json or application/json"
                             : "application/json");
    return patch
               ? reply_header(no, "Accept-Patch", "application/merge-patch+json, application/json")
               : no;
}

static struct reply *check_body(const struct request *rq, uint64_t length)
{
    const struct config *config = rq->api->config;
    struct reply *no = rq->match.route->body == BODY_JSON ? check_type(rq) : NULL;

    if (no)
        return no;
    if (rq->match.route->body != BODY_STREAM && length != UINT64_MAX && length > config->body_limit)
        return admit_too_large(config);
    return NULL;
}

struct reply *admit_too_large(const struct config *config)
{
    return reply_problem(ERR_TOO_LARGE, "the body is larger than %" PRIu64 " bytes",
                         config->body_limit);
}

struct reply *admit_request(struct request *rq, const char *target, uint64_t *body_length)
{
    struct framing f = {0};
    struct reply *no;
    struct err err;

    set_id(rq);
    (void)MHD_get_connection_values(rq->mhd, MHD_HEADER_KIND, see_header, &f);
    rq->prefer = f.prefer;
    if (f.n_trace != 1 || !trace_parse(f.trace, rq->trace_id))
        trace_new(rq->trace_id);
    no = check_framing(&f, body_length);
    if (no) {
        rq->will_close = true; /* where the next request starts is uncertain */
        return no;
    }
    if (rq->api->stopping)
        return reply_problem(ERR_BUSY, "the server is shutting down");
    no = find_route(rq, target);
    if (!no)
        no = check_caller(rq);
    if (!no)
        no = check_body(rq, *body_length);
    if (!no && f.too_long)
        no = reply_problem(ERR_INVALID, "header %s: longer than %d bytes", f.too_long,
                           HEADER_VALUE_MAX);
    if (!no && query_parse(rq->path.query, &rq->query, &err) < 0)
        no = reply_err(&err);
    return no;
}
