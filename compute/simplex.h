/* simplex.h: Nelder and Mead's simplex search with the rules and limits of SciPy 1.10's
 * optimize.fmin(), for results that were defined by it; elsewhere prefer a method with a proof.
 *
 * The first simplex is the start and, for each coordinate, the start with that coordinate 5 %
 * larger (0.00025 if it is zero). Reflection 1, expansion 2, contraction 1/2, shrinking 1/2. Stops
 * when all vertices are within `xtol` of the best in every coordinate and all values within `ftol`,
 * or after `max_calls` evaluations or as many iterations (0: 200 for each coordinate).
 */
#ifndef SPECTRALD_SIMPLEX_H
#define SPECTRALD_SIMPLEX_H

#include "common/base.h"

#define SIMPLEX_MAX_N 4

typedef double simplex_fn(const double *x, void *arg);

struct simplex_options {
    double xtol, ftol; /* fmin()'s defaults are 1e-4 */
    unsigned max_calls;
};

struct simplex_result {
    double value;   /* fn at x */
    unsigned calls; /* of fn */
    bool converged; /* false: stopped by max_calls */
};

/* Minimise fn of n <= SIMPLEX_MAX_N coordinates from x, which becomes the best vertex. */
struct simplex_result simplex_minimise(simplex_fn *fn, void *arg, size_t n, double *x,
                                       const struct simplex_options *opt);

#endif
