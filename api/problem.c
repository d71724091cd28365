/* problem.c: the one table of errors that clients see. */
#include "api/problem.h"

#include <string.h>

/* A full disk is 503, not 507: it is the server's trouble and passes without the client changing
 * anything. */
static const struct problem_type types[] = {
    {ERR_INTERNAL, 500, "internal", "/problems/internal", "Internal error", true},
    {ERR_INVALID, 400, "invalid", "/problems/invalid", "Invalid request", false},
    {ERR_NOT_FOUND, 404, "not_found", "/problems/not-found", "Not found", false},
    {ERR_FORBIDDEN, 403, "forbidden", "/problems/forbidden", "Forbidden", false},
    {ERR_CONFLICT, 409, "conflict", "/problems/conflict", "Conflict with the present state", false},
    {ERR_LIMIT, 422, "limit", "/problems/limit", "A limit would be passed", false},
    {ERR_UNSUPPORTED, 422, "unsupported", "/problems/unsupported", "Not supported", false},
    {ERR_FORMAT, 422, "format", "/problems/format", "The model file breaks its format", false},
    {ERR_CHANGED, 409, "changed", "/problems/changed", "The file changed while it was read", false},
    {ERR_NUMERIC, 422, "numeric", "/problems/numeric", "No numerical result", false},
    {ERR_NOMEM, 503, "out_of_memory", "/problems/out-of-memory", "Out of memory", true},
    {ERR_IO, 503, "io", "/problems/io", "Storage failed", true},
    {ERR_FULL, 503, "no_space", "/problems/no-space", "No space left", true},
    {ERR_BUSY, 503, "busy", "/problems/busy", "Busy, try later", false},
    {ERR_DEADLINE, 504, "deadline_exceeded", "/problems/deadline-exceeded", "Ran out of time",
     false},
    {ERR_CRASHED, 500, "worker_crashed", "/problems/worker-crashed", "A worker died", true},
    {ERR_KEY_REUSED, 422, "key_reused", "/problems/key-reused",
     "The Idempotency-Key was used for another request", false},
    {ERR_IN_FLIGHT, 409, "in_flight", "/problems/in-flight", "The same request is being worked on",
     false},
    {ERR_STALE, 412, "precondition_failed", "/problems/precondition-failed",
     "The resource has changed", false},
    {ERR_TOO_LARGE, 413, "content_too_large", "/problems/content-too-large", "Body too large",
     false},
    {ERR_QUOTA, 507, "insufficient_storage", "/problems/insufficient-storage", "No room for it",
     false},
    {FAULT_METHOD, 405, "method_not_allowed", "/problems/method-not-allowed",
     "Method not allowed here", false},
    {FAULT_NO_CONDITION, 428, "precondition_required", "/problems/precondition-required",
     "If-Match is required", false},
    {FAULT_NOT_ACCEPTABLE, 406, "not_acceptable", "/problems/not-acceptable",
     "No such form of this resource", false},
    {FAULT_MEDIA_TYPE, 415, "unsupported_media_type", "/problems/unsupported-media-type",
     "Unsupported media type", false},
    {FAULT_RANGE, 416, "range_not_satisfiable", "/problems/range-not-satisfiable", "No such bytes",
     false},
    {FAULT_URI_LENGTH, 414, "uri_too_long", "/problems/uri-too-long", "URI too long", false},
    {FAULT_HOST, 421, "misdirected_request", "/problems/misdirected-request",
     "This server does not answer for that host", false},
    {ERR_GONE, 410, "gone", "/problems/gone", "No longer there", false},
};

const struct problem_type *problem_type(int code)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (types[i].code == code)
            return &types[i];
    return &types[0];
}

const struct problem_type *problem_type_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return &types[0];
}

/* A JSON string, also of a text that quotes bytes which are not UTF-8 or was cut inside one. */
static json_t *any_text(const char *s)
{
    AUTO(freep) char *ascii = NULL;
    json_t *j = json_string(s);

    if (j)
        return j;
    ascii = xstrdup(s);
    for (char *c = ascii; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return json_string(ascii);
}

static json_t *field_error(const char *pointer, const char *detail)
{
    AUTO(freep) char *fragment = xasprintf("#%s", pointer);
    bool parameter = *pointer == '?';

    return json_pack("[{s:o, s:o}]", parameter ? "parameter" : "pointer",
                     any_text(parameter ? pointer + 1 : fragment), "detail", any_text(detail));
}

json_t *problem_json(int code, const char *pointer, const char *detail)
{
    const struct problem_type *t = problem_type(code);
    const char *shown = t->private_text || !*detail ? t->title : detail;
    json_t *p = json_pack("{s:s, s:s, s:i, s:o, s:s}", "type", t->uri, "title", t->title, "status",
                          (int)t->status, "detail", any_text(shown), "code", t->name);

    if (p && *pointer)
        (void)json_object_set_new(p, "errors", field_error(pointer, shown));
    return p;
}
