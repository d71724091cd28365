/* digest.h: content digests.
 *
 * BLAKE2b-512 (RFC 7693, by OpenSSL) truncated to 256 bits: on processors without SHA
 * instructions it hashes 1.7 times as fast as SHA-256, and a checkpoint is hashed whole.
 */
#ifndef SPECTRALD_DIGEST_H
#define SPECTRALD_DIGEST_H

#include "common/err.h"

#define DIGEST_LEN     32
#define DIGEST_HEX_LEN 64

struct digest {
    uint8_t b[DIGEST_LEN];
};

struct hasher; /* an incremental digest */

/* Start a digest; aborts when OpenSSL cannot provide one. Free with hasher_free(). */
struct hasher *hasher_new(void);
/* The same with SHA-256: for digests that clients compute as well. */
struct hasher *hasher_new_sha256(void);
void hasher_free(struct hasher *h);
DEFINE_AUTO(struct hasher, hasher_free)
void hasher_add(struct hasher *h, const void *bytes, size_t len);
void hasher_add_u64(struct hasher *h, uint64_t v);
/* Length-prefixed, so that neighbouring strings cannot run into each other. */
void hasher_add_str(struct hasher *h, const char *s);
/* Write the digest and make the hasher ready for another. */
void hasher_finish(struct hasher *h, struct digest *out);

/* 64 lower-case hex digits and a NUL. */
void digest_hex(const struct digest *d, char out[DIGEST_HEX_LEN + 1]);
/* Read the 64 lower-case hex digits that `s` begins with; false when there are fewer. */
bool digest_from_hex(const char *s, struct digest *out);
bool digest_equal(const struct digest *a, const struct digest *b);

#endif
