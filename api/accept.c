/* accept.c: see accept.h. */
#include "api/accept.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

void accept_init(struct accept *a, const char *const *offer, size_t n)
{
    ASSERT(n <= ACCEPT_OFFERS_MAX);
    *a = (struct accept){.offer = offer, .n = n};
}

/* Thousandths from "0.25"; what is no weight counts as 1. */
static unsigned parse_q(const char *s, size_t len)
{
    unsigned q = 0, unit = 100;

    if (len == 0 || (*s != '0' && *s != '1') || (len > 1 && s[1] != '.'))
        return 1000;
    if (*s == '1')
        return 1000;
    for (size_t i = 2; i < len && unit > 0; i++, unit /= 10) {
        if (!isdigit((unsigned char)s[i]))
            return 1000;
        q += (unsigned)(s[i] - '0') * unit;
    }
    return q;
}

static void trim(const char **s, size_t *len)
{
    while (*len && isspace((unsigned char)**s)) {
        (*s)++;
        (*len)--;
    }
    while (*len && isspace((unsigned char)(*s)[*len - 1]))
        (*len)--;
}

/* The weight among the parameters that follow a name: ";a=b;q=0.5". */
static unsigned weight_of(const char *s, size_t len)
{
    unsigned q = 1000;

    while (len > 0) {
        const char *item = s + 1; /* after the semicolon */
        size_t n = 0;

        while (n + 1 < len && item[n] != ';')
            n++;
        s += n + 1;
        len -= n + 1;
        trim(&item, &n);
        if (n >= 2 && tolower((unsigned char)item[0]) == 'q' && item[1] == '=')
            q = parse_q(item + 2, n - 2);
    }
    return q;
}

static int how_named(const char *range, size_t len, const char *offer)
{
    if (len == strlen(offer) && strncasecmp(range, offer, len) == 0)
        return 3;
    if ((len == 1 && *range == '*') || (len == 3 && memcmp(range, "*/*", 3) == 0))
        return 1;
    if (len > 2 && memcmp(range + len - 2, "/*", 2) == 0 && strncasecmp(range, offer, len - 1) == 0)
        return 2;
    return 0;
}

static void add_one(struct accept *a, const char *item, size_t len)
{
    const char *params = memchr(item, ';', len);
    size_t name_len = params ? (size_t)(params - item) : len;
    unsigned q = params ? weight_of(params, len - name_len) : 1000;

    trim(&item, &name_len);
    if (name_len == 0)
        return;
    a->any = true;
    for (size_t i = 0; i < a->n; i++) {
        int named = how_named(item, name_len, a->offer[i]);

        if (named > a->seen[i].named) {
            a->seen[i].named = named;
            a->seen[i].q = q;
        }
    }
}

void accept_add(struct accept *a, const char *value)
{
    for (;;) {
        size_t len = strcspn(value, ",");

        add_one(a, value, len);
        if (!value[len])
            return;
        value += len + 1;
    }
}

int accept_choose(const struct accept *a)
{
    int best = -1;
    unsigned q = 0;

    if (!a->any)
        return 0;
    for (size_t i = 0; i < a->n; i++)
        if (a->seen[i].named && a->seen[i].q > q) {
            best = (int)i;
            q = a->seen[i].q;
        }
    return best;
}

bool accept_gzip(const char *value)
{
    static const char *const codings[] = {"gzip", "identity"};
    struct accept a;

    if (!value)
        return false;
    accept_init(&a, codings, ARRAY_LEN(codings));
    accept_add(&a, value);
    if (!a.seen[0].named || a.seen[0].q == 0)
        return false;
    return a.seen[1].named < 3 || a.seen[0].q >= a.seen[1].q;
}
