/* powerlaw.c: see powerlaw.h.
 *
 * Every alpha comes from compensated suffix sums of logarithms, so a fit costs O(m) for the
 * exponents. D is a maximum over the tail, and only candidates that beat the best D so far matter:
 * a candidate is dropped at the first point where it is worse. The point that killed the last
 * candidate is tried first, then every 32nd, then all; the maximum does not depend on the order,
 * so the result is that of the full scan, bit for bit. Candidates are tried in strides that are
 * halved: where D falls steadily along the spectrum, each would beat the one before it, and a scan
 * from left to right would take O(m^2) after all.
 */
#include "compute/powerlaw.h"

#include <math.h>

#define COARSE_STEP 32

/* log x into lx, and suffix sums of it into sum (Neumaier's compensated summation). */
static void log_suffix_sums(const double *x, size_t m, double *lx, double *sum)
{
    double s = 0, c = 0;

    for (size_t i = m; i-- > 0;) {
        double v = log(x[i]), t = s + v;

        c += fabs(s) >= fabs(v) ? (s - t) + v : (v - t) + s;
        s = t;
        lx[i] = v;
        sum[i] = s + c;
    }
}

/* Exponent of the tail that starts at i; +infinity when all its values are equal. */
static double alpha_at(const double *x, const double *lx, const double *sum, size_t m, size_t i)
{
    double n = (double)(m - i);

    if (x[m - 1] == x[i])
        return INFINITY;
    return 1 + n / (sum[i] - n * lx[i]);
}

/* |model - empirical| at point k of the tail from i. */
static double distance(const double *lx, size_t i, size_t k, double slope, double inv_n)
{
    return fabs(1 - exp(slope * (lx[k] - lx[i])) - (double)(k - i) * inv_n);
}

struct scan {
    const double *x, *lx;
    size_t m;
    size_t killer; /* where the last candidate was dropped */
};

/* D of candidate i, or anything >= limit when D >= limit. */
static double ks_below(struct scan *s, size_t i, double alpha, double limit)
{
    double n = (double)(s->m - i), inv_n = 1 / n, slope = 1 - alpha, max = 0;

    if (isinf(alpha)) /* the model steps to 1 at once: the largest gap is at the last point */
        return (n - 1) / n;
    if (!(alpha > 1))
        return 1;
    if (s->killer > i && distance(s->lx, i, s->killer, slope, inv_n) >= limit)
        return limit;
    for (size_t k = i + COARSE_STEP; k < s->m; k += COARSE_STEP)
        if (distance(s->lx, i, k, slope, inv_n) >= limit) {
            s->killer = k;
            return limit;
        }
    for (size_t k = i; k < s->m; k++) {
        double d = distance(s->lx, i, k, slope, inv_n);

        if (d > max)
            max = d;
        if (max >= limit) {
            s->killer = k;
            return max;
        }
    }
    return max;
}

struct best {
    double d, alpha;
    size_t i;
};

/* Candidate i, whatever was tried before: of equal D the first counts. */
static void try_candidate(struct scan *s, const double *sum, size_t i, bool early,
                          struct best *best)
{
    double alpha = alpha_at(s->x, s->lx, sum, s->m, i);
    double limit = i < best->i ? nextafter(best->d, INFINITY) : best->d;
    double d = ks_below(s, i, alpha, early ? limit : INFINITY);

    if (d < best->d || (d == best->d && i < best->i))
        *best = (struct best){.d = d, .alpha = alpha, .i = i};
}

/* Candidates are first <= i < end; end <= m - 1. */
static void fit(const double *x, size_t m, size_t first, size_t end, double *work, bool early,
                struct powerlaw_fit *out)
{
    double *lx = work, *sum = work + m;
    struct scan s = {.x = x, .lx = lx, .m = m};
    struct best best = {.d = INFINITY, .i = first};
    size_t stride = 1;

    log_suffix_sums(x, m, lx, sum);
    while (early && stride < (end - first) / 8)
        stride *= 2;
    for (size_t i = first; i < end; i += stride)
        try_candidate(&s, sum, i, early, &best);
    for (; stride > 1; stride /= 2)
        for (size_t i = first + stride / 2; i < end; i += stride)
            try_candidate(&s, sum, i, early, &best);
    *out = (struct powerlaw_fit){.alpha = best.alpha,
                                 .D = best.d,
                                 .sigma = (best.alpha - 1) / sqrt((double)(m - best.i)),
                                 .xmin = x[best.i],
                                 .xmax = x[m - 1],
                                 .n_tail = m - best.i};
}

static int too_few(size_t m, struct err *err)
{
    return err_set(err, ERR_NUMERIC, "a power law needs at least two values, there are %zu", m);
}

int powerlaw_fit(const double *x, size_t m, double *work, struct powerlaw_fit *out, struct err *err)
{
    if (m < 2)
        return too_few(m, err);
    fit(x, m, 0, m - 1, work, true, out);
    return 0;
}

int powerlaw_fit_among(const double *x, size_t m, size_t first, size_t end, double *work,
                       struct powerlaw_fit *out, struct err *err)
{
    if (m < 2)
        return too_few(m, err);
    if (first >= end || end > m - 1)
        return err_set(err, ERR_NUMERIC, "no value may start the tail");
    fit(x, m, first, end, work, true, out);
    return 0;
}

int powerlaw_fit_reference(const double *x, size_t m, double *work, struct powerlaw_fit *out,
                           struct err *err)
{
    if (m < 2)
        return too_few(m, err);
    fit(x, m, 0, m - 1, work, false, out);
    return 0;
}
