/* doc_cache.h: finished replies in memory, by what was asked for; the one longest unused goes
 * first. Loop thread only.
 *
 * Only what can never change is kept, so nothing has to be taken out again.
 */
#ifndef SPECTRALD_DOC_CACHE_H
#define SPECTRALD_DOC_CACHE_H

#include "api/doc.h"

struct doc_cache;
struct metrics;

/* A cache of at most `limit` bytes, keys and bookkeeping included; 0 keeps nothing. Registers its
 * metrics in `m`. */
struct doc_cache *doc_cache_new(size_t limit, struct metrics *m);
void doc_cache_free(struct doc_cache *c);

/* Borrowed until the next call, or NULL. Counts a hit or a miss. */
struct doc *doc_cache_find(struct doc_cache *c, const char *key);

/* The same without counting: to look once more. */
struct doc *doc_cache_known(struct doc_cache *c, const char *key);

/* Keep `d` (with a reference of its own) under `key`, in the place of what was there. Documents
 * of more than a quarter of the limit are not kept: one of them would push out all others. */
void doc_cache_put(struct doc_cache *c, const char *key, struct doc *d);

#endif
