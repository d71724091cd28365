/* json_scan.c: see json_scan.h. */
#include "models/json_scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void json_scan_init(struct json_scan *s, const char *text, size_t len, struct err *err)
{
    *s = (struct json_scan){.start = text, .p = text, .end = text + len, .err = err};
}

void json_scan_done(struct json_scan *s)
{
    buf_done(&s->text);
}

int json_scan_fail(struct json_scan *s, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX - 64];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(s->err, ERR_FORMAT, "%s (at byte %zu of the header)", text,
                   (size_t)(s->p - s->start));
}

char json_scan_peek(struct json_scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
    return s->p < s->end ? *s->p : '\0';
}

int json_scan_expect(struct json_scan *s, char c, const char *what)
{
    if (json_scan_peek(s) != c || s->p == s->end)
        return json_scan_fail(s, "the header is not valid JSON: expected %s", what);
    s->p++;
    return 0;
}

/* --- strings ------------------------------------------------------------------------------- */

static int hex4(struct json_scan *s, unsigned *out)
{
    unsigned v = 0;

    if (s->end - s->p < 4)
        return json_scan_fail(s, "a string ends inside an escape");
    for (int i = 0; i < 4; i++) {
        char c = *s->p++;
        unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                            : 16;

        if (d == 16)
            return json_scan_fail(s, "a \\u escape has no four hexadecimal digits");
        v = v << 4 | d;
    }
    *out = v;
    return 0;
}

static void put_utf8(struct buf *b, unsigned c)
{
    if (c < 0x80) {
        buf_put_u8(b, (uint8_t)c);
    } else if (c < 0x800) {
        buf_put_u8(b, (uint8_t)(0xc0 | c >> 6));
        buf_put_u8(b, (uint8_t)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_put_u8(b, (uint8_t)(0xe0 | c >> 12));
        buf_put_u8(b, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_put_u8(b, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        buf_put_u8(b, (uint8_t)(0xf0 | c >> 18));
        buf_put_u8(b, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        buf_put_u8(b, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_put_u8(b, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

static int unicode_escape(struct json_scan *s)
{
    unsigned c, low;
    int r = hex4(s, &c);

    if (r < 0)
        return r;
    if (c == 0)
        return json_scan_fail(s, "a string holds a NUL character");
    if (c >= 0xdc00 && c < 0xe000)
        return json_scan_fail(s, "a string holds a lone surrogate");
    if (c >= 0xd800 && c < 0xdc00) {
        if (s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u')
            return json_scan_fail(s, "a string holds a lone surrogate");
        s->p += 2;
        r = hex4(s, &low);
        if (r < 0)
            return r;
        if (low < 0xdc00 || low >= 0xe000)
            return json_scan_fail(s, "a string holds a lone surrogate");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(&s->text, c);
    return 0;
}

static int escape(struct json_scan *s)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at;

    if (s->p == s->end)
        return json_scan_fail(s, "a string does not end");
    if (*s->p == 'u') {
        s->p++;
        return unicode_escape(s);
    }
    at = *s->p ? strchr(from, *s->p) : NULL;
    if (!at)
        return json_scan_fail(s, "a string holds an unknown escape");
    s->p++;
    buf_put_u8(&s->text, (uint8_t)to[at - from]);
    return 0;
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629), 0 if there is none. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (n == 0 || p[0] > 0xf4 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

int json_scan_string(struct json_scan *s)
{
    int r = json_scan_expect(s, '"', "a string");

    buf_reset(&s->text);
    while (r == 0) {
        size_t n;

        if (s->p == s->end)
            return json_scan_fail(s, "a string does not end");
        if (*s->p == '"')
            break;
        if (*s->p == '\\') {
            s->p++;
            r = escape(s);
            continue;
        }
        if ((unsigned char)*s->p < 0x20)
            return json_scan_fail(s, "a string holds a raw control character");
        n = utf8_sequence((const uint8_t *)s->p, (size_t)(s->end - s->p));
        if (n == 0)
            return json_scan_fail(s, "the header is not valid UTF-8");
        buf_put(&s->text, s->p, n);
        s->p += n;
    }
    if (r < 0)
        return r;
    s->p++;
    buf_put_u8(&s->text, 0);
    s->text.len--;
    return 0;
}

/* --- numbers, values ----------------------------------------------------------------------- */

int json_scan_u64(struct json_scan *s, const char *what, uint64_t *out)
{
    uint64_t v = 0;
    char c = json_scan_peek(s);

    if (c == '-')
        return json_scan_fail(s, "%s is negative", what);
    if (c < '0' || c > '9')
        return json_scan_fail(s, "%s is not a number", what);
    if (c == '0' && s->end - s->p > 1 && s->p[1] >= '0' && s->p[1] <= '9')
        return json_scan_fail(s, "%s has a leading zero", what);
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s->p - '0'), &v))
            return json_scan_fail(s, "%s does not fit into 64 bits", what);
        s->p++;
    }
    if (s->p < s->end && (*s->p == '.' || *s->p == 'e' || *s->p == 'E'))
        return json_scan_fail(s, "%s is not written as a plain integer", what);
    *out = v;
    return 0;
}

int json_scan_more(struct json_scan *s, char close)
{
    char c = json_scan_peek(s);

    if (c == ',') {
        s->p++;
        return 1;
    }
    if (c == close && s->p < s->end) {
        s->p++;
        return 0;
    }
    return json_scan_fail(s, "the header is not valid JSON: expected ',' or '%c'", close);
}

static int skip_word(struct json_scan *s)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        size_t n = strlen(words[i]);

        if ((size_t)(s->end - s->p) >= n && memcmp(s->p, words[i], n) == 0) {
            s->p += n;
            return 0;
        }
    }
    return json_scan_fail(s, "the header is not valid JSON: expected a value");
}

static int skip_number(struct json_scan *s)
{
    const char *start = s->p;

    while (s->p < s->end && *s->p && strchr("+-.eE0123456789", *s->p))
        s->p++;
    return s->p > start ? 0 : skip_word(s);
}

static int skip_at(struct json_scan *s, unsigned depth)
{
    char c = json_scan_peek(s), close = c == '{' ? '}' : ']';
    int r;

    if (c == '"')
        return json_scan_string(s);
    if (c != '{' && c != '[')
        return skip_number(s);
    if (depth == JSON_SCAN_DEPTH_MAX)
        return json_scan_fail(s, "the header is nested more than %d deep", JSON_SCAN_DEPTH_MAX);
    s->p++;
    if (json_scan_peek(s) == close) {
        s->p++;
        return 0;
    }
    do {
        r = close == '}' ? json_scan_string(s) : 0;
        if (r == 0 && close == '}')
            r = json_scan_expect(s, ':', "':'");
        if (r == 0)
            r = skip_at(s, depth + 1);
        if (r == 0)
            r = json_scan_more(s, close);
    } while (r == 1);
    return r;
}

int json_scan_skip(struct json_scan *s)
{
    return skip_at(s, 0);
}
