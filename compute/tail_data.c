/* tail_data.c: see tail_data.h. */
#include "compute/tail_data.h"

#include <math.h>

/* Neumaier's compensated sum. */
struct sum {
    double s, c;
};

static void add(struct sum *a, double v)
{
    double t = a->s + v;

    a->c += fabs(a->s) >= fabs(v) ? (a->s - t) + v : (v - t) + a->s;
    a->s = t;
}

static int check(const double *x, size_t m, struct err *err)
{
    for (size_t i = 0; i < m; i++)
        if (!isfinite(x[i]) || x[i] <= 0 || (i > 0 && x[i] < x[i - 1]))
            return err_set(err, ERR_INVALID,
                           "value %zu of the tail is not finite, positive and ascending", i);
    if (m < 2 || x[0] == x[m - 1])
        return err_set(err, ERR_NUMERIC, "a tail needs at least two distinct values");
    return 0;
}

int tail_data_init(struct tail_data *d, const double *x, size_t m, double *work, struct err *err)
{
    struct sum logs = {0, 0}, ratios = {0, 0};
    double largest;
    size_t n = 0;
    int r = check(x, m, err);

    if (r < 0)
        return r;
    *d = (struct tail_data){.m = m,
                            .x = work,
                            .log_x = work + m,
                            .below = work + 2 * m,
                            .sum_log = work + 3 * m,
                            .sum_ratio = work + 4 * m};
    for (size_t k = 0; k < m; k++)
        if (k == 0 || x[k] != x[k - 1]) {
            d->x[n] = x[k];
            d->log_x[n] = log(x[k]);
            d->below[n++] = (double)k;
        }
    d->n = n;
    largest = x[m - 1];
    for (size_t i = n; i-- > 0;) {
        double count = (i + 1 < n ? d->below[i + 1] : (double)m) - d->below[i];

        add(&logs, count * d->log_x[i]);
        add(&ratios, count * (d->x[i] / largest));
        d->sum_log[i] = logs.s + logs.c;
        d->sum_ratio[i] = ratios.s + ratios.c;
    }
    return 0;
}

double tail_data_mean_log(const struct tail_data *d, size_t i)
{
    return d->sum_log[i] / tail_data_count(d, i) - d->log_x[i];
}

double tail_data_mean_excess(const struct tail_data *d, size_t i)
{
    return d->sum_ratio[i] / tail_data_count(d, i) / (d->x[i] / d->x[d->n - 1]) - 1;
}

void tail_data_range(const struct tail_data *d, double lo, double hi, size_t *first, size_t *end)
{
    size_t a = 0, b;

    while (a < d->n && d->x[a] < lo)
        a++;
    for (b = a; b < d->n && d->x[b] <= hi;)
        b++;
    *first = a;
    *end = b > a ? b - 1 : a;
}

struct scan {
    const struct tail_data *d;
    tail_cdf_fn *cdf;
    const void *model;
    size_t i;
    double limit, slack, max;
    size_t at; /* of max */
};

static double empirical(const struct scan *s, size_t k)
{
    return (s->d->below[k] - s->d->below[s->i]) / tail_data_count(s->d, s->i);
}

/* The model's value at k; its distance is taken into the maximum. */
static double look(struct scan *s, size_t k)
{
    double f = s->cdf(s->model, s->d, k), dist = fabs(f - empirical(s, k));

    if (!(dist <= s->max)) { /* a NaN counts as the worst */
        s->max = isnan(dist) ? INFINITY : dist;
        s->at = k;
    }
    return f;
}

/* Points strictly between a and b, where the model has values fa and fb. The depth is at most
 * log2 n. */
static void look_between(struct scan *s, size_t a, size_t b, double fa, double fb)
{
    size_t mid = a + (b - a) / 2;
    double fm;

    if (b - a < 2 || s->max >= s->limit)
        return;
    if (fmax(fb - empirical(s, a + 1), empirical(s, b - 1) - fa) + s->slack <= s->max)
        return;
    fm = look(s, mid);
    look_between(s, a, mid, fa, fm);
    look_between(s, mid, b, fm, fb);
}

double tail_ks(const struct tail_data *d, size_t i, tail_cdf_fn *cdf, const void *model,
               double limit, double slack, size_t *hint)
{
    struct scan s = {d, cdf, model, i, limit, slack, 0, i};
    size_t last = d->n - 1;

    if (hint && *hint > i && *hint <= last)
        (void)look(&s, *hint);
    if (s.max < limit) {
        double fa = look(&s, i), fb = look(&s, last);

        look_between(&s, i, last, fa, fb);
    }
    if (hint && s.max >= limit)
        *hint = s.at;
    return s.max;
}

struct best {
    double d;
    size_t i;
};

static void try_candidate(tail_distance_fn *distance, void *arg, size_t i, bool early,
                          struct best *best)
{
    double limit = i < best->i ? nextafter(best->d, INFINITY) : best->d;
    double d = distance(arg, i, early ? limit : INFINITY);

    if (d < best->d || (d == best->d && i < best->i))
        *best = (struct best){d, i};
}

size_t tail_scan(tail_distance_fn *distance, void *arg, size_t first, size_t end, bool early,
                 double *best)
{
    struct best b = {INFINITY, end};
    size_t stride = 1;

    while (early && stride < (end - first) / 8)
        stride *= 2;
    for (size_t i = first; i < end; i += stride)
        try_candidate(distance, arg, i, early, &b);
    for (; stride > 1; stride /= 2)
        for (size_t i = first + stride / 2; i < end; i += stride)
            try_candidate(distance, arg, i, early, &b);
    *best = b.d;
    return b.i;
}
