/* model_summary.c: see model_summary.h. */
#include "compute/model_summary.h"

#include "compute/rank_correlation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAD_TO_SIGMA           1.4826             /* 1 / quantile 3/4 of the normal law */
#define MEAN_DISTANCE_TO_SIGMA 1.2533141373155003 /* sqrt(pi / 2) */

/* --- medians --------------------------------------------------------------------------------- */

/* Put the k-th smallest at its place, no larger ones before it (Hoare's selection). */
static void select_kth(double *x, size_t n, size_t k)
{
    size_t lo = 0, hi = n - 1;

    while (lo < hi) {
        double pivot = x[lo + (hi - lo) / 2];
        size_t i = lo, j = hi;

        for (;;) {
            while (x[i] < pivot)
                i++;
            while (x[j] > pivot)
                j--;
            if (i >= j)
                break;
            double t = x[i];

            x[i++] = x[j];
            x[j--] = t;
        }
        /* All up to j are <= pivot, all from j + 1 on >= pivot. */
        if (k <= j)
            hi = j;
        else
            lo = j + 1;
    }
}

double median_of(double *x, size_t n)
{
    double below;

    if (n == 0)
        return NAN;
    select_kth(x, n, n / 2);
    if (n % 2)
        return x[n / 2];
    below = x[0];
    for (size_t i = 1; i < n / 2; i++)
        below = fmax(below, x[i]);
    return below / 2 + x[n / 2] / 2;
}

/* --- one column ------------------------------------------------------------------------------ */

/* Of the n finite numbers in v, which are destroyed. */
static void summarise(double *v, size_t n, struct column_summary *s)
{
    double sum = 0;

    s->n = n;
    s->mean = s->median = s->min = s->max = s->spread = NAN;
    if (n == 0)
        return;
    s->min = s->max = v[0];
    for (size_t i = 0; i < n; i++) {
        sum += v[i];
        s->min = fmin(s->min, v[i]);
        s->max = fmax(s->max, v[i]);
    }
    s->mean = sum / (double)n;
    s->median = median_of(v, n);
    for (size_t i = 0; i < n; i++)
        v[i] = fabs(v[i] - s->median);
    s->spread = MAD_TO_SIGMA * median_of(v, n);
}

int column_summary(const double *x, size_t n, struct column_summary *out, struct err *err)
{
    AUTO(freep) double *v = calloc(n + 1, sizeof *v);
    size_t m = 0;

    if (!v)
        return err_set(err, ERR_NOMEM, "no memory for %zu layers", n);
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i]))
            v[m++] = x[i];
    summarise(v, m, out);
    out->left_out = n - m;
    return 0;
}

static int check_types(const size_t *type, size_t n, size_t n_types, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (type[i] >= n_types)
            return err_set(err, ERR_INVALID, "layer %zu: there is no type %zu", i, type[i]);
    return 0;
}

/* Finite numbers of the layers of one type; how many. */
static size_t of_type(const double *x, const size_t *type, size_t n, size_t which, double *v)
{
    size_t m = 0;

    for (size_t i = 0; i < n; i++)
        if (type[i] == which && isfinite(x[i]))
            v[m++] = x[i];
    return m;
}

int column_summary_by_type(const double *x, const size_t *type, size_t n, size_t n_types,
                           struct column_summary *out, struct err *err)
{
    AUTO(freep) double *v = calloc(n + 1, sizeof *v);
    int r = check_types(type, n, n_types, err);

    if (r < 0)
        return r;
    if (!v)
        return err_set(err, ERR_NOMEM, "no memory for %zu layers", n);
    for (size_t t = 0; t < n_types; t++) {
        size_t all = 0;

        summarise(v, of_type(x, type, n, t, v), &out[t]);
        for (size_t i = 0; i < n; i++)
            all += type[i] == t;
        out[t].left_out = all - out[t].n;
    }
    return 0;
}

double column_mean_upstream(const double *x, const bool *failed, size_t n)
{
    double sum = 0;
    size_t m = 0;

    for (size_t i = 0; i < n; i++)
        if (failed[i] || !isnan(x[i])) {
            sum += failed[i] ? -1 : x[i];
            m++;
        }
    return m ? sum / (double)m : NAN;
}

/* --- layers out of line ---------------------------------------------------------------------- */

/* Median and spread of m numbers in v, which are destroyed. */
static void centre(double *v, size_t m, double *median, double *spread)
{
    double sum = 0;

    *median = median_of(v, m);
    for (size_t i = 0; i < m; i++) {
        v[i] = fabs(v[i] - *median);
        sum += v[i];
    }
    *spread = MAD_TO_SIGMA * median_of(v, m);
    if (*spread == 0 && m)
        *spread = MEAN_DISTANCE_TO_SIGMA * sum / (double)m;
}

/* z of every layer; where `median` is not NULL, also the median of the type of each. */
static int z_by_type(const double *x, const size_t *type, size_t n, size_t n_types, double *z,
                     double *median, struct err *err)
{
    AUTO(freep) double *v = calloc(n + 1, sizeof *v);
    int r = check_types(type, n, n_types, err);

    if (r < 0)
        return r;
    if (!v)
        return err_set(err, ERR_NOMEM, "no memory for %zu layers", n);
    for (size_t t = 0; t < n_types; t++) {
        size_t m = of_type(x, type, n, t, v);
        double middle, spread;

        centre(v, m, &middle, &spread);
        for (size_t i = 0; i < n; i++) {
            if (type[i] != t)
                continue;
            z[i] = m >= TYPE_LAYERS_MIN && spread > 0 && isfinite(x[i]) ? (x[i] - middle) / spread
                                                                        : NAN;
            if (median)
                median[i] = middle;
        }
    }
    return 0;
}

