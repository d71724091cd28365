/* incomplete_gamma.c: see incomplete_gamma.h.
 *
 * z >= 2, and large orders: the continued fraction in its even form, backwards from a term known to
 * be far enough, one division a term. z < 2: the series of an order within 1/2 of 1, then the
 * recurrence p E_{p+1} = e^-z - z E_p upwards, which is stable there. At integer orders two terms
 * of the series are infinite; their sum is formed through expm1, so nothing is special about them.
 */
#include "compute/incomplete_gamma.h"

#include <math.h>

#define SERIES_BELOW   2.0
#define FRACTION_ABOVE 40.0 /* orders that the recurrence would take long to reach */
#define SERIES_TERMS   27   /* 2^k / k! < 1e-20 */

/* zeta(k) - 1, k = 2 ... */
static const double zeta_minus_1[] = {
    0.6449340668482264365,    0.2020569031595942854,    0.08232323371113819152,
    0.03692775514336992633,   0.01734306198444913971,   0.00834927738192282684,
    0.004077356197944339379,  0.002008392826082214418,  0.0009945751278180853371,
    0.0004941886041194645587, 0.0002460865533080482986, 0.0001227133475784891468,
    6.124813505870482926e-5,  3.058823630702049355e-5,  1.528225940865187173e-5,
    7.637197637899762274e-6,  3.817293264999839856e-6,  1.908212716553938926e-6,
    9.539620338727961132e-7,  4.769329867878064631e-7,  2.3845050272773299e-7,
    1.192199259653110731e-7,  5.960818905125947961e-8,  2.980350351465228019e-8,
    1.490155482836504123e-8,  7.450711789835429492e-9,  3.725334024788457055e-9,
};
#define ONE_MINUS_EULER 0.42278433509846713939

/* ln Gamma(1 - d) / d; at d = 0 Euler's constant. */
static double log_gamma_ratio(double d)
{
    double sum = 0;

    if (fabs(d) > 0.5)
        return log(tgamma(1 - d)) / d; /* lgamma() writes a global */
    for (size_t i = ARRAY_LEN(zeta_minus_1); i-- > 0;)
        sum = sum * d + zeta_minus_1[i] / (double)(i + 2);
    return (d == 0 ? 1 : -log1p(-d) / d) - ONE_MINUS_EULER + sum * d;
}

void expint_init(struct expint *e, double p)
{
    double steps = p < 1.5 || p > FRACTION_ABOVE ? 0 : floor(p - 0.5);

    *e = (struct expint){.p = p, .delta = p - 1 - steps, .steps = (unsigned)steps};
    if (p <= FRACTION_ABOVE)
        e->g = log_gamma_ratio(e->delta);
}

/* e^z E_{1+delta}(z), 0 < z < SERIES_BELOW. */
static double series(double delta, double g, double z)
{
    double h0 = g + log(z), h = delta * h0, term = 1, sum = 0;
    double lead = h == 0 ? -h0 : -h0 * (expm1(h) / h);

    for (int k = 1; k <= SERIES_TERMS; k++) {
        term *= -z / k;
        sum += term / (k - delta);
        if (fabs(term) < 1e-18)
            break;
    }
    return exp(z) * (lead - sum);
}

static double fraction(double p, double z)
{
    unsigned k = 12 + (z >= SERIES_BELOW ? (unsigned)(100 / z) : 10);
    double v = z + p + 2 * (double)k;

    for (; k > 0; k--)
        v = z + p + 2 * (double)(k - 1) - (double)k * (p + (double)(k - 1)) / v;
    return 1 / v;
}

double expint_scaled(const struct expint *e, double z)
{
    double v;

    if (z == 0)
        return e->p > 1 ? 1 / (e->p - 1) : INFINITY;
    if (z >= SERIES_BELOW || e->p > FRACTION_ABOVE)
        return fraction(e->p, z);
    v = series(e->delta, e->g, z);
    for (unsigned k = 0; k < e->steps; k++)
        v = (1 - z * v) / (1 + e->delta + k);
    return v;
}

double incomplete_gamma_log(double s, double x)
{
    struct expint e;

    if (!(s <= 1) || !(x > 0))
        return NAN;
    expint_init(&e, 1 - s);
    return s * log(x) - x + log(expint_scaled(&e, x));
}
