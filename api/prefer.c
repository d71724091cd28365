/* prefer.c: see prefer.h. */
#include "api/prefer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static char *trim(char *s)
{
    char *end = s + strlen(s);

    while (isspace((unsigned char)*s))
        s++;
    while (end > s && isspace((unsigned char)end[-1]))
        *--end = '\0';
    return s;
}

/* Seconds from "10" or "\"10\"", capped; -1 when it is no number. */
static int parse_wait(char *s)
{
    size_t n = strlen(s);
    int v = 0;

    if (n >= 2 && s[0] == '"' && s[n - 1] == '"') {
        s[n - 1] = '\0';
        s++;
    }
    if (!*s || s[strspn(s, "0123456789")])
        return -1;
    for (; *s && v <= PREFER_WAIT_MAX; s++)
        v = v * 10 + (*s - '0');
    return v > PREFER_WAIT_MAX ? PREFER_WAIT_MAX : v;
}

static void add_one(struct prefer *p, char *item)
{
    char *value;

    item[strcspn(item, ";")] = '\0'; /* parameters of a preference: none is known */
    value = strchr(item, '=');
    if (value)
        *value++ = '\0';
    item = trim(item);
    if (strcasecmp(item, "respond-async") == 0)
        p->async = true;
    if (strcasecmp(item, "wait") == 0 && value && !p->has_wait) {
        int v = parse_wait(trim(value));

        p->has_wait = v >= 0;
        p->wait_s = v >= 0 ? (unsigned)v : 0;
    }
}

void prefer_add(struct prefer *p, const char *value)
{
    AUTO(freep) char *copy = xstrdup(value);
    char *rest = copy;
    char *item;

    while ((item = strsep(&rest, ",")))
        add_one(p, item);
}

unsigned prefer_wait(const struct prefer *p)
{
    return p->async ? 0 : p->wait_s;
}
