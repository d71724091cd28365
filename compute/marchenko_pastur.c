/* marchenko_pastur.c: densities, distribution functions and edges.
 *
 * With sigma = 1, y = 1/Q and x = (1 + y) - 2 sqrt(y) cos(theta) the density becomes smooth in
 * theta, and its integral elementary:
 *
 *     2 pi y F = (1 + y) theta + 2 sqrt(y) sin(theta)
 *                - 2 (1 - y) atan( (1 + sqrt y) / (1 - sqrt y) tan(theta / 2) )
 */
#include "compute/marchenko_pastur.h"

#include <math.h>

#define ROOT_STEPS 1024 /* Simpson's rule for mp_mean_root(): error below 1e-9 */

double mp_lower(double q, double sigma)
{
    double e = sigma * (1 - 1 / sqrt(q));

    return e * e;
}

double mp_upper(double q, double sigma)
{
    double e = sigma * (1 + 1 / sqrt(q));

    return e * e;
}

double mp_density(double x, double q, double sigma)
{
    double a = mp_lower(q, sigma), b = mp_upper(q, sigma);

    if (!(x >= a && x <= b))
        return 0;
    if (x == 0)
        return INFINITY;
    return q * sqrt((b - x) * (x - a)) / (2 * M_PI * sigma * sigma * x);
}

/* theta of x, for sigma = 1. */
static double angle(double x, double y)
{
    double c = (1 + y - x) / (2 * sqrt(y));

    return c >= 1 ? 0 : c <= -1 ? M_PI : acos(c);
}

static double cdf_of_angle(double theta, double y)
{
    double r = sqrt(y), inner;

    if (theta >= M_PI)
        return 1;
    inner = r < 1 ? 2 * (1 - y) * atan((1 + r) / (1 - r) * tan(theta / 2)) : 0;
    return ((1 + y) * theta + 2 * r * sin(theta) - inner) / (2 * M_PI * y);
}

static double clamp01(double p)
{
    return p < 0 ? 0 : p > 1 ? 1 : p;
}

double mp_cdf(double x, double q, double sigma)
{
    return clamp01(cdf_of_angle(angle(x / (sigma * sigma), 1 / q), 1 / q));
}

/* Bisection in theta: the function is increasing, and 60 halvings reach the last bit. */
double mp_quantile(double p, double q, double sigma)
{
    double y = 1 / q, lo = 0, hi = M_PI;

    if (p <= 0)
        return mp_lower(q, sigma);
    if (p >= 1)
        return mp_upper(q, sigma);
    for (int i = 0; i < 60; i++) {
        double mid = (lo + hi) / 2;

        if (cdf_of_angle(mid, y) < p)
            lo = mid;
        else
            hi = mid;
    }
    return sigma * sigma * (1 + y - 2 * sqrt(y) * cos((lo + hi) / 2));
}

/* sqrt(x) times the density times dx / dtheta. */
static double root_term(double theta, double y)
{
    double x = 1 + y - 2 * sqrt(y) * cos(theta), s = sin(theta);

    return x > 0 ? 2 / M_PI * s * s / sqrt(x) : 0;
}

double mp_mean_root(double lo, double hi, double q)
{
    double y = 1 / q, a = angle(lo, y), b = angle(hi, y), h = (b - a) / ROOT_STEPS, sum;

    if (!(b > a))
        return 0;
    sum = root_term(a, y) + root_term(b, y);
    for (int i = 1; i < ROOT_STEPS; i++)
        sum += (i % 2 ? 4 : 2) * root_term(a + i * h, y);
    return sum * h / 3;
}

double quarter_circle_density(double t, double sigma)
{
    if (!(t >= 0 && t <= 2 * sigma))
        return 0;
    return sqrt(4 * sigma * sigma - t * t) / (M_PI * sigma * sigma);
}

/* --- Tracy-Widom ----------------------------------------------------------------------------- */

#define TW_FIRST (-6.0)
#define TW_STEP  0.25

