/* doc.h: a finished reply that never changes, shared by every connection that sends it.
 *
 * Counted references, without locks: a document is made on any thread, then belongs to the loop
 * thread.
 */
#ifndef SPECTRALD_DOC_H
#define SPECTRALD_DOC_H

#include "common/buf.h"

#define DOC_ETAG_MAX 72

struct doc {
    unsigned refs;
    const char *type; /* static */
    void *body;       /* owned */
    size_t len;
    bool gzip;               /* the body is encoded */
    bool changes;            /* the next answer may be another: nobody keeps it */
    char *link;              /* value of Link, or NULL; owned */
    char etag[DOC_ETAG_MAX]; /* with its quotes; differs between encodings */
};

/* A document with one reference. Takes the body and `link` (malloc'ed or NULL). Encodes the body
 * when `gzip` and it is large enough to gain from it. */
struct doc *doc_new(const char *type, struct buf *body, char *link, bool gzip);
struct doc *doc_ref(struct doc *d);
void doc_unref(struct doc *d); /* NULL is fine */

/* Bytes of memory it holds. */
size_t doc_bytes(const struct doc *d);

#endif
