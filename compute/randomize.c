/* randomize.c: spectra of shuffled matrices, and the columns made of them. */
#include "compute/randomize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t randomize_replicas(size_t n)
{
    return n < 100 ? 5 : 1;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

DEFINE_AUTO(struct shuffled, shuffled_free)

/* Spectra of one slice in all replicates; out: the first replicate's place for this slice. */
static int slice_spectra(const struct matrix_source *src, size_t slice, size_t n,
                         const struct randomize_options *opt, double *out, struct err *err)
{
    AUTO(shuffled_freep) struct shuffled *s = NULL;
    struct matrix_source shuffled;
    struct spectrum_info info;
    int r = shuffled_new(src, opt->keep, &s, err);

    if (r < 0)
        return r;
    shuffled = shuffled_source(s);
    for (size_t k = 0; k < opt->replicas; k++) {
        shuffled_shuffle(s, opt->seed, ((uint64_t)k << 32) + slice);
        r = spectrum_compute(&shuffled, &opt->spectrum, out + k * n, &info, err);
        if (r < 0)
            return r;
        for (size_t i = 0; i < src->n_short; i++)
            out[k * n + i] *= opt->scale;
    }
    return 0;
}

int randomize_spectra(const struct matrix_source *slices, size_t n_slices,
                      const struct randomize_options *opt, double *out, struct err *err)
{
    size_t m = n_slices > 0 ? slices[0].n_short : 0, n = n_slices * m;

    if (m == 0 || opt->replicas == 0 || opt->replicas > RANDOMIZE_REPLICAS_MAX || !(opt->scale > 0))
        return err_set(err, ERR_INVALID, "%zu replicates of %zu matrices", opt->replicas, n_slices);
    for (size_t k = 0; k < n_slices; k++) {
        int r;

        if (slices[k].n_short != m || slices[k].n_long != slices[0].n_long)
            return err_set(err, ERR_INVALID, "slice %zu has another shape than slice 0", k);
        r = slice_spectra(&slices[k], k, n, opt, out + k * m, err);
        if (r < 0)
            return r;
    }
    for (size_t k = 0; k < opt->replicas && n_slices > 1; k++)
        qsort(out + k * n, n, sizeof *out, compare);
    return 0;
}

/* --- comparison ------------------------------------------------------------------------------ */

static double sum_of(const double *x, size_t n)
{
    double s = 0;

    for (size_t i = 0; i < n; i++)
        s += x[i];
    return s;
}

/* p ln(p / m), 0 for p = 0. */
static double relative_entropy(double p, double m)
{
    return p > 0 ? p * log(p / m) : 0;
}

double randomize_distance(const double *p, const double *q, size_t n)
{
    double sp = sum_of(p, n), sq = sum_of(q, n), d = 0;

    if (!(sp > 0 && sq > 0))
        return NAN;
    for (size_t i = 0; i < n; i++) {
        double m = (p[i] + q[i]) / (sp + sq);

        d += relative_entropy(p[i] / sp, m) + relative_entropy(q[i] / sq, m);
    }
    return d > 0 ? sqrt(d / 2) : 0; /* equal sequences may leave a rounding error below 0 */
}

struct moments {
    double mean, sd;
};

static struct moments moments_of(const double *x, size_t n)
{
    double mean = sum_of(x, n) / (double)n, square = 0;

    for (size_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    return (struct moments){mean, n > 1 ? sqrt(square / (double)(n - 1)) : NAN};
}

/* Replicates [0, count) at `null`: their largest and their distance from lambda, averaged.
 * `work`: 2 * count doubles. */
static void compare_each(const double *lambda, size_t n, const double *null, size_t count,
                         double *work, struct randomize_values *v)
{
    double max = lambda[n - 1];
    struct moments top, distance;

    for (size_t k = 0; k < count; k++) {
        work[k] = null[k * n + n - 1];
        work[count + k] = randomize_distance(lambda, null + k * n, n);
    }
    top = moments_of(work, count);
    distance = moments_of(work + count, count);
    v->replicas = count;
    v->rand_distance = distance.mean;
    v->distance_sd = distance.sd;
    v->max_sd = top.sd;
    v->ww_softrank = max > 0 ? top.mean / max : NAN;
    v->ww_maxdist = max - top.mean;
}

/* Eigenvalues above the edge, the median over replicates. `work`: count doubles. */
static size_t traps(const double *null, size_t n, size_t count, double edge, double *work)
{
    for (size_t k = 0; k < count; k++) {
        size_t above = 0;

        while (above < n && null[k * n + n - 1 - above] > edge)
            above++;
        work[k] = (double)above;
    }
    qsort(work, count, sizeof *work, compare);
    return (size_t)work[(count - 1) / 2];
}

int randomize_compare(const double *lambda, size_t n, size_t n_long, size_t n_short,
                      const double *null, size_t replicas, bool compat,
                      const struct mp_fit_options *mp, struct randomize_values *out,
                      struct err *err)
{
    size_t pool = compat ? replicas - 1 : replicas, apart = compat ? 1 : replicas;
    AUTO(freep) double *sorted = NULL, *work = NULL;
    struct randomize_values v = {0};

    if (n == 0 || replicas < (compat ? 2 : 1) || replicas > RANDOMIZE_REPLICAS_MAX)
        return err_set(err, ERR_INVALID, "%zu replicates of %zu eigenvalues", replicas, n);
    sorted = malloc(pool * n * sizeof *sorted);
    work = malloc((pool * n + 2 * replicas) * sizeof *work);
    if (!sorted || !work)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", pool * n);
    memcpy(sorted, null, pool * n * sizeof *sorted);
    qsort(sorted, pool * n, sizeof *sorted, compare);
    compare_each(lambda, n, null + (replicas - apart) * n, apart, work, &v);
    v.max_rand_eval = sorted[pool * n - 1];
    v.fitted = mp_fit(sorted, pool * n, n_long, n_short, mp, work, &v.fit, NULL) == 0;
    if (v.fitted)
        v.num_traps = traps(null, n, pool, v.fit.edge, work);
    *out = v;
    return 0;
}
