/* trim_walk.h: what is left of each row's output without any number of its weights. Private to
 * compute/trim.c.
 *
 * Every row remembers where it is: how many weights it lacks, and its output then. Going elsewhere
 * costs as many columns as lie between. TRIM's search moves a row by a few percent of its weights
 * in all, so this is much less than a table of all counts, in time and in memory.
 */
#ifndef SPECTRALD_TRIM_WALK_H
#define SPECTRALD_TRIM_WALK_H

#include "compute/trim.h"

struct trim_walk;

/* All rows without their first `start` weights. `in` is borrowed. ERR_NOMEM, or what in->read
 * returns. */
int trim_walk_new(const struct trim_input *in, size_t start, struct trim_walk **out,
                  struct err *err);
void trim_walk_free(struct trim_walk *t);
DEFINE_AUTO(struct trim_walk, trim_walk_free)

/* |y|^2 of a row, and the largest y^2 (0 with a Gram matrix). */
double trim_walk_power(const struct trim_walk *t, size_t row);
double trim_walk_peak(const struct trim_walk *t, size_t row);

/* y.y~ and |y~|^2 of a row without its first k weights in order. */
void trim_walk_to(struct trim_walk *t, size_t row, size_t k, double *b, double *c);

/* 0, or the first error that in->read returned on the way: then the numbers are of no use. */
int trim_walk_failed(const struct trim_walk *t, struct err *err);

#endif
