/* prune_clear.h: weights that go, where they are stored: no copy in another form is made.
 *
 * Lowest magnitudes of a whole matrix of 16-bit floats, of which there are only 2^15: a histogram
 * (magnitude.h) gives the cut, and one pass clears. As prune_select.h has it, exactly so many go,
 * and of equal ones those that come first.
 */
#ifndef SPECTRALD_PRUNE_CLEAR_H
#define SPECTRALD_PRUNE_CLEAR_H

#include "compute/magnitude.h"

/* All with magnitude bits below `limit`, and of those that have them the first `ties`. */
struct prune_half_cut {
    uint32_t limit;
    uint64_t ties;
};

/* The k lowest of what a histogram of a 16-bit format counted, k <= m->n_weights. */
struct prune_half_cut prune_half_cut(const struct magnitudes *m, uint64_t k);

/* Set to +0 what the cut takes of the next n; *cut keeps the ties that are left. */
void prune_half_clear(uint16_t *w, size_t n, struct prune_half_cut *cut);

/* Set to +0 the elements of w[n] whose bit is set in the mask (prune_select.h). */
void prune_clear16(uint16_t *w, const uint8_t *mask, size_t n);

/* How many of w[n] are +0 or -0. */
uint64_t prune_zeros16(const uint16_t *w, size_t n);

#endif
