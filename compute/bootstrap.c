/* bootstrap.c: see bootstrap.h. */
#include "compute/bootstrap.h"

#include "common/sort.h"

#include <math.h>
#include <stdlib.h>

static size_t count_below(const double *x, size_t m, double xmin)
{
    size_t a = 0, b = m;

    while (a < b) {
        size_t mid = a + (b - a) / 2;

        if (x[mid] < xmin)
            a = mid + 1;
        else
            b = mid;
    }
    return a;
}

static void draw_from_model(const double *x, size_t m, size_t body, const struct powerlaw_fit *fit,
                            struct random *r, double *out)
{
    double power = -1 / (fit->alpha - 1);

    for (size_t i = 0; i < m; i++) {
        uint64_t k = random_below(r, m);

        out[i] = k < body ? x[random_below(r, body)]
                          : fmin(fit->xmin * pow(random_uniform_positive(r), power), 1e308);
    }
    sort_ascending(out, m);
}

/* How often each value is drawn, then so many of each: ascending without sorting. */
static void resample(const double *x, size_t m, struct random *r, double *times, double *out)
{
    size_t k = 0;

    for (size_t i = 0; i < m; i++)
        times[i] = 0;
    for (size_t i = 0; i < m; i++)
        times[random_below(r, m)]++;
    for (size_t i = 0; i < m; i++)
        for (; times[i] > 0; times[i]--)
            out[k++] = x[i];
}

int bootstrap_replicates(const double *x, size_t m, const struct powerlaw_fit *fit,
                         const struct bootstrap_options *opt, size_t first, size_t count,
                         double *work, struct bootstrap_replicate *out, struct err *err)
{
    size_t body = count_below(x, m, fit->xmin);

    if (!(fit->alpha > 1) || !isfinite(fit->alpha) || !(fit->xmin > 0) || body == m)
        return err_set(err, ERR_NUMERIC, "a fit without a finite alpha above 1 has no replicates");
    for (size_t k = 0; k < count; k++) {
        struct powerlaw_fit f;
        struct random r;
        int code;

        if (opt->stop && opt->stop(opt->arg))
            return err_set(err, ERR_DEADLINE, "stopped after %zu of %zu replicates", k, count);
        random_init(&r, opt->seed, ((uint64_t)opt->kind << 32) + first + k);
        if (opt->kind == BOOTSTRAP_MODEL)
            draw_from_model(x, m, body, fit, &r, work);
        else
            resample(x, m, &r, work + m, work);
        code = opt->refit ? opt->refit(opt->arg, work, m, work + m, &f, err)
                          : powerlaw_fit(work, m, work + m, &f, err);
        if (code < 0)
            return code;
        out[k] = (struct bootstrap_replicate){
            .alpha = f.alpha, .D = f.D, .xmin = f.xmin, .n_tail = (double)f.n_tail};
    }
    return 0;
}

static int by_alpha(const void *a, const void *b)
{
    double x = ((const struct bootstrap_replicate *)a)->alpha;
    double y = ((const struct bootstrap_replicate *)b)->alpha;

    return (x > y) - (x < y);
}

/* Quantile of the sorted replicates' alpha, between the order statistics around rank p (n + 1). */
static double quantile(const struct bootstrap_replicate *r, size_t n, double p)
{
    double at = fmin(fmax(p * (double)(n + 1) - 1, 0), (double)(n - 1)), part;
    size_t i = (size_t)at;

    part = at - (double)i;
    if (part == 0 || isinf(r[i].alpha))
        return r[i].alpha;
    return r[i].alpha + part * (r[i + 1].alpha - r[i].alpha);
}

struct bootstrap_p bootstrap_p_value(double D, const struct bootstrap_replicate *r, size_t n)
{
    size_t as_far = 0;
    double p;

    for (size_t k = 0; k < n; k++)
        as_far += r[k].D >= D ? 1 : 0;
    p = (double)as_far / (double)n;
    return (struct bootstrap_p){p, sqrt(p * (1 - p) / (double)n)};
}

int bootstrap_interval(struct bootstrap_replicate *r, size_t n, double level,
                       struct bootstrap_interval *out, struct err *err)
{
    double mean = 0, squares = 0, tail = (1 - level) / 2;
    size_t finite = 0;

    if (n < 20 || !(level > 0 && level < 1))
        return err_set(err, ERR_INVALID,
                       "at least 20 replicates and a level between 0 and 1 are needed");
    qsort(r, n, sizeof *r, by_alpha);
    for (; finite < n && isfinite(r[finite].alpha); finite++) {
        double step = r[finite].alpha - mean;

        mean += step / (double)(finite + 1);
        squares += step * (r[finite].alpha - mean);
    }
    *out = (struct bootstrap_interval){quantile(r, n, tail), quantile(r, n, 1 - tail),
                                       finite > 1 ? sqrt(squares / (double)(finite - 1)) : 0};
    return 0;
}
