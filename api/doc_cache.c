/* doc_cache.c: a hash table with chains, and a list in order of last use. */
#include "api/doc_cache.h"

#include "daemon/metrics.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096 /* a power of two; some thousand documents fit the default limit */
#define SHARE   4    /* one document takes at most 1/SHARE of the limit */

struct entry {
    struct entry *chain;         /* of the bucket */
    struct entry *newer, *older; /* by last use */
    struct doc *doc;
    size_t nbytes;
    uint64_t hash;
    char key[];
};

struct doc_cache {
    size_t limit, nbytes;
    struct entry *newest, *oldest;
    struct entry *bucket[BUCKETS];
    struct metric *m_hits, *m_misses, *m_bytes;
};

struct doc_cache *doc_cache_new(size_t limit, struct metrics *m)
{
    struct doc_cache *c = xcalloc(1, sizeof *c);

    c->limit = limit;
    c->m_hits = metrics_add(m, METRIC_COUNTER, "spectrald_reply_cache_hits_total", "",
                            "Replies served from finished bytes in memory");
    c->m_misses = metrics_add(m, METRIC_COUNTER, "spectrald_reply_cache_misses_total", "",
                              "Immutable replies that had to be made first");
    c->m_bytes = metrics_add(m, METRIC_GAUGE, "spectrald_reply_cache_bytes", "",
                             "Memory of the finished replies");
    metric_set(c->m_hits, "", 0);
    metric_set(c->m_misses, "", 0);
    metric_set(c->m_bytes, "", 0);
    return c;
}

/* FNV-1a. A client that aims at one bucket makes its own requests slow: the chain is as long as
 * what it has put there, and old entries go. */
static uint64_t hash_of(const char *key)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *key; key++)
        h = (h ^ (unsigned char)*key) * 0x100000001b3u;
    return h;
}

static struct entry **slot_of(struct doc_cache *c, const char *key, uint64_t hash)
{
    struct entry **p = &c->bucket[hash & (BUCKETS - 1)];

    while (*p && ((*p)->hash != hash || strcmp((*p)->key, key) != 0))
        p = &(*p)->chain;
    return p;
}

static void unlink_use(struct doc_cache *c, struct entry *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void link_newest(struct doc_cache *c, struct entry *e)
{
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void drop(struct doc_cache *c, struct entry *e)
{
    struct entry **p = slot_of(c, e->key, e->hash);

    *p = e->chain;
    unlink_use(c, e);
    c->nbytes -= e->nbytes;
    doc_unref(e->doc);
    free(e);
}

void doc_cache_free(struct doc_cache *c)
{
    if (!c)
        return;
    while (c->oldest)
        drop(c, c->oldest);
    free(c);
}

struct doc *doc_cache_find(struct doc_cache *c, const char *key)
{
    struct doc *d = doc_cache_known(c, key);

    metric_inc(d ? c->m_hits : c->m_misses, "", 1);
    return d;
}

struct doc *doc_cache_known(struct doc_cache *c, const char *key)
{
    struct entry *e = *slot_of(c, key, hash_of(key));

    if (!e)
        return NULL;
    if (e != c->newest) {
        unlink_use(c, e);
        link_newest(c, e);
    }
    return e->doc;
}

void doc_cache_put(struct doc_cache *c, const char *key, struct doc *d)
{
    size_t len = strlen(key) + 1;
    size_t nbytes = sizeof(struct entry) + len + doc_bytes(d);
    uint64_t hash = hash_of(key);
    struct entry **p = slot_of(c, key, hash);
    struct entry *e;

    if (nbytes > c->limit / SHARE)
        return;
    if (*p)
        drop(c, *p);
    while (c->nbytes + nbytes > c->limit)
        drop(c, c->oldest);
    e = xmalloc(sizeof *e + len);
    p = &c->bucket[hash & (BUCKETS - 1)];
    *e = (struct entry){.chain = *p, .doc = doc_ref(d), .nbytes = nbytes, .hash = hash};
    memcpy(e->key, key, len);
    *p = e;
    link_newest(c, e);
    c->nbytes += nbytes;
    metric_set(c->m_bytes, "", (double)c->nbytes);
}
