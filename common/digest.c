/* digest.c: OpenSSL EVP behind digest.h. */
#include "common/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

struct hasher {
    EVP_MD_CTX *ctx;
    const EVP_MD *algorithm;
};

static void hasher_start(struct hasher *h)
{
    ASSERT(EVP_DigestInit_ex(h->ctx, h->algorithm, NULL) == 1);
}

static struct hasher *new_with(const EVP_MD *algorithm)
{
    struct hasher *h = xmalloc(sizeof *h);

    *h = (struct hasher){EVP_MD_CTX_new(), algorithm};
    ASSERT(h->ctx != NULL);
    hasher_start(h);
    return h;
}

struct hasher *hasher_new(void)
{
    return new_with(EVP_blake2b512());
}

struct hasher *hasher_new_sha256(void)
{
    return new_with(EVP_sha256());
}

void hasher_free(struct hasher *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void hasher_add(struct hasher *h, const void *bytes, size_t len)
{
    ASSERT(EVP_DigestUpdate(h->ctx, bytes, len) == 1);
}

void hasher_add_u64(struct hasher *h, uint64_t v)
{
    uint8_t le[8];

    for (size_t i = 0; i < 8; i++)
        le[i] = (uint8_t)(v >> (8 * i));
    hasher_add(h, le, sizeof le);
}

void hasher_add_str(struct hasher *h, const char *s)
{
    size_t len = strlen(s);

    hasher_add_u64(h, len);
    hasher_add(h, s, len);
}

void hasher_finish(struct hasher *h, struct digest *out)
{
    uint8_t full[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    ASSERT(EVP_DigestFinal_ex(h->ctx, full, &len) == 1 && len >= DIGEST_LEN);
    memcpy(out->b, full, DIGEST_LEN);
    hasher_start(h);
}

void digest_hex(const struct digest *d, char out[DIGEST_HEX_LEN + 1])
{
    for (size_t i = 0; i < DIGEST_LEN; i++)
        snprintf(out + 2 * i, 3, "%02x", d->b[i]);
}

bool digest_from_hex(const char *s, struct digest *out)
{
    static const char digits[] = "0123456789abcdef";
    struct digest d;

    for (size_t i = 0; i < DIGEST_HEX_LEN; i++) {
        const char *at = s[i] ? strchr(digits, s[i]) : NULL;

        if (!at)
            return false;
        d.b[i / 2] = (uint8_t)(i % 2 ? d.b[i / 2] | (at - digits) : (at - digits) << 4);
    }
    *out = d;
    return true;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return memcmp(a->b, b->b, DIGEST_LEN) == 0;
}
