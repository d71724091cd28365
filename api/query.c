/* query.c: see query.h. */
#include "api/query.h"

#include "api/path.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Longest name that is repeated to the client. */
#define NAME_SHOWN 64

/* 2^53 - 1: the largest integer that every JSON tool writes exactly. */
#define QUERY_NUMBER_MAX 9007199254740991u

void query_done(struct query *q)
{
    free(q->text);
    *q = (struct query){.count = 0};
}

static int bad(struct err *err, const char *name, const char *why)
{
    char pointer[NAME_SHOWN + 2];

    pointer[0] = '?';
    strncpy(pointer + 1, name, NAME_SHOWN);
    pointer[NAME_SHOWN + 1] = '\0';
    return err_set_at(err, ERR_INVALID, pointer, "query parameter %s: %s", pointer + 1, why);
}

static struct query_param *find(const struct query *q, const char *name)
{
    for (size_t i = 0; i < q->count; i++)
        if (strcmp(q->param[i].name, name) == 0)
            return (struct query_param *)&q->param[i];
    return NULL;
}

static int add(struct query *q, char *item, struct err *err)
{
    char *value = strchr(item, '=');

    if (value)
        *value++ = '\0';
    else
        value = item + strlen(item);
    if (!path_unescape(item, true) || !path_unescape(value, true))
        return err_set(err, ERR_INVALID, "the query holds a bad percent escape");
    if (find(q, item) && strcmp(item, "label") != 0)
        return bad(err, item, "given more than once");
    if (q->count == QUERY_PARAMS_MAX)
        return err_set(err, ERR_INVALID, "more than %d query parameters", QUERY_PARAMS_MAX);
    q->param[q->count++] = (struct query_param){.name = item, .value = value};
    return 0;
}

int query_parse(const char *text, struct query *out, struct err *err)
{
    struct query q = {.text = xstrdup(text)};
    char *rest = q.text;
    char *item;
    int r = 0;

    while (r == 0 && (item = strsep(&rest, "&")))
        if (*item)
            r = add(&q, item, err);
    if (r < 0) {
        query_done(&q);
        return r;
    }
    *out = q;
    return 0;
}

int query_text(struct query *q, const char *name, size_t max, const char **out, struct err *err)
{
    struct query_param *p = find(q, name);

    if (!p) {
        *out = NULL;
        return 0;
    }
    p->used = true;
    if (strlen(p->value) > max)
        return bad(err, name, "the value is too long");
    *out = p->value;
    return 0;
}

int query_size(struct query *q, const char *name, uint64_t missing, uint64_t max, uint64_t *out,
               struct err *err)
{
    const char *s;
    uint64_t v = 0;
    int r = query_text(q, name, 64, &s, err);

    if (r < 0)
        return r;
    if (!s) {
        *out = missing;
        return 0;
    }
    if (!*s || s[strspn(s, "0123456789")])
        return bad(err, name, "expected a number of decimal digits");
    for (; *s && v <= QUERY_NUMBER_MAX; s++)
        v = v * 10 + (uint64_t)(*s - '0');
    if (v > QUERY_NUMBER_MAX)
        return bad(err, name, "the number is above 9007199254740991");
    *out = v > max ? max : v;
    return 0;
}

int query_flag(struct query *q, const char *name, bool *out, struct err *err)
{
    const char *s;
    int r = query_text(q, name, 64, &s, err);

    if (r < 0)
        return r;
    if (s && (strcmp(s, "0") == 0 || strcmp(s, "false") == 0))
        s = NULL;
    else if (s && *s && strcmp(s, "1") != 0 && strcmp(s, "true") != 0)
        return bad(err, name, "expected true, false, or no value");
    *out = s != NULL;
    return 0;
}

int query_pair(struct query *q, const char *name, const char **key, const char **value,
               struct err *err)
{
    struct query_param *p = q->param, *end = q->param + q->count;
    char *colon;

    *key = *value = NULL;
    while (p < end && (p->used || strcmp(p->name, name) != 0))
        p++;
    if (p == end)
        return 0;
    p->used = true;
    colon = strchr(p->value, ':');
    if (!*p->value || colon == p->value)
        return bad(err, name, "expected key:value or key");
    if (colon)
        *colon++ = '\0';
    *key = p->value;
    *value = colon;
    return 0;
}

int query_check_unused(const struct query *q, struct err *err)
{
    for (size_t i = 0; i < q->count; i++)
        if (!q->param[i].used)
            return bad(err, q->param[i].name, "not known here");
    return 0;
}

void query_escape(struct buf *out, const char *s)
{
    for (; *s; s++)
        if (isalnum((unsigned char)*s) || strchr("-._~", *s))
            buf_put_u8(out, (uint8_t)*s);
        else
            buf_printf(out, "%%%02X", (unsigned char)*s);
}
