/* route.c: matching. A dozen routes: a linear scan of the table is the clearest index. */
#include "api/route.h"

#include <stdio.h>
#include <string.h>

/* Does one segment (and its verb) match a piece of a template such as "jobs", "{job}" or
 * "{job}:cancel"? */
static bool segment_matches(const char *piece, size_t len, const char *segment, const char *verb,
                            bool *is_arg)
{
    const char *colon = memchr(piece, ':', len);
    size_t head = colon ? (size_t)(colon - piece) : len;

    if (colon ? !verb || strlen(verb) != len - head - 1 || memcmp(verb, colon + 1, len - head - 1)
              : verb != NULL)
        return false;
    *is_arg = *piece == '{';
    if (*is_arg)
        return *segment != '\0';
    return strlen(segment) == head && memcmp(segment, piece, head) == 0;
}

static bool path_matches(const char *template, const struct path *path, struct route_match *m)
{
    const char *p = template;
    size_t i = 0;

    m->n_args = 0;
    while (*p == '/') {
        size_t len = strcspn(++p, "/");
        bool is_arg;

        if (i == path->count || !segment_matches(p, len, path->segment[i],
                                                 i + 1 == path->count ? path->verb : NULL, &is_arg))
            return false;
        if (is_arg) {
            ASSERT(m->n_args < ROUTE_ARGS_MAX);
            m->arg[m->n_args++] = path->segment[i];
        }
        p += len;
        i++;
    }
    return i == path->count;
}

static void allow(struct route_match *m, const char *method)
{
    size_t n = strlen(m->allow);

    snprintf(m->allow + n, sizeof m->allow - n, "%s%s%s", n ? ", " : "", method,
             strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

void route_find(const struct route *table, size_t n, const char *method, const struct path *path,
                struct route_match *out)
{
    struct route_match m = {0}, try;

    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < n; i++) {
        try = m;
        if (!path_matches(table[i].path, path, &try))
            continue;
        allow(&m, table[i].method);
        if (strcmp(table[i].method, method) == 0) {
            m.route = &table[i];
            m.n_args = try.n_args;
            memcpy(m.arg, try.arg, sizeof m.arg);
        }
    }
    *out = m;
}
