/* blake2b.h: BLAKE2b (RFC 7693) without a key, for processors where it can be had faster than
 * OpenSSL's, which is plain C. digest.h is what others use.
 */
#ifndef SPECTRALD_BLAKE2B_H
#define SPECTRALD_BLAKE2B_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLAKE2B_BLOCK 128
#define BLAKE2B_LEN   64

struct blake2b {
    uint64_t h[8];
    uint64_t total; /* bytes that were compressed */
    size_t held;    /* bytes in `block` */
    uint8_t block[BLAKE2B_BLOCK];
};

/* Whether the functions below work on this processor: it has AVX-512. */
bool blake2b_available(void);

void blake2b_init(struct blake2b *s);
void blake2b_add(struct blake2b *s, const void *bytes, size_t len); /* < 2^64 bytes in all */
void blake2b_finish(struct blake2b *s, uint8_t out[BLAKE2B_LEN]);

#endif