/* ln(F / (1 - F)) at s = -6, -5.75, ..., 10. */
static const double tw_logit[] = {
    -12.81954869,  -11.52399024,  -10.32276248, -9.212025738, -8.187907374, -7.246463632,
    -6.383619266,  -5.595086127,  -4.876272458, -4.222206417, -3.627503018, -3.086397302,
    -2.592848198,  -2.140695323,  -1.723835946, -1.336387717, -0.972812844, -0.627994195,
    -0.2972666784, 0.02358526059, 0.3383509585, 0.6504259684, 0.9628449588, 1.278309834,
    1.599210883,   1.927641189,   2.265406205,  2.614031326,  2.974770444,  3.348618012,
    3.736326105,   4.138426801,   4.555259038,  4.986998298,  5.433687074,  5.895264178,
    6.371591297,   6.862475841,   7.367689617,  7.886983437,  8.420098016,  8.96677175,
    9.526746006,   10.0997685,    10.6855953,   11.28399187,  11.89473345,  12.51760504,
    13.15240111,   13.79892522,   14.45698954,  15.12641434,  15.8070275,   16.49866404,
    17.20116569,   17.91438045,   18.63816224,  19.37237049,  20.11686989,  20.87152999,
    21.63622502,   22.41083354,   23.19523827,  23.98932583,  24.79298655,
};

/* Cubic through the four nearest values; straight on beyond the ends. */
static double tw_interpolate(double s)
{
    double at = (s - TW_FIRST) / TW_STEP, u;
    int n = ARRAY_LEN(tw_logit), i;
    const double *f;

    if (at <= 0)
        return tw_logit[0] + at * (tw_logit[1] - tw_logit[0]);
    if (at >= n - 1)
        return tw_logit[n - 1] + (at - (n - 1)) * (tw_logit[n - 1] - tw_logit[n - 2]);
    i = (int)at;
    i = i < 1 ? 1 : i > n - 3 ? n - 3 : i;
    u = at - i;
    f = tw_logit + i;
    return -u * (u - 1) * (u - 2) / 6 * f[-1] + (u + 1) * (u - 1) * (u - 2) / 2 * f[0] -
           (u + 1) * u * (u - 2) / 2 * f[1] + (u + 1) * u * (u - 1) / 6 * f[2];
}

double tracy_widom_cdf(double s)
{
    return 1 / (1 + exp(-tw_interpolate(s)));
}

double tracy_widom_quantile(double p)
{
    double bounded = p < 1e-5 ? 1e-5 : p > 1 - 1e-10 ? 1 - 1e-10 : p;
    double target = log(bounded) - log1p(-bounded), lo = -8, hi = 12;

    for (int i = 0; i < 60; i++) {
        double mid = (lo + hi) / 2;

        if (tw_interpolate(mid) < target)
            lo = mid;
        else
            hi = mid;
    }
    return (lo + hi) / 2;
}

struct mp_top mp_top(size_t n_long, size_t n_short)
{
    double n = (double)n_long, m = sqrt((double)n_short);
    double r = sqrt(n > 1 ? n - 1 : 1), c = r + m;

    return (struct mp_top){.center = c * c / n, .width = c * cbrt(1 / r + 1 / m) / n};
}

double mp_edge(size_t n_long, size_t n_short, double sigma, double level, size_t n_matrices)
{
    struct mp_top top = mp_top(n_long, n_short);
    double p = n_matrices > 1 ? pow(level, 1 / (double)n_matrices) : level;

    return sigma * sigma * (top.center + tracy_widom_quantile(p) * top.width);
}

/* --- spikes ---------------------------------------------------------------------------------- */

double mp_spike_least(double q)
{
    return pow(q, -0.25);
}

double mp_spike_position(double s, double q)
{
    if (!(s > mp_spike_least(q)))
        return mp_upper(q, 1);
    return (1 / q + s * s) * (1 + 1 / (s * s));
}

/* The larger root of S^4 + S^2 (1 + 1/Q - x) + 1/Q = 0. */
double mp_spike_strength2(double x, double q)
{
    double b = x - 1 - 1 / q, d = b * b - 4 / q;

    if (!(b > 0 && d >= 0))
        return NAN;
    return (b + sqrt(d)) / 2;
}
