/* json_out.c: see json_out.h. */
#include "common/json_out.h"

#include "common/ident.h"

#include <string.h>

/* Length of the UTF-8 sequence at s (shortest form, no surrogates), or 0. Reads no further than
 * a terminating NUL. */
static size_t utf8_length(const uint8_t *s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80   ? 1
               : s[0] < 0xC2 ? 0
               : s[0] < 0xE0 ? 2
               : s[0] < 0xF0 ? 3
               : s[0] < 0xF5 ? 4
                             : 0;
    uint32_t c;

    if (n < 2)
        return n;
    c = s[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3F);
    }
    return c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) ? 0 : n;
}

void json_out_text(struct buf *b, const char *key, const char *text)
{
    AUTO(buf_done) struct buf clean = BUF_INIT;
    const uint8_t *s = (const uint8_t *)text;

    while (s && *s) {
        size_t n = utf8_length(s);

        if (n == 0)
            buf_put(&clean, "\xEF\xBF\xBD", 3);
        else
            buf_put(&clean, s, n);
        s += n ? n : 1;
    }
    buf_put_u8(&clean, '\0');
    json_text_key_string(b, key, text ? (const char *)clean.data : NULL);
}

void json_out_raw(struct buf *b, const char *key, const char *json)
{
    if (!json || !*json)
        json = "null";
    json_text_key(b, key);
    buf_put(b, json, strlen(json));
}

void json_out_time(struct buf *b, const char *key, int64_t ms)
{
    char text[TIME_TEXT_MAX];

    if (ms)
        time_text(ms, text);
    json_text_key_string(b, key, ms ? text : NULL);
}
