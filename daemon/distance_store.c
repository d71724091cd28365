/* distance_store.c: see distance_store.h. */
#include "daemon/distance_store.h"

#include "compute/matrix_distance.h"

#include <string.h>

/* --- pairs of tensors ------------------------------------------------------------------------ */

void distance_pair_make(const struct digest *a, const struct digest *b, bool sliced,
                        struct distance_pair *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    bool turned = memcmp(a->b, b->b, DIGEST_LEN) > 0;

    hasher_add_str(h, "spectrald-distance");
    hasher_add_u64(h, MATRIX_DISTANCE_VERSION);
    hasher_add_u64(h, sliced);
    hasher_add(h, (turned ? b : a)->b, DIGEST_LEN);
    hasher_add(h, (turned ? a : b)->b, DIGEST_LEN);
    hasher_finish(h, &out->key);
    out->turned = turned;
}

int distance_find(struct store *st, const struct distance_pair *p, struct distance_result *out)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct distance_result v;
    struct reader r;

    if (store_cache_find(st, CACHE_FIT, &p->key, &b, NULL) < 0)
        return ERR_NOT_FOUND;
    reader_init(&r, b.data, b.len);
    if (!distance_result_get(&r, &v))
        return ERR_NOT_FOUND;
    *out = p->turned ? distance_result_turned(&v) : v;
    return 0;
}

int distance_put(struct store *st, const struct digest *key, const struct distance_result *v,
                 struct err *err)
{
    AUTO(buf_done) struct buf b = BUF_INIT;

    distance_result_put(&b, v);
    return store_cache_put(st, CACHE_FIT, key, b.data, b.len, err);
}

/* --- comparisons of two models --------------------------------------------------------------- */

static void key_of(const char *what, const char *id, struct digest *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, what);
    hasher_add_str(h, id);
    hasher_finish(h, out);
}

void distances_rows_key(const char *id, struct digest *out)
{
    key_of("spectrald-distances-rows", id, out);
}

int distances_put(struct store *st, const char *id, const char *summary, struct err *err)
{
    struct digest key;

    key_of("spectrald-distances", id, &key);
    return store_cache_put(st, CACHE_FIT, &key, summary, strlen(summary), err);
}

int distances_find(struct store *st, const char *id, struct buf *text, struct err *err)
{
    struct digest key;
    int r;

    key_of("spectrald-distances", id, &key);
    r = store_cache_find(st, CACHE_FIT, &key, text, err);
    if (r == ERR_NOT_FOUND)
        return err_set(err, r,
                       "no such distances; a job of kind distances makes them, and makes them anew "
                       "when the cache that held them was removed");
    if (r == 0)
        buf_put_u8(text, '\0');
    return r;
}
