/* farms_fit.c: from the eigenvalues of the windows to one exponent, and its error when only some of
 * the windows were solved.
 *
 * Of the mid rule: with m the median of u = ln lambda and S = E max(u - m, 0), alpha = 1 + 1 / (2
 * S). A window whose distribution is F_w, mixed in with weight w, moves S by w times
 *
 *     I_w = E_w max(u - m, 0) - S + (F_w(m) - 1/2) / (2 f(m))
 *
 * and alpha by -1 / (2 S^2) as much. The sampled alpha is alpha of the mean distribution of K
 * windows, so its error is that of the mean of I over a sample.
 */
#include "compute/farms.h"

#include "common/sort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A variance of fewer windows says nothing. */
#define ERROR_WINDOWS_MIN 5

/* Powers of the row and of the column of a window, and 1. */
#define DEGREE_MAX 3
#define TERMS_MAX  (1 + 2 * DEGREE_MAX)

/* The density at the median comes from this part of the values around it. */
#define DENSITY_PART 0.1

static int no_memory(size_t n, struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", n);
}

/* Fit one pool of n values, which get sorted. work: 2 n. */
static int fit_pool(const struct farms_plan *p, double *lambda, size_t n, double error_bound,
                    double *work, struct farms_result *out, struct err *err)
{
    struct farms_result f = {.alpha = NAN, .D = NAN, .xmin = NAN, .n_evals = n};
    struct hill_fit h;
    int r;

    sort_ascending(lambda, n);
    r = hill_fit(lambda, n, p->params.fit, 0, work, &h, err);
    if (r < 0)
        return r;
    f.status = n < FARMS_EVALS_MIN ? HILL_TOO_FEW : h.status;
    f.n_zero = h.n_zero;
    if (f.status == HILL_OK) {
        f.unresolved = p->params.precision == PRECISION_SINGLE && h.xmin <= error_bound;
        f.xmin = h.xmin;
        f.alpha = f.unresolved ? NAN : h.alpha;
        f.D = f.unresolved ? NAN : h.D;
    }
    *out = f;
    return 0;
}

/* --- standard error of a sample ------------------------------------------------------------ */

/* Values above zero of a window: its first, and how many. */
static size_t window_part(const struct farms_plan *p, const double *lambda, const double **first)
{
    size_t zeros = 0;

    while (zeros < p->order && lambda[zeros] <= 0)
        zeros++;
    *first = lambda + zeros;
    return p->order - zeros;
}

/* Influence of each window, in units of S, and S itself. pool: ascending, without zeros. */
static double influences(const struct farms_plan *p, const double *windows, const double *pool,
                         size_t n, double *influence)
{
    size_t half = (size_t)(DENSITY_PART / 2 * (double)n);
    double m = log(pool[n / 2]), density, s = 0;

    density = DENSITY_PART / (log(pool[n / 2 + half]) - log(pool[n / 2 - half]));
    for (size_t i = n / 2; i < n; i++)
        s += log(pool[i]) - m;
    s /= (double)n;
    for (size_t w = 0; w < p->n_runs; w++) {
        const double *x;
        size_t count = window_part(p, windows + w * p->order, &x), below = 0;
        double above = 0;

        while (below < count && x[below] < pool[n / 2])
            below++;
        for (size_t i = below; i < count; i++)
            above += log(x[i]) - m;
        /* Windows count by their values above zero: that is their weight in the pool. */
        influence[w] =
            (above - (double)count * s + ((double)below - (double)count / 2) / (2 * density)) *
            (double)p->n_runs / (double)n;
    }
    return s;
}

/* Take the direction of x out of y; both have n elements, x has length 1. */
static void take_out(const double *x, double *y, size_t n)
{
    double along = 0;

    for (size_t i = 0; i < n; i++)
        along += x[i] * y[i];
    for (size_t i = 0; i < n; i++)
        y[i] -= along * x[i];
}

