/* etag.c: see etag.h. */
#include "api/etag.h"

#include "api/request.h"

#include <string.h>
#include <strings.h>

/* The length of a tag without the mark of its encoding and its last quote. */
static size_t tag_stem(const char *tag, size_t len)
{
    static const char mark[] = "-gz\"";
    size_t n = sizeof mark - 1;

    return len > n && memcmp(tag + len - n, mark, n) == 0 ? len - n : len - 1;
}

/* A client that has the content in any encoding has it. */
static bool same_tag(const char *tag, size_t len, const char *etag)
{
    size_t n = strlen(etag);

    return len > 1 && n > 1 && tag_stem(tag, len) == tag_stem(etag, n) &&
           memcmp(tag, etag, tag_stem(etag, n)) == 0 && tag[len - 1] == '"';
}

bool etag_listed(const char *list, const char *etag, bool weak)
{
    while (*list) {
        bool is_weak;
        size_t len;

        list += strspn(list, ", \t");
        is_weak = strncmp(list, "W/", 2) == 0;
        if (is_weak)
            list += 2;
        len = *list == '"' ? strcspn(list + 1, "\"") + 2 : strcspn(list, ",");
        if (strnlen(list, len) < len)
            break;
        if (len == 1 && *list == '*')
            return true;
        if ((weak || !is_weak) && same_tag(list, len, etag))
            return true;
        list += len;
    }
    return false;
}

struct joining {
    const char *header;
    char *out;
    size_t len;
    bool too_long;
};

static enum MHD_Result join(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct joining *j = arg;
    size_t n = value ? strlen(value) : 0;

    (void)kind;
    if (strcasecmp(name, j->header) != 0 || !value)
        return MHD_YES;
    if (j->len + n + 1 > ETAG_LIST_MAX) {
        j->too_long = true;
        return MHD_NO;
    }
    if (j->len)
        j->out[j->len++] = ',';
    memcpy(j->out + j->len, value, n);
    j->len += n;
    return MHD_YES;
}

bool etag_list(const struct request *rq, const char *header, char out[ETAG_LIST_MAX + 1])
{
    struct joining j = {.header = header, .out = out};

    (void)MHD_get_connection_values(rq->mhd, MHD_HEADER_KIND, join, &j);
    out[j.len] = '\0';
    return !j.too_long;
}
