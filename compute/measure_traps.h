/* measure_traps.h: correlation traps as a measure (traps.h). Private to compute/; see measure.h.
 *
 * The weights are put into the order that randomize.h has first, from the same seed: the spectrum
 * is its first replicate's, the fit one to that spectrum alone.
 */
#ifndef SPECTRALD_MEASURE_TRAPS_H
#define SPECTRALD_MEASURE_TRAPS_H

#include "compute/measure.h"

int measure_traps(const struct measure_input *in, const struct measure_weights *w,
                  struct measure_more *more, struct measure_result *out, struct err *err);

/* What it adds to the cost of one matrix. */
void measure_traps_cost(size_t n_long, size_t n_short, struct measure_cost *c);

#endif