int robust_z_by_type(const double *x, const size_t *type, size_t n, size_t n_types, double *z,
                     struct err *err)
{
    return z_by_type(x, type, n, n_types, z, NULL, err);
}

int scale_collapse(const double *log_lambda_max, const size_t *type, size_t n, size_t n_types,
                   const struct collapse_rule *rule, double *z, bool *collapsed, size_t *count,
                   struct err *err)
{
    AUTO(freep) double *median = calloc(n + 1, sizeof *median);
    double limit = rule->z_limit == 0 ? ROBUST_Z_LIMIT : rule->z_limit;
    double drop = rule->drop < 0 ? COLLAPSE_DROP : rule->drop;
    size_t found = 0;
    int r;

    if (!(limit > 0) || isnan(drop))
        return err_set(err, ERR_INVALID, "the limit of z must be above 0");
    if (!median)
        return err_set(err, ERR_NOMEM, "no memory for %zu layers", n);
    r = z_by_type(log_lambda_max, type, n, n_types, z, median, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        collapsed[i] = z[i] < -limit && median[i] - log_lambda_max[i] >= drop;
        found += collapsed[i];
    }
    *count = found;
    return 0;
}

/* --- correlation flow ------------------------------------------------------------------------ */

static void extend(struct layer_run *longest, struct layer_run *now, bool inside, size_t layer)
{
    if (!inside) {
        now->length = 0;
        return;
    }
    if (now->length++ == 0)
        now->first = layer;
    if (now->length > longest->length)
        *longest = *now;
}

static void find_runs(const double *alpha, size_t n, struct correlation_flow *f)
{
    struct layer_run high = {0, 0}, low = {0, 0};

    for (size_t i = 0; i < n; i++) {
        if (!isfinite(alpha[i]))
            continue;
        f->above += alpha[i] > ALPHA_HIGH;
        f->below += alpha[i] < ALPHA_LOW;
        extend(&f->plateau, &high, alpha[i] > ALPHA_HIGH, i);
        extend(&f->valley, &low, alpha[i] < ALPHA_LOW, i);
    }
}

static double line_slope(const double *t, const double *x, size_t n)
{
    double mean_t = 0, mean_x = 0, tt = 0, tx = 0;

    for (size_t i = 0; i < n; i++) {
        mean_t += t[i] / (double)n;
        mean_x += x[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        tt += (t[i] - mean_t) * (t[i] - mean_t);
        tx += (t[i] - mean_t) * (x[i] - mean_x);
    }
    return tx / tt;
}

/* v has room for FLOW_PAIRED_MAX^2 / 2. */
static double paired_slope(const double *t, const double *x, size_t n, double *v)
{
    size_t stride = (n + FLOW_PAIRED_MAX - 1) / FLOW_PAIRED_MAX, pairs = 0;

    for (size_t i = 0; i < n; i += stride)
        for (size_t j = i + stride; j < n; j += stride)
            v[pairs++] = (x[j] - x[i]) / (t[j] - t[i]);
    return median_of(v, pairs);
}

/* Depth counts all layers, those without an exponent too. */
static int measure_flow(const double *t, const double *x, struct correlation_flow *f,
                        struct err *err)
{
    size_t n = f->n, third = (n + 2) / 3;
    AUTO(freep) double *v = calloc(FLOW_PAIRED_MAX * FLOW_PAIRED_MAX / 2 + n, sizeof *v);
    struct rank_correlation c;
    int r;

    if (!v)
        return err_set(err, ERR_NOMEM, "no memory for %zu layers", n);
    r = rank_correlation(t, x, n, &c, err);
    if (r < 0)
        return r;
    f->kendall = c.kendall;
    f->slope = line_slope(t, x, n);
    f->theil_sen = paired_slope(t, x, n, v);
    for (size_t i = 0; i + 1 < n; i++)
        v[i] = fabs(x[i + 1] - x[i]);
    f->roughness = median_of(v, n - 1);
    memcpy(v, x, third * sizeof *v);
    f->first = median_of(v, third);
    memcpy(v, x + n - third, third * sizeof *v);
    f->last = median_of(v, third);
    return 0;
}

int correlation_flow(const double *alpha, size_t n, struct correlation_flow *out, struct err *err)
{
    AUTO(freep) double *t = calloc(n + 1, sizeof *t);
    AUTO(freep) double *x = calloc(n + 1, sizeof *x);
    struct correlation_flow f = {.slope = NAN,
                                 .theil_sen = NAN,
                                 .kendall = NAN,
                                 .first = NAN,
                                 .last = NAN,
                                 .roughness = NAN};
    int r = 0;

    if (!t || !x)
        return err_set(err, ERR_NOMEM, "no memory for %zu layers", n);
    for (size_t i = 0; i < n; i++)
        if (isfinite(alpha[i])) {
            t[f.n] = (double)i;
            x[f.n++] = alpha[i];
        }
    find_runs(alpha, n, &f);
    if (f.n >= 3)
        r = measure_flow(t, x, &f, err);
    if (r == 0)
        *out = f;
    return r;
}
