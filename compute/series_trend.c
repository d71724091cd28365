/* series_trend.c: see series_trend.h. */
#include "compute/series_trend.h"

#include "compute/model_summary.h"
#include "compute/rank_correlation.h"

#include <math.h>
#include <stdlib.h>

/* --- a column over steps --------------------------------------------------------------------- */

struct room {
    double *t, *x, *v; /* steps with a number; v: all pairs of them */
};

static void room_done(struct room *r)
{
    free(r->t);
    free(r->x);
    free(r->v);
}

static int room_make(struct room *r, size_t n, struct err *err)
{
    r->t = calloc(n + 1, sizeof *r->t);
    r->x = calloc(n + 1, sizeof *r->x);
    r->v = calloc(n * (n + 1) / 2 + 1, sizeof *r->v);
    if (!r->t || !r->x || !r->v)
        return err_set(err, ERR_NOMEM, "no memory for %zu steps", n);
    return 0;
}

static int check(const double *t, size_t n, double low, double high, struct err *err)
{
    if (n > TREND_STEPS_MAX)
        return err_set(err, ERR_LIMIT, "%zu steps, more than %d", n, TREND_STEPS_MAX);
    if (!(low <= high))
        return err_set(err, ERR_INVALID, "the lower limit is above the upper one");
    for (size_t i = 0; i < n; i++)
        if (!isfinite(t[i]) || (i > 0 && t[i] < t[i - 1]))
            return err_set(err, ERR_INVALID, "step %zu is not finite or not in order", i);
    return 0;
}

static void find_exits(const double *x, size_t n, double low, double high, struct trend *out)
{
    out->leaves = out->returns = TREND_NEVER;
    for (size_t i = 0; i < n; i++) {
        bool outside = x[i] < low || x[i] > high;

        if (!isfinite(x[i]))
            continue;
        if (outside && out->leaves == TREND_NEVER)
            out->leaves = i;
        if (!outside && out->leaves != TREND_NEVER && out->returns == TREND_NEVER)
            out->returns = i;
        out->outside += outside;
        out->ends_outside = outside;
    }
}

static int find_slope(const struct room *r, struct trend *out, struct err *err)
{
    struct rank_correlation c;
    size_t n = out->n, pairs = 0;
    int e = rank_correlation(r->t, r->x, n, &c, err);

    if (e < 0)
        return e;
    out->kendall = c.kendall;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            if (r->t[j] > r->t[i])
                r->v[pairs++] = (r->x[j] - r->x[i]) / (r->t[j] - r->t[i]);
    out->slope = median_of(r->v, pairs);
    for (size_t i = 0; i < n; i++)
        r->v[i] = r->x[i] - out->slope * r->t[i];
    out->intercept = pairs ? median_of(r->v, n) : NAN;
    return 0;
}

static int one_trend(const struct room *r, const double *t, const double *x, size_t n, double low,
                     double high, struct trend *out, struct err *err)
{
    struct trend s = {.slope = NAN, .intercept = NAN, .kendall = NAN, .first = NAN, .last = NAN};
    int e = 0;

    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i])) {
            r->t[s.n] = t[i];
            r->x[s.n++] = x[i];
        }
    find_exits(x, n, low, high, &s);
    if (s.n) {
        s.first = r->x[0];
        s.last = r->x[s.n - 1];
        e = find_slope(r, &s, err);
    }
    if (e == 0)
        *out = s;
    return e;
}

int series_trends(const double *t, const double *x, size_t n, size_t n_layers, double low,
                  double high, struct trend *out, struct err *err)
{
    AUTO(room_done) struct room r = {NULL, NULL, NULL};
    int e = check(t, n, low, high, err);

    if (e == 0)
        e = room_make(&r, n, err);
    for (size_t k = 0; e == 0 && k < n_layers; k++)
        e = one_trend(&r, t, x + k * n, n, low, high, &out[k], err);
    return e;
}

int series_trend(const double *t, const double *x, size_t n, double low, double high,
                 struct trend *out, struct err *err)
{
    return series_trends(t, x, n, 1, low, high, out, err);
}

/* --- between two analyses -------------------------------------------------------------------- */

static int by_change(const void *a, const void *b)
{
    const struct layer_move *p = a, *q = b;
    double x = fabs(p->change), y = fabs(q->change);

    return x != y ? (x < y) - (x > y) : (p->layer > q->layer) - (p->layer < q->layer);
}

int layer_moves(const double *before, const double *after, size_t n, double least,
                struct layer_move *out, size_t *count, struct err *err)
{
    AUTO(freep) double *change = calloc(n + 1, sizeof *change);
    AUTO(freep) double *z = calloc(n + 1, sizeof *z);
    AUTO(freep) size_t *type = calloc(n + 1, sizeof *type);
    size_t m = 0;
    int r;

    if (!(least >= 0))
        return err_set(err, ERR_INVALID, "the least change must be 0 or more");
    if (!change || !z || !type)
        return err_set(err, ERR_NOMEM, "no memory for %zu layers", n);
    for (size_t i = 0; i < n; i++)
        change[i] = isfinite(before[i]) && isfinite(after[i]) ? after[i] - before[i] : NAN;
    r = robust_z_by_type(change, type, n, 1, z, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        if (fabs(change[i]) > least)
            out[m++] = (struct layer_move){i, before[i], after[i], change[i], z[i]};
    qsort(out, m, sizeof *out, by_change);
    *count = m;
    return 0;
}
