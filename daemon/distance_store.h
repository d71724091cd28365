/* distance_store.h: what is remembered of distances: of every pair of tensors, by their content;
 * of every comparison of two models, under an id that follows from all it says. Store thread, but
 * for keys.
 */
#ifndef SPECTRALD_DISTANCE_STORE_H
#define SPECTRALD_DISTANCE_STORE_H

#include "daemon/distance_task.h"
#include "storage/store.h"

/* The two tensors of a pair, in the order in which they are measured: the same whichever of them
 * is asked for first, so that the numbers are the same to the last bit. */
struct distance_pair {
    struct digest key;
    bool turned; /* the second comes first */
};

/* `sliced`: the tensors are convolutions, whose slices count one by one. a and b: digests of units
 * (analyze.h). */
void distance_pair_make(const struct digest *a, const struct digest *b, bool sliced,
                        struct distance_pair *out);

/* The distance seen from the first tensor. ERR_NOT_FOUND. */
int distance_find(struct store *st, const struct distance_pair *p, struct distance_result *out);
/* `v` as it was measured, of a pair that is not turned. A store's error. */
int distance_put(struct store *st, const struct digest *key, const struct distance_result *v,
                 struct err *err);

/* --- comparisons of two models; `id`: "dst_…" --------------------------------------------------
 */

/* Where its rows are (store_rows_get()). */
void distances_rows_key(const char *id, struct digest *out);
/* Its summary: JSON text. */
int distances_put(struct store *st, const char *id, const char *summary, struct err *err);
/* ERR_NOT_FOUND, also once the cache is gone. The caller frees *text, which ends with a NUL. */
int distances_find(struct store *st, const char *id, struct buf *text, struct err *err);

#endif
