/* lowest.h: which of a list of numbers are the lowest.
 */
#ifndef SPECTRALD_LOWEST_H
#define SPECTRALD_LOWEST_H

#include "common/err.h"

/* keep[i] = 0 for the `k` lowest of score[n], of equal ones those that come first, and 1 for the
 * others. ERR_NUMERIC: a score is NaN; ERR_INVALID: k > n; ERR_NOMEM. keep is untouched then. */
int lowest_leave(const double *score, size_t n, size_t k, uint8_t *keep, struct err *err);

#endif
