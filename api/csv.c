/* csv.c: see csv.h. */
#include "api/csv.h"

#include <string.h>

void csv_comma(struct buf *out)
{
    buf_put_u8(out, ',');
}

void csv_end(struct buf *out)
{
    buf_put(out, "\r\n", 2);
}

static bool needs_quotes(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] == ',' || s[i] == '"' || s[i] == '\r' || s[i] == '\n')
            return true;
    return len > 0 && (s[0] == ' ' || s[len - 1] == ' ');
}

void csv_text(struct buf *out, const char *s, size_t len)
{
    if (!needs_quotes(s, len)) {
        buf_put(out, s, len);
        return;
    }
    buf_put_u8(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '"')
            buf_put_u8(out, '"');
        buf_put_u8(out, (uint8_t)s[i]);
    }
    buf_put_u8(out, '"');
}

/* "[64,32]" and ["a","b"] without brackets and quotes, with semicolons. */
static void put_array(struct buf *out, const struct row_member *m)
{
    AUTO(buf_done) struct buf list = BUF_INIT;
    bool quoted = false;

    for (size_t i = 1; i + 1 < m->len; i++) {
        char c = m->value[i];

        if (c == '"')
            quoted = !quoted;
        else
            buf_put_u8(&list, (uint8_t)(c == ',' && !quoted ? ';' : c));
    }
    csv_text(out, (const char *)list.data, list.len);
}

void csv_value(struct buf *out, const struct row_member *m)
{
    AUTO(buf_done) struct buf plain = BUF_INIT;

    if (!m || (m->len == 4 && memcmp(m->value, "null", 4) == 0))
        return;
    if (*m->value == '[')
        put_array(out, m);
    else if (row_text_plain(m, &plain))
        csv_text(out, (const char *)plain.data, plain.len);
    else
        csv_text(out, m->value, m->len);
}
