/* json_text.c: see json_text.h. */
#include "common/json_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void json_text_real(struct buf *b, double x)
{
    char text[32];

    if (!isfinite(x)) {
        buf_printf(b, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    buf_printf(b, "%s", text);
}

void json_text_string(struct buf *b, const char *s)
{
    if (!s) {
        buf_printf(b, "null");
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
    buf_printf(b, "\"%s\":", key);
}

void json_text_key_real(struct buf *b, const char *key, double x)
{
    json_text_key(b, key);
    json_text_real(b, x);
}

void json_text_key_int(struct buf *b, const char *key, int64_t x)
{
    json_text_key(b, key);
    buf_printf(b, "%" PRId64, x);
}

void json_text_key_string(struct buf *b, const char *key, const char *s)
{
    json_text_key(b, key);
    json_text_string(b, s);
}
