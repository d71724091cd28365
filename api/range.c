/* range.c: see range.h. */
#include "api/range.h"

#include <string.h>
#include <strings.h>

/* Digits at *s; a number too large stands for the largest. False when there are none. */
static bool read_number(const char **s, uint64_t *out)
{
    const char *p = *s;
    uint64_t v = 0;

    for (; *p >= '0' && *p <= '9'; p++) {
        unsigned digit = (unsigned)(*p - '0');

        v = v > (UINT64_MAX - digit) / 10 ? UINT64_MAX : v * 10 + digit;
    }
    if (p == *s)
        return false;
    *s = p;
    *out = v;
    return true;
}

static bool at_end(const char *s)
{
    return s[strspn(s, " \t")] == '\0';
}

/* "-N": the last N bytes. */
static enum range suffix(const char *s, uint64_t size, uint64_t *first, uint64_t *len)
{
    uint64_t n;

    if (!read_number(&s, &n) || !at_end(s))
        return RANGE_WHOLE;
    if (n == 0)
        return RANGE_NOT_SATISFIABLE;
    if (n >= size)
        return RANGE_WHOLE;
    *first = size - n;
    *len = n;
    return RANGE_PART;
}

enum range range_parse(const char *header, uint64_t size, uint64_t *first, uint64_t *len)
{
    uint64_t from, to = UINT64_MAX;
    const char *s;

    if (!header || strncasecmp(header, "bytes=", 6) != 0)
        return RANGE_WHOLE;
    s = header + 6;
    s += strspn(s, " \t");
    if (*s == '-')
        return suffix(s + 1, size, first, len);
    if (!read_number(&s, &from) || *s++ != '-')
        return RANGE_WHOLE;
    if (!at_end(s) && (!read_number(&s, &to) || !at_end(s) || to < from))
        return RANGE_WHOLE;
    if (from >= size)
        return RANGE_NOT_SATISFIABLE;
    *first = from;
    *len = (to < size ? to + 1 : size) - from;
    return RANGE_PART;
}
