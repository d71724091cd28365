/* traps_record.h: the traps of one layer, as workers send them and the cache keeps them: behind the
 * result of MEASURE_TRAPS.
 */
#ifndef SPECTRALD_TRAPS_RECORD_H
#define SPECTRALD_TRAPS_RECORD_H

#include "common/buf.h"
#include "common/digest.h"
#include "compute/measure.h"

void traps_record_put(struct buf *b, const struct trap *t, size_t n);

/* Treats it as hostile: false when it is none, or names weights outside of rows x cols. `out`: room
 * for TRAPS_MAX. */
bool traps_record_get(struct reader *r, uint64_t rows, uint64_t cols, struct trap *out, size_t *n);

/* Where result and traps are in the cache, under CACHE_FIT: for a layer with that spectrum, scaled
 * so, measured with these options. No fit of a power law has a part in it. */
void traps_record_key(const struct digest *spectrum, double scale,
                      const struct measure_options *opt, struct digest *out);

/* The options with which an analysis of these parameters (analyze_params_text()) looks for traps.
 * False: it does not, but might have. */
bool traps_record_options(const char *params, struct measure_options *out);

#endif
