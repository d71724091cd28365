/* erg.h: the trace-log condition ("ERG", "detX"): the largest part of the spectrum whose
 * determinant is still one.
 *
 * Eigenvalues are scaled to mean 1; from the largest down, s_1 >= s_2 >= ..., the tail is the
 * longest for which sum ln s_i >= 0. In the theory (Martin, Hinrichs: SETOL, arXiv 2507.17912) a
 * well trained layer's power-law tail starts just there: ERG_gap = num - num_pl_spikes is 0.
 *
 * `compat`: WeightWatcher 0.7.5.5 detX_constraint(). It multiplies in plain double, which over- and
 * underflows; counts the eigenvalue that takes the product below 1 as well; never looks at the
 * smallest; has no answer (0) when all are equal. The columns detX_val and detX_val_unrescaled are
 * named the wrong way round there: see struct erg.
 */
#ifndef SPECTRALD_ERG_H
#define SPECTRALD_ERG_H

#include "common/err.h"

/* Part of every cache key: raise it when any result may differ in a bit. */
#define ERG_VERSION 1

struct erg {
    size_t num;         /* eigenvalues in the tail: column detX_num, num_ERG_spikes */
    double lambda;      /* where it starts, as given: upstream's column detX_val */
    double scaled;      /* where it starts, mean 1: upstream's column detX_val_unrescaled. Both NaN
                         * for num = 0 */
    double log_product; /* sum of ln s in the tail; -infinity with compat and a zero in it */
};

/* n ascending eigenvalues, finite and >= 0, their sum > 0. rescale = false takes them as they are.
 * O(n); O(n^2) with compat, some 20 ms for 4096. ERR_INVALID, ERR_NUMERIC (a zero matrix). */
int erg_condition(const double *lambda, size_t n, bool rescale, bool compat, struct erg *out,
                  struct err *err);

/* sum of ln s over the `num` largest, in mean-1 units: 0 is ideal for the power-law tail, below 0
 * is too long a tail. NaN for num = 0 or num > n. */
double erg_tail_log(const double *lambda, size_t n, size_t num);

#endif
