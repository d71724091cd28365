/* row_text.c: see row_text.h. */
#include "daemon/row_text.h"

#include "common/json_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- splitting ---------------------------------------------------------------------------------
 */

/* Past the string that starts at s, or NULL. */
static const char *skip_string(const char *s)
{
    for (s++; *s && *s != '"'; s++)
        if (*s == '\\' && !*++s)
            return NULL;
    return *s ? s + 1 : NULL;
}

/* Past the value that starts at s: up to the comma or brace that ends it, or NULL. */
static const char *skip_value(const char *s)
{
    unsigned depth = 0;

    for (;;) {
        if (*s == '"') {
            s = skip_string(s);
            if (!s)
                return NULL;
            continue;
        }
        if (!*s)
            return NULL;
        if (depth == 0 && (*s == ',' || *s == '}'))
            return s;
        if (*s == '[' || *s == '{')
            depth++;
        else if (*s == ']' || *s == '}')
            depth--;
        s++;
    }
}

bool row_text_parse(const char *json, struct row_text *out)
{
    const char *s = json;

    out->count = 0;
    if (*s != '{' || s[1] != '"')
        return false;
    while (*s == '{' || *s == ',') {
        struct row_member *m = &out->member[out->count];
        const char *name = ++s;

        if (*s != '"' || out->count == ROW_MEMBERS_MAX || !(s = skip_string(s)) || *s != ':')
            return false;
        m->name = name + 1;
        m->name_len = (size_t)(s - name) - 2;
        m->value = ++s;
        s = skip_value(s);
        if (!s || s == m->value)
            return false;
        m->len = (size_t)(s - m->value);
        out->count++;
    }
    return *s == '}' && s[1] == '\0';
}

static bool is_named(const struct row_member *m, const char *name, size_t len)
{
    return m->name_len == len && memcmp(m->name, name, len) == 0;
}

const struct row_member *row_text_find(const struct row_text *r, const char *name, size_t hint)
{
    size_t len = strlen(name);

    if (hint < r->count && is_named(&r->member[hint], name, len))
        return &r->member[hint];
    for (size_t i = 0; i < r->count; i++)
        if (is_named(&r->member[i], name, len))
            return &r->member[i];
    return NULL;
}

/* --- one member --------------------------------------------------------------------------------
 *
 * In a flat object without blanks, a comma and a quote that are followed by a name, a quote and a
 * colon are that member wherever they are found: inside a string, the quote after the comma would
 * be written with a backslash; the quote that ends a string is followed by a comma, a bracket or a
 * colon, not by a name; and no array element is followed by a colon.
 */

void row_text_needle(const char *name, const char *value, struct buf *out)
{
    buf_printf(out, ",\"%s\":", name);
    if (value)
        json_text_string(out, value);
}

bool row_text_holds(const char *json, size_t len, const struct buf *needle)
{
    return memmem(json, len, needle->data, needle->len) != NULL;
}

double row_text_real(const struct row_text *r, const char *name)
{
    const struct row_member *m = row_text_find(r, name, 0);

    return m && m->len > 0 && *m->value != 'n' && *m->value != '"' ? strtod(m->value, NULL) : NAN;
}

const char *row_text_number(const char *json, size_t len, const struct buf *needle, size_t *n)
{
    const char *at = memmem(json, len, needle->data, needle->len);

    if (!at)
        return NULL;
    at += needle->len;
    *n = strspn(at, "-+.eE0123456789");
    return *n ? at : NULL;
}

/* --- strings -----------------------------------------------------------------------------------
 */

static unsigned hex4(const char *s)
{
    unsigned v = 0;

    for (int i = 0; i < 4; i++) {
        unsigned c = (unsigned char)s[i];

        v = v << 4 | ((c & 0x0f) + (c >= 'A' ? 9 : 0));
    }
    return v;
}

static void put_utf8(struct buf *out, unsigned c)
{
    if (c < 0x80) {
        buf_put_u8(out, (uint8_t)c);
    } else if (c < 0x800) {
        buf_put_u8(out, (uint8_t)(0xc0 | c >> 6));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        buf_put_u8(out, (uint8_t)(0xe0 | c >> 12));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

/* One escape, after its backslash; returns how many bytes it takes. Only control characters are
 * ever written as \u, so surrogates do not occur. */
static size_t put_escape(struct buf *out, const char *s, size_t left)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *known = memchr(from, *s, sizeof from - 1);

    if (*s == 'u' && left >= 5) {
        put_utf8(out, hex4(s + 1));
        return 5;
    }
    buf_put_u8(out, (uint8_t)(known ? to[known - from] : *s));
    return 1;
}

bool row_text_plain(const struct row_member *m, struct buf *out)
{
    const char *s = m->value + 1, *end = m->value + m->len - 1;

    if (m->len < 2 || *m->value != '"')
        return false;
    while (s < end) {
        const char *escape = memchr(s, '\\', (size_t)(end - s));
        const char *stop = escape ? escape : end;

        buf_put(out, s, (size_t)(stop - s));
        s = stop;
        if (escape && s + 1 < end)
            s += 1 + put_escape(out, s + 1, (size_t)(end - s - 1));
    }
    return true;
}

bool row_text_matches(const struct row_member *m, const char *text, bool contains)
{
    AUTO(buf_done) struct buf plain = BUF_INIT;
    size_t len = strlen(text);

    if (!row_text_plain(m, &plain))
        return false;
    if (contains)
        return len == 0 || (plain.len >= len && memmem(plain.data, plain.len, text, len));
    return plain.len == len && (len == 0 || memcmp(plain.data, text, len) == 0);
}