static double norm2(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

/* Variance of the n values in y about the sum of two polynomials, of u and of v, degree as n
 * allows; by Gram and Schmidt. work: n * TERMS_MAX. y is destroyed. */
static double variance_about(const double *u, const double *v, double *y, size_t n, double *work)
{
    size_t degree = n / 2 > 1 ? (n / 2 - 1) / 2 : 0, terms = 0;

    degree = degree < DEGREE_MAX ? degree : DEGREE_MAX;
    for (size_t t = 0; t < 1 + 2 * degree; t++) {
        const double *from = t % 2 ? u : v;
        double *x = work + terms * n, before, after;

        for (size_t i = 0; i < n; i++)
            x[i] = pow(from[i], (double)((t + 1) / 2));
        before = norm2(x, n);
        for (size_t s = 0; s < terms; s++)
            take_out(work + s * n, x, n);
        after = norm2(x, n);
        if (!(after > 1e-9 * before)) /* the windows do not tell it from the others */
            continue;
        for (size_t i = 0; i < n; i++)
            x[i] /= sqrt(after);
        take_out(x, y, n);
        terms++;
    }
    return norm2(y, n) / (double)(n - terms);
}

/* windows: the values before they were sorted into the pool. */
static int standard_error(const struct farms_plan *p, const double *windows, const double *lambda,
                          struct farms_result *f, struct err *err)
{
    size_t k = p->n_runs, n = f->n_evals - f->n_zero;
    double all = (double)(p->n_order * p->n_length), s, variance;
    AUTO(freep) double *u = malloc((3 + TERMS_MAX) * k * sizeof *u);
    double *v = u + k, *influence = u + 2 * k;

    if (!u)
        return no_memory(k, err);
    for (size_t w = 0; w < k; w++) {
        size_t i, j;

        farms_sampled_window(p, w, &i, &j);
        u[w] = ((double)i + 0.5) / (double)p->n_order - 0.5;
        v[w] = ((double)j + 0.5) / (double)p->n_length - 0.5;
    }
    s = influences(p, windows, lambda + f->n_zero, n, influence);
    variance = variance_about(u, v, influence, k, u + 3 * k);
    f->standard_error = sqrt(variance / (double)k * (1 - (double)k / all)) / (2 * s * s);
    return 0;
}

static int fit_sampled(const struct farms_plan *p, double *lambda, double error_bound, double *work,
                       struct farms_result *out, struct err *err)
{
    size_t n = farms_values(p);
    AUTO(freep) double *windows = malloc(n * sizeof *windows);
    int r;

    if (!windows)
        return no_memory(n, err);
    memcpy(windows, lambda, n * sizeof *windows);
    r = fit_pool(p, lambda, n, error_bound, work, out, err);
    if (r < 0)
        return r;
    out->standard_error = NAN;
    if (out->status != HILL_OK || out->unresolved || p->n_runs < ERROR_WINDOWS_MIN)
        return 0;
    return standard_error(p, windows, lambda, out, err);
}

/* --- convolutions -------------------------------------------------------------------------- */

static int fit_groups(const struct farms_plan *p, double *lambda, double error_bound, double *work,
                      struct farms_result *out, struct err *err)
{
    struct farms_result sum = {0};
    double groups = (double)p->n_runs;

    for (size_t g = 0; g < p->n_runs; g++) {
        size_t n = farms_run_values(p, g);
        struct farms_result f;
        int r = fit_pool(p, lambda + g * n, n, error_bound, work, &f, err);

        if (r < 0)
            return r;
        sum.status = sum.status == HILL_OK ? f.status : sum.status;
        sum.unresolved |= f.unresolved;
        sum.alpha += f.alpha / groups;
        sum.D += f.D / groups;
        sum.xmin += f.xmin / groups;
        sum.n_evals += f.n_evals;
        sum.n_zero += f.n_zero;
    }
    *out = sum;
    return 0;
}

int farms_fit(const struct farms_plan *p, double *lambda, double error_bound,
              struct farms_result *out, struct err *err)
{
    size_t n = p->conv ? farms_run_values(p, 0) : farms_values(p);
    AUTO(freep) double *work = malloc(2 * n * sizeof *work);

    if (!work)
        return no_memory(n, err);
    if (p->conv)
        return fit_groups(p, lambda, error_bound, work, out, err);
    if (p->sampled)
        return fit_sampled(p, lambda, error_bound, work, out, err);
    return fit_pool(p, lambda, n, error_bound, work, out, err);
}
