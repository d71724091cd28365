/* vector_metrics.c: histogram, norms, and sums over eigenvectors. */
#include "compute/vector_metrics.h"

#include "compute/gram_vectors.h"

#include <math.h>

#define BINS 100

/* Which bin of [lo, hi] holds x, as numpy.histogram has it: the last bin is closed; the edges are
 * those of numpy.linspace. */
static size_t bin_of(double x, double lo, double hi)
{
    double step = (hi - lo) / BINS;
    size_t i = (size_t)((x - lo) / (hi - lo) * BINS);

    if (i >= BINS)
        i = BINS - 1;
    if (i > 0 && x < lo + (double)i * step)
        i--;
    else if (i + 1 < BINS && x >= lo + (double)(i + 1) * step)
        i++;
    return i;
}

/* Entropy of the histogram of |v| - mean; numpy takes [x - 1/2, x + 1/2] where all are equal. */
static double discrete_entropy(const double *v, size_t n, double mean, double least, double most)
{
    size_t count[BINS] = {0};
    double lo = least - mean, hi = most - mean, density, sum = 0, entropy = 0;

    if (!(hi > lo)) {
        lo -= 0.5;
        hi += 0.5;
    }
    for (size_t i = 0; i < n; i++)
        count[bin_of(fabs(v[i]) - mean, lo, hi)]++;
    density = BINS / ((hi - lo) * (double)n);
    for (size_t i = 0; i < BINS; i++)
        sum += (double)count[i] * density + 1e-10;
    for (size_t i = 0; i < BINS; i++) {
        double p = ((double)count[i] * density + 1e-10) / sum;

        entropy -= p * log(p);
    }
    return entropy;
}

int vector_metrics(const double *v, size_t n, struct vector_metrics *out, struct err *err)
{
    double sum = 0, most = 0, least = INFINITY, square = 0, fourth = 0;

    for (size_t i = 0; i < n; i++) {
        if (!isfinite(v[i]))
            return err_set(err, ERR_INVALID, "element %zu is not finite", i);
        sum += fabs(v[i]);
        most = fmax(most, fabs(v[i]));
        least = fmin(least, fabs(v[i]));
    }
    if (!(most > 0))
        return err_set(err, ERR_INVALID, "a vector without any element other than zero");
    for (size_t i = 0; i < n; i++) {
        double x = v[i] / most;

        square += x * x;
        fourth += x * x * x * x;
    }
    *out = (struct vector_metrics){
        .discrete_entropy = discrete_entropy(v, n, sum / (double)n, least, most),
        .entropy = exp(-sqrt(square) * most / 2) / sqrt(2 * M_PI),
        .localization_ratio = sum / most,
        .participation_ratio = sqrt(square) / sqrt(sqrt(fourth)),
    };
    return 0;
}

/* Mean, and sum of squared deviations, as values come (Welford). */
static void add_value(double x, size_t count, double *mean, double *squares)
{
    double d = x - *mean;

    *mean += d / (double)count;
    *squares += d * (x - *mean);
}

static void add_vector(struct vector_group *g, const struct vector_metrics *m)
{
    g->count++;
    add_value(m->discrete_entropy, g->count, &g->mean_vec_entropy, &g->var_vec_entropy);
    add_value(m->localization_ratio, g->count, &g->mean_loc_ratio, &g->var_loc_ratio);
    add_value(m->participation_ratio, g->count, &g->mean_part_ratio, &g->var_part_ratio);
}

static void finish(struct vector_group *g)
{
    double n = (double)g->count;

    if (g->count == 0) {
        *g = (struct vector_group){0, NAN, NAN, NAN, NAN, NAN, NAN};
        return;
    }
    g->var_vec_entropy /= n;
    g->var_loc_ratio /= n;
    g->var_part_ratio /= n;
}

int layer_vectors(const struct matrix_source *src, size_t n_tail, struct layer_vectors *out,
                  struct err *err)
{
    AUTO(gram_vectors_free) struct gram_vectors g = {0};
    struct layer_vectors l = {0};
    int r;

    if (src->n_short > LAYER_VECTORS_N_MAX)
        return err_set(err, ERR_LIMIT, "the short side has %zu elements, the limit is %d",
                       src->n_short, LAYER_VECTORS_N_MAX);
    if (n_tail > src->n_short)
        return err_set(err, ERR_INVALID, "a tail of %zu of %zu eigenvalues", n_tail, src->n_short);
    r = gram_vectors(src, 0, src->n_short, &g, err);
    for (size_t i = 0; r == 0 && i < g.count; i++) {
        struct vector_metrics m;

        r = vector_metrics(g.v + i * g.n, g.n, &m, err);
        if (r == 0)
            add_vector(i + n_tail < g.count ? &l.bulk : &l.tail, &m);
    }
    if (r < 0)
        return r;
    finish(&l.bulk);
    finish(&l.tail);
    *out = l;
    return 0;
}
