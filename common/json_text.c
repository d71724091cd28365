/* json_text.c: see json_text.h. */
#include "common/json_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- numbers ------------------------------------------------------------------------------- */

typedef unsigned __int128 wide;

/* x = m 2^-s, with m < 2^53 and 0 <= s <= 66, and its decimal exponent: 10^e <= x < 10^(e+1). */
struct parts {
    uint64_t m;
    int s, e;
};

#define FIXED_LEAST 1e-4 /* %g has an exponent below, */
#define FIXED_END   1e15 /* and may need one here */

static wide power_of_10(int k)
{
    wide p = 1;

    for (; k >= 18; k -= 18)
        p *= 1000000000000000000u;
    for (; k > 0; k--)
        p *= 10;
    return p;
}

static void take_apart(double x, struct parts *out)
{
    /* The least doubles that are not below each power. */
    static const double power[] = {1e-4, 1e-3, 1e-2, 1e-1, 1e0,  1e1,  1e2,  1e3,  1e4, 1e5,
                                   1e6,  1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14};
    int exponent, i = 0;
    double fraction = frexp(x, &exponent);

    out->m = (uint64_t)(fraction * 0x1p53);
    out->s = 53 - exponent;
    while (i + 1 < (int)ARRAY_LEN(power) && x >= power[i + 1])
        i++;
    out->e = i - 4;
}

/* The n digits nearest to x as a whole number. True when they read back as x, or are 17. */
static bool nearest(const struct parts *x, int n, uint64_t *digits)
{
    int k = n - 1 - x->e;
    wide scale = power_of_10(k), exact = scale * x->m, back, off;
    wide q = exact >> x->s, rest = exact - (q << x->s), half = ((wide)1 << x->s) >> 1;

    if (rest > half || (rest == half && x->s > 0 && (q & 1)))
        q++;
    *digits = (uint64_t)q;
    back = q << x->s;
    /* Half the gap to the neighbour of x; below a power of two it is half as wide. */
    off = 2 * (back > exact ? back - exact : (exact - back) * (x->m == (uint64_t)1 << 52 ? 2 : 1));
    return n == 17 || off < scale || (off == scale && x->m % 2 == 0);
}

static size_t put_fixed(char *out, uint64_t digits, int n, int e)
{
    char text[24], *at = out;
    int keep = e >= 0 ? e + 1 : 1;

    (void)snprintf(text, sizeof text, "%" PRIu64, digits);
    while (n > keep && text[n - 1] == '0')
        n--;
    if (e < 0) {
        memcpy(at, "0.000", (size_t)(1 - e));
        at += 1 - e;
        memcpy(at, text, (size_t)n);
        return (size_t)(at + n - out);
    }
    memcpy(at, text, (size_t)keep);
    at += keep;
    if (n > keep) {
        *at++ = '.';
        memcpy(at, text + keep, (size_t)(n - keep));
        at += n - keep;
    }
    return (size_t)(at - out);
}

/* The shortest of 15, 16 and 17 digits that read back as x, as printf writes them: exact, by whole
 * numbers of 128 bits. 0 when x is none of the numbers this is for. */
static size_t put_shortest(char *out, double x)
{
    struct parts p;
    uint64_t digits = 0;
    int n = 15;

    if (!(x >= FIXED_LEAST && x < FIXED_END))
        return 0;
    take_apart(x, &p);
    while (!nearest(&p, n, &digits))
        n++;
    if (digits >= (uint64_t)power_of_10(n)) /* rounded up to a power of ten */
        return 0;
    return put_fixed(out, digits, n, p.e);
}

static size_t put_printed(char *out, size_t size, double x)
{
    size_t len = 0;

    for (int digits = 15; digits <= 17; digits++) {
        len = (size_t)snprintf(out, size, "%.*g", digits, x);
        if (strtod(out, NULL) == x)
            break;
    }
    return len;
}

void json_text_real(struct buf *b, double x)
{
    char text[40];
    size_t len;

    if (!isfinite(x)) {
        buf_put(b, "null", 4);
        return;
    }
    if (x == 0 && !signbit(x)) {
        buf_put_u8(b, '0');
        return;
    }
    text[0] = '-';
    len = put_shortest(text + 1, fabs(x));
    if (len == 0)
        buf_put(b, text, put_printed(text, sizeof text, x));
    else
        buf_put(b, x < 0 ? text : text + 1, len + (x < 0));
}

/* --- text ---------------------------------------------------------------------------------- */

void json_text_string(struct buf *b, const char *s)
{
    if (!s) {
        buf_put(b, "null", 4);
        return;
    }
    buf_put_u8(b, '"');
    for (const char *run = s;; s++) {
        unsigned char c = (unsigned char)*s;

        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        buf_put(b, run, (size_t)(s - run));
        if (c == '\0')
            break;
        if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else
            buf_printf(b, "\\u%04x", c);
        run = s + 1;
    }
    buf_put_u8(b, '"');
}

void json_text_key(struct buf *b, const char *key)
{
    if (b->len > 0 && b->data[b->len - 1] != '{')
        buf_put_u8(b, ',');
    buf_put_u8(b, '"');
    buf_put(b, key, strlen(key));
    buf_put(b, "\":", 2);
}

void json_text_key_real(struct buf *b, const char *key, double x)
{
    json_text_key(b, key);
    json_text_real(b, x);
}

void json_text_key_int(struct buf *b, const char *key, int64_t x)
{
    char text[24];

    json_text_key(b, key);
    buf_put(b, text, (size_t)snprintf(text, sizeof text, "%" PRId64, x));
}

void json_text_key_counts(struct buf *b, const char *key, const uint64_t *x, size_t n)
{
    json_text_key(b, key);
    buf_put_u8(b, '[');
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s%" PRIu64, i ? "," : "", x[i]);
    buf_put_u8(b, ']');
}

void json_text_key_string(struct buf *b, const char *key, const char *s)
{
    json_text_key(b, key);
    json_text_string(b, s);
}
