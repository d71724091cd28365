/* doc.c: see doc.h. */
#include "api/doc.h"

#include "api/gzip.h"
#include "common/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tag names the content, so it is the same after a restart and on every server. */
static void make_etag(struct doc *d, const struct buf *plain)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    struct digest digest;
    char hex[DIGEST_HEX_LEN + 1];

    hasher_add(h, plain->data, plain->len);
    hasher_finish(h, &digest);
    digest_hex(&digest, hex);
    snprintf(d->etag, sizeof d->etag, "\"%.32s%s\"", hex, d->gzip ? "-gz" : "");
}

/* Numbers in binary do not compress. */
static bool compressible(const char *type)
{
    return strncmp(type, "application/x-npy", 17) != 0;
}

struct doc *doc_new(const char *type, struct buf *body, char *link, bool gzip)
{
    struct doc *d = xcalloc(1, sizeof *d);
    struct buf small = BUF_INIT;

    *d = (struct doc){.refs = 1, .type = type, .link = link};
    d->gzip =
        gzip && compressible(type) && body->len >= GZIP_MIN &&
        gzip_bytes(body->data, body->len, body->len < GZIP_LARGE ? GZIP_KEPT : GZIP_ONCE, &small);
    make_etag(d, body);
    if (d->gzip)
        buf_done(body);
    else
        small = *body;
    d->len = small.len;
    /* It may be kept for long: without the room for growth. */
    d->body = small.len ? xrealloc(small.data, small.len) : small.data;
    *body = (struct buf)BUF_INIT;
    return d;
}

struct doc *doc_ref(struct doc *d)
{
    d->refs++;
    return d;
}

void doc_unref(struct doc *d)
{
    if (!d || --d->refs > 0)
        return;
    free(d->body);
    free(d->link);
    free(d);
}

size_t doc_bytes(const struct doc *d)
{
    return sizeof *d + d->len + (d->link ? strlen(d->link) : 0);
}
