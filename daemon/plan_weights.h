/* plan_weights.h: the weights behind a plan by magnitude (global_magnitude, lamp): histograms of
 * the tensors that take part, coarse ones refined where the plan asks for it.
 *
 * plan_make() with weights that do not suffice yet answers 1, and these have a list of wants. Each
 * is looked up (plan_weights_load()) or counted anew and given (plan_weights_give()); then
 * plan_make() is called again. Four rounds at most. One thread at a time.
 */
#ifndef SPECTRALD_PLAN_WEIGHTS_H
#define SPECTRALD_PLAN_WEIGHTS_H

#include "compute/allocate_magnitude.h"
#include "daemon/metric_rows.h"

/* Bins of all tensors together: 24 bytes of memory each. */
#define PLAN_BINS_MAX 64000000

/* Lookups in one turn on the store thread: some milliseconds. */
#define PLAN_LOADS_AT_ONCE 64

struct weight_want {
    size_t row; /* of the rows */
    unsigned level;
    uint64_t prefix;
    struct digest key; /* CACHE_MAGNITUDE */
    struct buf bytes;  /* the histogram, once it is there */
};

struct plan_weights {
    size_t n_rows;
    struct row_weights *of; /* n_rows; private */
    struct weight_want *want;
    size_t n_want, cap_want;
    size_t n_loaded;  /* wants looked up so far */
    size_t n_missing; /* of these, not in the cache */
    size_t n_bins;    /* of all tensors */
};

struct plan_weights *plan_weights_new(const struct metric_rows *rows);
void plan_weights_free(struct plan_weights *w); /* NULL is fine */
DEFINE_AUTO(struct plan_weights, plan_weights_free)

/* Look some wants up, on the store thread: 1 = there are more, 0 = all were looked up. */
int plan_weights_load_some(struct plan_weights *w, struct store *st);

/* The histogram that want `i` asks for; the bytes are taken. It must be one: magnitudes_parse(). */
void plan_weights_give(struct plan_weights *w, size_t i, struct buf *bytes);

/* --- for plan_make() ------------------------------------------------------------------------- */

/* Take in what was wanted. ERR_LIMIT: too many bins; ERR_CHANGED, ERR_NOMEM. Histograms that do not
 * fit their row leave it without weights. */
int plan_weights_absorb(struct plan_weights *w, const struct metric_rows *rows, struct err *err);

/* Runs of a row, or NULL: its weights are not of a float format or not finite; or, with *wanted,
 * they are not known yet, and on the list now. */
const struct magnitude_runs *plan_weights_of(struct plan_weights *w, const struct metric_rows *rows,
                                             size_t row, bool *wanted);

/* Ask for a refinement. */
void plan_weights_want(struct plan_weights *w, const struct metric_rows *rows, size_t row,
                       unsigned level, uint64_t prefix);

#endif
