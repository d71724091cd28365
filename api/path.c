/* path.c: see path.h. The target is taken as the client wrote it, not as decoded by the HTTP
 * library, which would hide escaped slashes. */
#include "api/path.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void path_done(struct path *p)
{
    free(p->text);
    *p = (struct path){.query = ""};
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool path_unescape(char *s, bool plus)
{
    char *to = s;

    for (; *s; s++) {
        if (*s == '%') {
            int hi = hex_value(s[1]);
            int lo = hi < 0 ? -1 : hex_value(s[2]);

            if (lo < 0 || hi * 16 + lo == 0)
                return false;
            *to++ = (char)(hi * 16 + lo);
            s += 2;
        } else {
            *to++ = plus && *s == '+' ? ' ' : *s;
        }
    }
    *to = '\0';
    return true;
}

/* Start of the path in an absolute-form target (RFC 9112, 3.2.2), which servers must accept. */
static const char *skip_authority(const char *target)
{
    if (strncasecmp(target, "http://", 7) == 0)
        target += 7 + strcspn(target + 7, "/?");
    return target;
}

static int split(struct path *p, struct err *err)
{
    char *rest = p->text + 1;
    char *s;

    while ((s = strsep(&rest, "/"))) {
        if (p->count == PATH_SEGMENTS_MAX)
            return err_set(err, ERR_NOT_FOUND, "no such resource");
        if (!rest && (p->verb = strrchr(s, ':')))
            *p->verb++ = '\0';
        if (!path_unescape(s, false) || (!rest && p->verb && !path_unescape(p->verb, false)))
            return err_set(err, ERR_INVALID, "the path holds a bad percent escape");
        p->segment[p->count++] = s;
    }
    return 0;
}

int path_parse(const char *target, struct path *out, struct err *err)
{
    const char *start = skip_authority(target);
    size_t len = strcspn(start, "?");
    struct path p = {.query = start[len] ? start + len + 1 : ""};
    int r;

    if (*start != '/')
        return err_set(err, ERR_NOT_FOUND, "no such resource");
    p.text = xasprintf("%.*s", (int)len, start);
    r = split(&p, err);
    if (r < 0) {
        path_done(&p);
        return r;
    }
    *out = p;
    return 0;
}
