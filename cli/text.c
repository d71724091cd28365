/* text.c: see text.h. */
#include "cli/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "common/buf.h"

#define CUT       ".."
#define CUT_WIDTH 2

/* Shortest legal code point of a sequence of that many bytes: anything smaller is overlong. */
static const uint32_t least_of_length[] = {0, 0, 0x80, 0x800, 0x10000};

/* Decode one code point at s[0…]; returns the bytes used. Malformed input gives -1 and one byte. */
static size_t decode(const char *s, int32_t *out)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t len = u[0] < 0x80 ? 1 : u[0] < 0xC2 ? 0 : u[0] < 0xE0 ? 2 : u[0] < 0xF0 ? 3 : 4;
    uint32_t cp = len == 1 ? u[0] : u[0] & (0x7FU >> len);

    *out = -1;
    if (len == 0 || u[0] > 0xF4)
        return 1;
    for (size_t i = 1; i < len; i++) {
        if ((u[i] & 0xC0) != 0x80) /* also stops at the terminating NUL */
            return 1;
        cp = cp << 6 | (u[i] & 0x3F);
    }
    if (cp < least_of_length[len] || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000))
        return 1;
    *out = (int32_t)cp;
    return len;
}

static bool dangerous(int32_t cp)
{
    return cp < 0x20 || (cp >= 0x7F && cp < 0xA0) || /* C0, DEL, C1 */
           (cp >= 0x200B && cp <= 0x200F) ||         /* zero width, direction marks */
           (cp >= 0x2028 && cp <= 0x202E) ||         /* line separators, overrides */
           (cp >= 0x2060 && cp <= 0x206F) || cp == 0xFEFF;
}

char *text_clean(const char *s)
{
    struct buf b = BUF_INIT;

    while (*s) {
        int32_t cp;
        size_t len = decode(s, &cp);

        if (dangerous(cp))
            buf_put_u8(&b, '?');
        else
            buf_put(&b, s, len);
        s += len;
    }
    buf_put_u8(&b, 0);
    return (char *)b.data;
}

static size_t width_at(const char *s, size_t *len)
{
    int32_t cp;
    int w;

    *len = decode(s, &cp);
    w = wcwidth((wchar_t)cp);
    return w < 0 ? 1 : (size_t)w;
}

size_t text_width(const char *s)
{
    size_t width = 0;

    for (size_t len; *s; s += len)
        width += width_at(s, &len);
    return width;
}

/* Bytes of the longest prefix of `s` with at most `width` columns. */
static size_t prefix_bytes(const char *s, size_t width)
{
    size_t used = 0;

    for (size_t len; s[used]; used += len) {
        size_t w = width_at(s + used, &len);

        if (w > width)
            break;
        width -= w;
    }
    return used;
}

char *text_shorten(const char *s, size_t width)
{
    size_t full = text_width(s);
    size_t head, tail, skip, len;

    if (full <= width)
        return xstrdup(s);
    if (width <= CUT_WIDTH)
        return xasprintf("%.*s", (int)width, CUT);
    head = (width - CUT_WIDTH) / 2;
    tail = width - CUT_WIDTH - head;
    /* Drop columns from the front until the rest fits: a wide character may overshoot. */
    for (skip = 0; full > tail; skip += len)
        full -= width_at(s + skip, &len);
    return xasprintf("%.*s%s%s", (int)prefix_bytes(s, head), s, CUT, s + skip);
}

void text_seconds(double seconds, char out[TEXT_SECONDS_MAX])
{
    long s;

    if (!isfinite(seconds) || seconds < 0 || seconds > 1e9) {
        (void)snprintf(out, TEXT_SECONDS_MAX, "?");
        return;
    }
    if (seconds < 9.95) {
        (void)snprintf(out, TEXT_SECONDS_MAX, "%.1f s", seconds);
        return;
    }
    s = lround(seconds);
    if (s < 60)
        (void)snprintf(out, TEXT_SECONDS_MAX, "%ld s", s);
    else if (s < 3600)
        (void)snprintf(out, TEXT_SECONDS_MAX, "%ld:%02ld", s / 60, s % 60);
    else
        (void)snprintf(out, TEXT_SECONDS_MAX, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}
