/* incomplete_gamma.h: the upper incomplete gamma function for first arguments up to 1, also
 * negative ones, and the exponential integral behind it.
 *
 *     Gamma(s, x) = int_x^inf t^(s-1) e^-t dt = x^s E_{1-s}(x)
 *     E_p(z)      = int_1^inf t^-p e^(-z t) dt
 *
 * E_p has no poles, signs or overflow to care about: e^z E_p(z) lies between 1/(z+p) and
 * 1/(z+p-1). So it is what is computed, and what the likelihood of a truncated power law needs.
 * Relative error at most 1e-13 for 0 <= p <= 1e6 and z from the least positive number to 1e300
 * (tests/unit/test_incomplete_gamma.c: mpmath's values). Formulas: DLMF 8.19.1, 8.19.10, 8.19.12,
 * 8.19.17.
 */
#ifndef SPECTRALD_INCOMPLETE_GAMMA_H
#define SPECTRALD_INCOMPLETE_GAMMA_H

#include "common/base.h"

/* What depends on the order alone, so that many values of one order cost little. */
struct expint {
    double p;
    double delta; /* p = 1 + delta + steps, |delta| <= 1/2 (down to -1 for p < 1/2) */
    double g;     /* ln Gamma(1 - delta) / delta */
    unsigned steps;
};

/* Prepare the order p, 0 <= p <= 1e6. */
void expint_init(struct expint *e, double p);

/* e^z E_p(z) for z >= 0; +infinity at z = 0 when p <= 1. */
double expint_scaled(const struct expint *e, double z);

/* ln Gamma(s, x) for s <= 1 and x > 0; NaN for other arguments. */
double incomplete_gamma_log(double s, double x);

#endif
