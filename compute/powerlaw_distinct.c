/* powerlaw_distinct.c: see powerlaw_distinct.h. */
#include "compute/powerlaw_distinct.h"

#include <math.h>

/* Mean of u on [0, b] with density ~ e^(-a u), a > 0. */
static double mean_between(double a, double b)
{
    double t = a * b;

    if (t < 1e-3) /* the two terms all but cancel */
        return b * (0.5 - t / 12 + t * t * t / 720);
    return 1 / a - b / expm1(t);
}

/* Its derivative by a is minus the variance. */
static double variance_between(double a, double b)
{
    double t = a * b;

    if (t < 1e-2)
        return b * b * (1. / 12 - t * t / 240);
    return 1 / (a * a) - b * b / (4 * sinh(t / 2) * sinh(t / 2));
}

/* a > 0 with mean_between(a, b) = mean; NaN when there is none (mean >= b / 2). Newton's steps from
 * the left of the root: the mean is convex in a, so they rise to it. */
static double solve_between(double mean, double b)
{
    double a = fmax(0, 6 * (1 - 2 * mean / b) / b), next;

    if (!(mean < b / 2) || !(mean > 0))
        return NAN;
    for (int step = 0; step < 200; step++) {
        next = a + (mean_between(a, b) - mean) / variance_between(a, b);
        if (!(next > a * (1 + 1e-15)))
            break;
        a = next;
    }
    return a;
}

struct scan {
    const struct tail_data *d;
    const struct powerlaw_limits *limits;
    double log_xmax;
    size_t hint;
};

struct model {
    double a, log_xmin;
    double whole; /* CDF of the open law at the end of this one */
};

static double model_cdf(const void *model, const struct tail_data *d, size_t k)
{
    const struct model *m = model;

    return -expm1(m->a * (m->log_xmin - d->log_x[k])) / m->whole;
}

static struct model model_at(const struct scan *s, size_t i, double log_xmin)
{
    double mean = tail_data_mean_log(s->d, i) + (s->d->log_x[i] - log_xmin);
    double b = s->log_xmax - log_xmin;
    struct model m = {.a = 1 / mean, .log_xmin = log_xmin, .whole = 1};

    if (s->limits->upper == POWERLAW_TRUNCATED)
        m.a = solve_between(mean, b);
    if (s->limits->upper != POWERLAW_OPEN)
        m.whole = -expm1(-m.a * b);
    return m;
}

static double distance(void *arg, size_t i, double limit)
{
    struct scan *s = arg;
    struct model m = model_at(s, i, s->d->log_x[i]);

    if (!(m.a > 0) || isinf(m.a))
        return NAN;
    return tail_ks(s->d, i, model_cdf, &m, limit, 1e-12, &s->hint);
}

static void describe(const struct scan *s, const struct model *m, size_t i, double xmin, double D,
                     struct powerlaw_fit *out)
{
    double n = tail_data_count(s->d, i);
    bool truncated = s->limits->upper == POWERLAW_TRUNCATED;

    *out = (struct powerlaw_fit){
        .alpha = 1 + m->a,
        .D = D,
        .sigma = truncated ? 1 / sqrt(n * variance_between(m->a, s->log_xmax - m->log_xmin))
                           : m->a / sqrt(n),
        .xmin = xmin,
        .xmax = truncated && s->limits->has_xmax ? s->limits->xmax : s->d->x[s->d->n - 1],
        .n_tail = (size_t)n};
}

static int no_tail(struct err *err)
{
    return err_set(err, ERR_NUMERIC, "no value may start the tail");
}

static int fit_given(struct scan *s, double xmin, struct powerlaw_fit *out, struct err *err)
{
    struct model m = model_at(s, 0, log(xmin));

    if (!(m.a > 0) || isinf(m.a))
        return no_tail(err);
    describe(s, &m, 0, xmin, tail_ks(s->d, 0, model_cdf, &m, INFINITY, 1e-12, NULL), out);
    return 0;
}

static int fit_best(struct scan *s, struct powerlaw_fit *out, struct err *err)
{
    const struct tail_data *d = s->d;
    size_t first = 0, end = d->n - 1, best;
    struct model m;
    double D;

    if (s->limits->has_range)
        tail_data_range(d, s->limits->low, s->limits->high, &first, &end);
    while (end > first && tail_data_count(d, end - 1) < (double)s->limits->min_tail)
        end--;
    best = tail_scan(distance, s, first, end, true, &D);
    if (best == end)
        return no_tail(err);
    m = model_at(s, best, d->log_x[best]);
    describe(s, &m, best, d->x[best], D, out);
    return 0;
}

static int check(const struct powerlaw_limits *l, struct err *err)
{
    if (l->has_range && !(l->low <= l->high))
        return err_set(err, ERR_INVALID, "a range of xmin that is empty");
    if (l->has_xmin && !(l->xmin > 0 && isfinite(l->xmin)))
        return err_set(err, ERR_INVALID, "xmin must be finite and above zero");
    if (l->has_xmax && !(l->xmax > (l->has_xmin ? l->xmin : 0) && isfinite(l->xmax)))
        return err_set(err, ERR_INVALID, "xmax must be finite and above xmin");
    return 0;
}

int powerlaw_distinct(const double *x, size_t m, const struct powerlaw_limits *limits, double *work,
                      struct powerlaw_fit *out, struct err *err)
{
    static const struct powerlaw_limits none = {.upper = POWERLAW_OPEN};
    const struct powerlaw_limits *l = limits ? limits : &none;
    struct tail_data d;
    struct scan s = {.d = &d, .limits = l};
    size_t first = 0;
    int r = check(l, err);

    if (r < 0)
        return r;
    while (l->has_xmax && m > 0 && x[m - 1] > l->xmax)
        m--;
    while (l->has_xmin && first < m && x[first] < l->xmin)
        first++;
    r = tail_data_init(&d, x + first, m - first, work, err);
    if (r < 0)
        return r;
    s.log_xmax = l->has_xmax ? log(l->xmax) : d.log_x[d.n - 1];
    return l->has_xmin ? fit_given(&s, l->xmin, out, err) : fit_best(&s, out, err);
}
