/* buf.h: a growable byte buffer, and a bounds-checked reader over bytes.
 *
 * Numbers are stored little-endian and packed. A reader that runs past its end keeps returning
 * zeros and remembers the fault, so a parser checks once, at the end, with reader_ok().
 */
#ifndef SPECTRALD_BUF_H
#define SPECTRALD_BUF_H

#include "common/base.h"

struct buf {
    uint8_t *data; /* owned */
    size_t len, cap;
};

#define BUF_INIT                                                                                   \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }

void buf_done(struct buf *b);
void buf_reset(struct buf *b); /* len = 0, memory kept */
void buf_put(struct buf *b, const void *bytes, size_t len);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_f64(struct buf *b, double v);
/* u32 length, then the bytes. */
void buf_put_str(struct buf *b, const char *s, size_t len);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

struct reader {
    const uint8_t *p, *end; /* borrowed */
    bool fault;
};

void reader_init(struct reader *r, const void *bytes, size_t len);
uint8_t reader_u8(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
double reader_f64(struct reader *r);
/* `len` raw bytes, borrowed from the input; NULL and a fault when there are fewer. */
const void *reader_bytes(struct reader *r, size_t len);
/* A string as buf_put_str wrote it, borrowed, not NUL-terminated; length in *len. A string
 * longer than `max` is a fault. */
const char *reader_str(struct reader *r, size_t max, size_t *len);
/* True when nothing was read past the end and every byte was used. */
bool reader_ok(const struct reader *r);

#endif
