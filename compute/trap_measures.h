/* trap_measures.h: what traps.h says of two vectors and their outer product. Private to compute/.
 */
#ifndef SPECTRALD_TRAP_MEASURES_H
#define SPECTRALD_TRAP_MEASURES_H

#include "compute/traps.h"

/* Two vectors of absolute values, each sorted descending. */
struct trap_sides {
    const double *a, *b;
    size_t n_a, n_b;
};

/* Of the n elements of x, of any norm above zero, sorted by |x| descending. */
struct trap_vector trap_vector_of(const double *x, size_t n);

/* Share of the sum of all a_i b_j that the `share` (0 ... 1) largest of them have: ceil(share n_a
 * n_b) of them, at least one. O(n_a + n_b) times 100. */
double trap_mass(const struct trap_sides *s, double share);

/* diffuseness, risk and label from delta, q and both vectors. */
void trap_assess(struct trap *t, bool compat);

#endif
