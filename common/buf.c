/* buf.c: see buf.h. Integers go through shifts, so the byte order of the host does not matter. */
#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_done(struct buf *b)
{
    free(b->data);
    *b = (struct buf)BUF_INIT;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
}

static uint8_t *buf_grow(struct buf *b, size_t more)
{
    size_t need = b->len + more;

    ASSERT(need >= more);
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 256;

        while (cap < need)
            cap *= 2;
        b->data = xrealloc(b->data, cap);
        b->cap = cap;
    }
    b->len = need;
    return b->data + need - more;
}

void buf_put(struct buf *b, const void *bytes, size_t len)
{
    if (len)
        memcpy(buf_grow(b, len), bytes, len);
}

static void put_le(struct buf *b, uint64_t v, size_t nbytes)
{
    uint8_t *p = buf_grow(b, nbytes);

    for (size_t i = 0; i < nbytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    put_le(b, v, 1);
}

void buf_put_u32(struct buf *b, uint32_t v)
{
    put_le(b, v, 4);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    put_le(b, v, 8);
}

void buf_put_f64(struct buf *b, double v)
{
    uint64_t u;

    memcpy(&u, &v, sizeof u);
    put_le(b, u, 8);
}

void buf_put_str(struct buf *b, const char *s, size_t len)
{
    ASSERT(len <= UINT32_MAX);
    buf_put_u32(b, (uint32_t)len);
    buf_put(b, s, len);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    vsnprintf((char *)buf_grow(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    va_end(again);
    b->len--; /* the terminating NUL stays behind the contents */
}

void reader_init(struct reader *r, const void *bytes, size_t len)
{
    r->p = bytes;
    r->end = r->p ? r->p + len : NULL;
    r->fault = false;
}

const void *reader_bytes(struct reader *r, size_t len)
{
    const uint8_t *p = r->p;

    if (r->fault || len > (size_t)(r->end - r->p)) {
        r->fault = true;
        return NULL;
    }
    r->p += len;
    return p;
}

static uint64_t get_le(struct reader *r, size_t nbytes)
{
    const uint8_t *p = reader_bytes(r, nbytes);
    uint64_t v = 0;

    if (!p)
        return 0;
    for (size_t i = 0; i < nbytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t reader_u8(struct reader *r)
{
    return (uint8_t)get_le(r, 1);
}

uint32_t reader_u32(struct reader *r)
{
    return (uint32_t)get_le(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
    return get_le(r, 8);
}

double reader_f64(struct reader *r)
{
    uint64_t u = get_le(r, 8);
    double v;

    memcpy(&v, &u, sizeof v);
    return v;
}

const char *reader_str(struct reader *r, size_t max, size_t *len)
{
    uint32_t n = reader_u32(r);

    *len = 0;
    if (r->fault || n > max) {
        r->fault = true;
        return NULL;
    }
    const char *s = reader_bytes(r, n);
    if (s)
        *len = n;
    return s;
}

bool reader_ok(const struct reader *r)
{
    return !r->fault && r->p == r->end;
}
