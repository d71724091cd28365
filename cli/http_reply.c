/* http_reply.c: see http_reply.h. */
#include "cli/http_reply.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/field.h"

void http_reply_done(struct http_reply *r)
{
    json_decref(r->body);
    buf_done(&r->raw);
    free(r->next);
    *r = (struct http_reply)HTTP_REPLY_INIT;
}

/* The value of header `name`, trimmed, in *value and *len; false when the line is another one. */
static bool header_value(const char *line, size_t line_len, const char *name, const char **value,
                         size_t *len)
{
    size_t from = strlen(name), to = line_len;

    if (to <= from || strncasecmp(line, name, from) != 0 || line[from] != ':')
        return false;
    from++;
    while (from < to && line[from] == ' ')
        from++;
    while (to > from && strchr("\r\n ", line[to - 1]))
        to--;
    *value = line + from;
    *len = to - from;
    return true;
}

/* </v1/…>; rel="next": the target, when it is a path. NULL when it is another link. */
static char *next_of(const char *value, size_t len)
{
    const char *close = memchr(value, '>', len);

    if (len < 3 || value[0] != '<' || value[1] != '/' || !close)
        return NULL;
    if (!memmem(close, len - (size_t)(close - value), "rel=\"next\"", 10))
        return NULL;
    return xasprintf("%.*s", (int)(close - value - 1), value + 1);
}

void http_reply_header(struct http_reply *r, const char *line, size_t line_len)
{
    const char *value;
    size_t len;

    if (header_value(line, line_len, "ETag", &value, &len) && len < sizeof(r->etag)) {
        memcpy(r->etag, value, len);
        r->etag[len] = 0;
    } else if (header_value(line, line_len, "Link", &value, &len) && !r->next) {
        r->next = next_of(value, len);
    }
}

static int code_of(long status)
{
    switch (status) {
    case 403:
        return ERR_FORBIDDEN;
    case 404:
        return ERR_NOT_FOUND;
    case 409:
    case 412:
        return ERR_CONFLICT;
    case 413:
    case 507:
        return ERR_FULL;
    case 429:
    case 503:
        return ERR_BUSY;
    default:
        return ERR_INVALID;
    }
}

/* Turn an error reply (RFC 9457, or anything else) into an error record. */
static int refused(long status, const json_t *problem, struct err *err)
{
    const char *detail = field_text(problem, "detail");
    const json_t *first = json_array_get(json_object_get(problem, "errors"), 0);
    const char *pointer = field_text(first, "pointer");
    const char *field = field_text(first, "detail");
    int code = code_of(status);

    if (!*detail)
        detail = *field_text(problem, "title") ? field_text(problem, "title") : "no reason given";
    if (*field && strcmp(field, detail) != 0)
        return err_set_at(err, code, pointer, "%s: %s (HTTP %ld)", detail, field, status);
    return err_set_at(err, code, pointer, "%s (HTTP %ld)", detail, status);
}

int http_reply_finish(struct http_reply *r, long status, struct buf *bytes, bool as_bytes,
                      const char *server, struct err *err)
{
    json_auto_t *body = NULL;
    bool raw = as_bytes && status < 300;

    if (bytes->len > 0 && !raw)
        body = json_loadb((const char *)bytes->data, bytes->len, JSON_ALLOW_NUL, NULL);
    if (status >= 400) {
        http_reply_done(r);
        return refused(status, body, err);
    }
    if (status < 200 || (status >= 300 && status != 304) || (bytes->len > 0 && !body && !raw)) {
        http_reply_done(r);
        return err_set(err, ERR_UNSUPPORTED, "%s answers (HTTP %ld), but not as spectrald does",
                       server, status);
    }
    r->status = status;
    r->body = TAKE(body);
    if (raw) {
        r->raw = *bytes;
        *bytes = (struct buf)BUF_INIT;
    }
    return 0;
}
