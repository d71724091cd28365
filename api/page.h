/* page.h: cursors for lists (AIP-158).
 *
 * A page token is opaque: the place to go on from and a digest of the resource and its filters,
 * signed with HMAC-SHA256 and written in base64url. A token that was changed, comes from another
 * server, or is used with other filters is refused.
 */
#ifndef SPECTRALD_PAGE_H
#define SPECTRALD_PAGE_H

#include "api/query.h"
#include "common/digest.h"
#include "common/ident.h"

#define PAGE_KEY_LEN   32
#define PAGE_TOKEN_MAX 160

struct page_key {
    uint8_t b[PAGE_KEY_LEN];
};

/* The key kept in `state_dir`/token.key, created (mode 0600, whole or not at all) when missing,
 * so that tokens outlive a restart. A file of another size is replaced. */
int page_key_load(const char *state_dir, struct page_key *out, struct err *err);

/* Go on with rows older than (before_ms, before_id), or from layer `first`. */
struct page_cursor {
    int64_t before_ms;
    char before_id[IDENT_MAX];
    uint64_t first;
};

struct page {
    struct page_key key;
    struct digest scope; /* of the resource and its filters */
    size_t size;
    struct page_cursor from; /* all zeros = the first page */
};

/* Read page_size (absent or 0 = `missing`, coerced to `max`) and page_token. ERR_INVALID naming
 * page_token when it is not one of ours for this scope. */
int page_read(struct query *q, const struct page_key *key, const struct digest *scope,
              size_t missing, size_t max, struct page *out, struct err *err);

/* The token of the page that starts at `next`. */
void page_token(const struct page *p, const struct page_cursor *next, char out[PAGE_TOKEN_MAX]);

#endif
