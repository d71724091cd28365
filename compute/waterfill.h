/* waterfill.h: one number for which lines, cut off at limits, have a given weighted sum. */
#ifndef SPECTRALD_WATERFILL_H
#define SPECTRALD_WATERFILL_H

#include "common/err.h"

/* What rounding may do to a sum: a target so little outside of its range is on its border. */
#define WATERFILL_SLACK 1e-12

struct waterfill {
    double weight;    /* d > 0 */
    double a, b;      /* value at t: a + b t, b >= 0 */
    double low, high; /* limits of the value */
};

/* Values out[n] with sum d out = target sum d, and the t that gives them. Items with b = 0 keep
 * their a (within limits) unless the others cannot meet the target alone; then they move by a
 * common amount. ERR_LIMIT when no values within the limits meet it; ERR_NOMEM. Exact up to the
 * rounding of one sum. */
int waterfill(const struct waterfill *item, size_t n, double target, double *out, double *t,
              struct err *err);

/* The targets that can be met. */
void waterfill_range(const struct waterfill *item, size_t n, double *least, double *most);

#endif
