/* page.c: page tokens. The payload is signed, not encrypted: it tells nothing the list did not. */
#include "api/page.h"

#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define TOKEN_VERSION 1
#define MAC_LEN       32
/* version, before_ms, before_id, first, signature */
#define TOKEN_LEN (1 + 8 + IDENT_MAX + 8 + MAC_LEN)

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* --- the key ------------------------------------------------------------------------------- */

/* 1 = read, 0 = missing or not a key. */
static int key_read(const char *path, struct page_key *out, struct err *err)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint8_t bytes[PAGE_KEY_LEN + 1];
    ssize_t n;

    if (fd < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, errno, "cannot open %s", path);
    n = read(fd, bytes, sizeof bytes);
    if (n < 0)
        return err_set_errno(err, errno, "cannot read %s", path);
    if (n != PAGE_KEY_LEN)
        return 0;
    memcpy(out->b, bytes, PAGE_KEY_LEN);
    return 1;
}

static int key_write(const char *path, const struct page_key *key, struct err *err)
{
    AUTO(freep) char *tmp = xasprintf("%s.new", path);
    AUTO(fd_close) int fd = -1;
    int r;

    (void)unlink(tmp); /* left by a crash */
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot create %s", tmp);
    r = fd_write_all(fd, key->b, PAGE_KEY_LEN, err);
    if (r < 0)
        return r;
    if (fsync(fd) < 0 || rename(tmp, path) < 0)
        return err_set_errno(err, errno, "cannot write %s", path);
    return 0;
}

int page_key_load(const char *state_dir, struct page_key *out, struct err *err)
{
    AUTO(freep) char *path = xasprintf("%s/token.key", state_dir);
    struct page_key key;
    int r = key_read(path, &key, err);

    if (r == 0) {
        ASSERT(getrandom(key.b, PAGE_KEY_LEN, 0) == PAGE_KEY_LEN);
        r = key_write(path, &key, err);
    }
    if (r < 0)
        return r;
    *out = key;
    return 0;
}

/* --- base64url without padding ---------------------------------------------------------------- */

static void base64_write(const uint8_t *b, size_t len, char *out)
{
    uint32_t acc = 0;
    unsigned bits = 0;

    for (size_t i = 0; i < len; i++) {
        acc = acc << 8 | b[i];
        for (bits += 8; bits >= 6; bits -= 6)
            *out++ = digits[acc >> (bits - 6) & 63];
    }
    if (bits)
        *out++ = digits[acc << (6 - bits) & 63];
    *out = '\0';
}

/* Only the one spelling of exactly `len` bytes is accepted: left-over bits must be zero. */
static bool base64_read(const char *s, uint8_t *out, size_t len)
{
    uint32_t acc = 0;
    unsigned bits = 0;
    size_t n = 0;

    for (; *s; s++) {
        const char *d = strchr(digits, *s);

        if (!d)
            return false;
        acc = acc << 6 | (uint32_t)(d - digits);
        bits += 6;
        if (bits < 8)
            continue;
        bits -= 8;
        if (n == len)
            return false;
        out[n++] = (uint8_t)(acc >> bits);
    }
    return n == len && bits < 6 && (acc & ((1u << bits) - 1)) == 0;
}

/* --- tokens ---------------------------------------------------------------------------------- */

static void sign(const struct page *p, const uint8_t *payload, size_t len, uint8_t mac[MAC_LEN])
{
    uint8_t text[DIGEST_LEN + TOKEN_LEN];
    unsigned n = MAC_LEN;

    memcpy(text, p->scope.b, DIGEST_LEN);
    memcpy(text + DIGEST_LEN, payload, len);
    ASSERT(HMAC(EVP_sha256(), p->key.b, PAGE_KEY_LEN, text, DIGEST_LEN + len, mac, &n) != NULL);
}

void page_token(const struct page *p, const struct page_cursor *next, char out[PAGE_TOKEN_MAX])
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    uint8_t mac[MAC_LEN];

    buf_put_u8(&b, TOKEN_VERSION);
    buf_put_u64(&b, (uint64_t)next->before_ms);
    buf_put(&b, next->before_id, IDENT_MAX);
    buf_put_u64(&b, next->first);
    sign(p, b.data, b.len, mac);
    buf_put(&b, mac, MAC_LEN);
    ASSERT(b.len == TOKEN_LEN);
    base64_write(b.data, b.len, out);
}

static bool token_read(const struct page *p, const char *token, struct page_cursor *out)
{
    uint8_t bytes[TOKEN_LEN], mac[MAC_LEN];
    struct reader r;

    if (!base64_read(token, bytes, TOKEN_LEN))
        return false;
    sign(p, bytes, TOKEN_LEN - MAC_LEN, mac);
    if (CRYPTO_memcmp(mac, bytes + TOKEN_LEN - MAC_LEN, MAC_LEN) != 0)
        return false;
    reader_init(&r, bytes, TOKEN_LEN - MAC_LEN);
    if (reader_u8(&r) != TOKEN_VERSION)
        return false;
    out->before_ms = (int64_t)reader_u64(&r);
    memcpy(out->before_id, reader_bytes(&r, IDENT_MAX), IDENT_MAX);
    out->first = reader_u64(&r);
    return reader_ok(&r) && memchr(out->before_id, 0, IDENT_MAX) != NULL;
}

int page_read(struct query *q, const struct page_key *key, const struct digest *scope,
              size_t missing, size_t max, struct page *out, struct err *err)
{
    struct page p = {.key = *key, .scope = *scope};
    const char *token;
    uint64_t size;
    int r = query_size(q, "page_size", missing, max, &size, err);

    if (r < 0)
        return r;
    p.size = size ? (size_t)size : missing;
    r = query_text(q, "page_token", PAGE_TOKEN_MAX, &token, err);
    if (r < 0)
        return r;
    if (token && *token && !token_read(&p, token, &p.from))
        return err_set_at(err, ERR_INVALID, "?page_token",
                          "query parameter page_token: not a token of this list and these filters");
    *out = p;
    return 0;
}
