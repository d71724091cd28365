/* mp_fit_upstream.c: kernel density, residuals, brute search and simplex, as RMT_Util.py and
 * scipy.optimize.brute(finish=fmin) have them. The density does not depend on sigma and is computed
 * once. Where residuals jump the simplex' path decides, so its steps are scipy's exactly
 * (simplex.h).
 */
#include "compute/mp_fit_upstream.h"

#include "compute/marchenko_pastur.h"
#include "compute/simplex.h"

#include <math.h>

#define GRID      1000
#define BANDWIDTH 0.1
#define DENSITY   0.01 /* points below it do not count */
#define REJECT    1e6  /* squared residual of every point when the edges are out of place */

/* The density at the grid points that count, ascending in t. */
struct kde {
    double t[GRID], f[GRID];
    size_t n;
    double t_peak;
    double q;
};

/* Density at `t` of n ascending values; *first moves on to the first value within reach. */
static double density_at(double t, const double *y, size_t n, size_t *first)
{
    double sum = 0;

    while (*first < n && y[*first] <= t - BANDWIDTH)
        (*first)++;
    for (size_t i = *first; i < n && y[i] < t + BANDWIDTH; i++)
        sum += 1 - fabs(t - y[i]) / BANDWIDTH;
    return sum / ((double)n * BANDWIDTH);
}

static void estimate(const double *y, size_t n, struct kde *k)
{
    double end = y[n - 1] + 0.5, step = end / (GRID - 1), f_max = -1;
    size_t first = 0;

    for (size_t i = 0; i < GRID; i++) {
        double t = i == GRID - 1 ? end : (double)i * step, f = density_at(t, y, n, &first);

        if (!(f > DENSITY))
            continue;
        k->t[k->n] = t;
        k->f[k->n++] = f;
        if (f > f_max) {
            f_max = f;
            k->t_peak = t;
        }
    }
}

/* Upstream's quarter circle keeps the radius 2 for every sigma. */
static double model(double t, double a, double b, double q, double sigma)
{
    double d = q == 1 ? 4 - t * t : (b - t) * (t - a);

    if (!(d >= 0))
        return 0;
    if (q == 1)
        return sqrt(d) / (M_PI * sigma * sigma);
    return t == 0 ? 0 : sqrt(d) / (2 * M_PI * sigma * sigma * t / q);
}

static double residual(double sigma, const struct kde *k)
{
    double a = mp_lower(k->q, sigma), b = mp_upper(k->q, sigma), sum = 0;

    if (k->q != 1 && k->n > 0 && (b < k->t_peak || b > k->t[k->n - 1] || a > k->t_peak))
        return REJECT * (double)k->n;
    for (size_t i = 0; i < k->n; i++) {
        double d = model(k->t[i], a, b, k->q, sigma) - k->f[i];

        sum += d * d;
    }
    return sum;
}

static double grid_search(double s0, const struct kde *k)
{
    double start = 0.05 * s0, step = 0.01 * s0, best = start, least = INFINITY;
    int count = (int)ceil((2 * s0 - start) / step);

    for (int i = 0; i < count; i++) {
        double sigma = i * step + start, r = residual(sigma, k);

        if (r < least) {
            least = r;
            best = sigma;
        }
    }
    return best;
}

static double residual_at(const double *sigma, void *arg)
{
    return residual(*sigma, arg);
}

int mp_fit_upstream(const double *lambda, size_t n, size_t n_long, size_t n_short, double *work,
                    struct mp_fit *f, struct err *err)
{
    double q = (double)n_long / (double)n_short, sum = 0, max, m = (double)n_short, tw, scale2;
    const struct simplex_options fmin = {.xtol = 1e-4, .ftol = 1e-4};
    struct kde k = {.q = q};

    for (size_t i = 0; i < n; i++)
        sum += lambda[i];
    f->w_scale = sqrt((double)n) / sqrt(sum);
    scale2 = f->w_scale * f->w_scale;
    for (size_t i = 0; i < n; i++)
        work[i] = q == 1 ? sqrt(scale2 * lambda[i]) : scale2 * lambda[i];
    estimate(work, n, &k);
    max = scale2 * lambda[n - 1];
    f->sigma = grid_search(sqrt(max) / (1 + 1 / sqrt(q)), &k);
    (void)simplex_minimise(residual_at, &k, 1, &f->sigma, &fmin);
    if (!(isfinite(f->sigma) && f->sigma > 0))
        return err_set(err, ERR_NUMERIC, "no least residual");
    tw = pow(q, -0.5) * pow(mp_upper(q, f->sigma), 2. / 3) * pow(m, -2. / 3);
    f->bulk_min = mp_lower(q, f->sigma) / scale2;
    f->bulk_max = mp_upper(q, f->sigma) / scale2;
    f->edge = (mp_upper(q, f->sigma) + sqrt(tw)) / scale2;
    f->far_edge = f->edge + 3 * f->sigma * f->sigma * mp_top(n_long, n_short).width / scale2;
    return 0;
}
