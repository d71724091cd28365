/* measure_tail.h: measures of the fitted tail. Private to measure*.c. */
#ifndef SPECTRALD_MEASURE_TAIL_H
#define SPECTRALD_MEASURE_TAIL_H

#include "compute/measure.h"

/* Columns are NaN on entry. */
int measure_alternatives(const struct measure_input *in, struct measure_result *out,
                         struct err *err);
int measure_bootstrap(const struct measure_input *in, struct measure_result *out, struct err *err);

/* Replicates of each kind. */
size_t bootstrap_count(const struct measure_options *opt);

#endif
