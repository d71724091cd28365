/* content_digest.c: see content_digest.h. */
#include "api/content_digest.h"

#include <openssl/evp.h>
#include <string.h>

/* 32 bytes in base 64, with padding. */
#define BASE64_LEN 44

static int malformed(struct err *err)
{
    return err_set(err, ERR_INVALID,
                   "the Content-Digest header must read sha-256=:BASE64:, with the base 64 of the "
                   "body's 32-byte SHA-256");
}

static int read_digest(const char *s, size_t len, struct digest *out, struct err *err)
{
    uint8_t bytes[BASE64_LEN / 4 * 3];

    if (len != BASE64_LEN + 2 || s[0] != ':' || s[len - 1] != ':' || s[BASE64_LEN] != '=' ||
        memchr(s + 1, '=', BASE64_LEN - 1) ||
        EVP_DecodeBlock(bytes, (const uint8_t *)s + 1, BASE64_LEN) != (int)sizeof bytes)
        return malformed(err);
    memcpy(out->b, bytes, DIGEST_LEN);
    return 1;
}

int content_digest_parse(const char *value, struct digest *out, struct err *err)
{
    static const char key[] = "sha-256=";

    while (value && *value) {
        size_t len;

        value += strspn(value, ", \t");
        len = strcspn(value, ",");
        while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
            len--;
        if (len > strlen(key) && strncmp(value, key, strlen(key)) == 0)
            return read_digest(value + strlen(key), len - strlen(key), out, err);
        if (len == strlen(key) && strncmp(value, key, len) == 0)
            return malformed(err);
        value += strcspn(value, ",");
    }
    return 0;
}
