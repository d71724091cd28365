/* mp_fit.c: the robust fit, and what both fits share. Upstream's: mp_fit_upstream.c.
 *
 * Robust: sigma^2 = median(x) / median of the law. A spike moves the median by half a place only,
 * but many spikes move it; so they are taken out and the rest, whose law is that of a matrix with
 * as many rows and columns less, is fitted again. A heavy tail has no bulk: there every round would
 * find more "spikes". The round whose bulk is nearest to its law is the answer, and a round that
 * would call more than half of the eigenvalues spikes ends the search.
 */
#include "compute/mp_fit.h"

#include "compute/marchenko_pastur.h"
#include "compute/mp_fit_upstream.h"

#include <math.h>
#include <string.h>

#define ROUNDS_MAX    30 /* by default */
#define DEFAULT_LEVEL 0.999
#define FAR_WIDTHS    3
#define AGREE         10 /* 3 standard deviations of the median of a square matrix */

const char *mp_fit_method_name(enum mp_fit_method m)
{
    static const char *const name[] = {"robust", "upstream"};

    return (unsigned)m < ARRAY_LEN(name) ? name[m] : NULL;
}

static int check(const double *lambda, size_t n, size_t n_long, size_t n_short, double level,
                 struct err *err)
{
    if (n == 0 || n_short == 0 || n_long < n_short)
        return err_set(err, ERR_INVALID, "%zu eigenvalues of a matrix of %zu x %zu", n, n_long,
                       n_short);
    if (!(level >= 0 && level < 1))
        return err_set(err, ERR_INVALID, "the level of the edge must be at least 0 and below 1");
    for (size_t i = 0; i < n; i++)
        if (!(isfinite(lambda[i]) && lambda[i] >= (i > 0 ? lambda[i - 1] : 0)))
            return err_set(err, ERR_INVALID, "eigenvalue %zu is not finite or not in order", i);
    return 0;
}

/* How many of the n ascending values are <= x. */
static size_t count_up_to(const double *lambda, size_t n, double x)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (lambda[mid] <= x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Greatest difference between the distribution functions of n values and of the law whose mean is
 * mean * sigma^2; both sides of each step count. */
static double distance(const double *lambda, size_t n, double q, double sigma, double mean)
{
    double max = 0;

    for (size_t i = 0; i < n; i++) {
        double f = mp_cdf(lambda[i] / mean, q, sigma);

        max =
            fmax(max, fmax(fabs(f - (double)i / (double)n), fabs(f - (double)(i + 1) / (double)n)));
    }
    return n > 0 ? max : 1;
}

/* Columns that follow from the edges. */
static void count_spikes(const double *lambda, size_t n, struct mp_fit *f)
{
    size_t up_to_edge = count_up_to(lambda, n, f->edge);

    f->num_spikes = n - up_to_edge;
    f->num_far = n - count_up_to(lambda, n, f->far_edge);
    f->num_bulk = up_to_edge > f->num_zero ? up_to_edge - f->num_zero : 0;
    f->softrank = f->bulk_max / lambda[n - 1];
    f->noise_share = f->sigma * f->sigma;
}

static double sum_of(const double *x, size_t n)
{
    double s = 0;

    for (size_t i = 0; i < n; i++)
        s += x[i];
    return s;
}

static double median(const double *x, size_t n)
{
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* One spectrum, as the rounds see it. */
struct bulk {
    const double *lambda; /* without the zeros */
    size_t n;
    double n_long, n_short; /* of one matrix; the short side without the zeros */
    double slices, level;
    unsigned rounds;
};

/* What is left of a matrix when `removed` eigenvalues are taken out of all slices. */
struct rest {
    double n_long, n_short, q;
};

static struct rest rest_of(const struct bulk *b, size_t removed)
{
    double less = (double)removed / b->slices;
    struct rest r = {.n_long = b->n_long - less, .n_short = b->n_short - less};

    r.q = r.n_long / r.n_short;
    return r;
}

/* Everything that follows from the variance s2 of an entry; sigma and edges are absolute. */
static void fill(const struct bulk *b, const struct rest *r, double s2, struct mp_fit *f)
{
    size_t rows = (size_t)ceil(r->n_long), columns = (size_t)ceil(r->n_short);
    double width = mp_top(rows, columns).width;

    f->sigma = sqrt(s2);
    f->bulk_min = r->n_long * mp_lower(r->q, f->sigma);
    f->bulk_max = r->n_long * mp_upper(r->q, f->sigma);
    f->edge = r->n_long * mp_edge(rows, columns, f->sigma, b->level, (size_t)b->slices);
    f->far_edge = f->edge + FAR_WIDTHS * r->n_long * s2 * width;
    f->distance =
        distance(b->lambda, count_up_to(b->lambda, b->n, f->edge), r->q, f->sigma, r->n_long);
}

static double variance_by_median(const struct bulk *b, size_t removed)
{
    struct rest r = rest_of(b, removed);

    return median(b->lambda, b->n - removed) / (r.n_long * mp_quantile(0.5, r.q, 1));
}

/* Where the mean of the bulk agrees with the median it is the better estimate: its error is
 * sqrt(2 / (N M)), the median's about 3 / M in a square matrix. That decides whether the edge is
 * crossed as often as it should be. */
static void refine(const struct bulk *b, struct mp_fit *f)
{
    size_t n = count_up_to(b->lambda, b->n, f->edge);
    struct rest r = rest_of(b, b->n - n);
    double by_mean, by_median = f->sigma * f->sigma;

    if (n == 0 || !(r.n_short > 0))
        return;
    by_mean = sum_of(b->lambda, n) / ((double)n * r.n_long);
    if (fabs(by_mean / by_median - 1) <= AGREE / (r.n_short * sqrt(b->slices)))
        fill(b, &r, by_mean, f);
}

static void fit_robust(const struct bulk *b, struct mp_fit *best)
{
    size_t removed = 0;

    best->distance = INFINITY;
    for (unsigned round = 1; round <= b->rounds; round++) {
        struct rest r = rest_of(b, removed);
        struct mp_fit f = *best;
        size_t spikes;

        fill(b, &r, variance_by_median(b, removed), &f);
        f.rounds = round;
        if (!(f.distance < best->distance))
            break;
        *best = f;
        spikes = b->n - count_up_to(b->lambda, b->n, f.edge);
        if (spikes == removed || spikes > b->n / 2)
            break;
        removed = spikes;
    }
    if (b->rounds > 1)
        refine(b, best);
}

static int robust(const double *lambda, size_t n, size_t n_long, size_t n_short,
                  const struct mp_fit_options *opt, struct mp_fit *f, struct err *err)
{
    double slices = fmax(1, round((double)n / (double)n_short));
    size_t zeros = count_up_to(lambda, n, MP_FIT_ZERO * lambda[n - 1]);
    struct bulk b = {.lambda = lambda + zeros,
                     .n = n - zeros,
                     .n_long = (double)n_long,
                     .n_short = (double)(n - zeros) / slices,
                     .slices = slices,
                     .level = opt->level > 0 ? opt->level : DEFAULT_LEVEL,
                     .rounds = opt->rounds > 0 ? opt->rounds : ROUNDS_MAX};

    if (b.n < 2)
        return err_set(err, ERR_NUMERIC, "fewer than two eigenvalues are not zero");
    if (b.n_short > b.n_long) /* n is no multiple of n_short: as good as square */
        b.n_short = b.n_long;
    f->num_zero = zeros;
    fit_robust(&b, f);
    /* From the deviation of an entry to the share of the root mean square of all. */
    f->w_scale = sqrt((double)n / sum_of(lambda, n));
    f->sigma *= sqrt(b.n_long) * f->w_scale;
    return 0;
}

int mp_fit(const double *lambda, size_t n, size_t n_long, size_t n_short,
           const struct mp_fit_options *opt, double *work, struct mp_fit *out, struct err *err)
{
    struct mp_fit f = {.method = opt->method};
    int r = check(lambda, n, n_long, n_short, opt->level, err);

    if (r < 0)
        return r;
    if (lambda[n - 1] <= 0 || n < 2)
        return err_set(err, ERR_NUMERIC, "fewer than two eigenvalues are not zero");
    if (opt->method == MP_FIT_UPSTREAM) {
        r = mp_fit_upstream(lambda, n, n_long, n_short, work, &f, err);
        if (r < 0)
            return r;
        count_spikes(lambda, n, &f);
        f.distance = distance(lambda, f.num_bulk, (double)n_long / (double)n_short, f.sigma,
                              1 / (f.w_scale * f.w_scale));
    } else {
        r = robust(lambda, n, n_long, n_short, opt, &f, err);
        if (r < 0)
            return r;
        count_spikes(lambda, n, &f);
    }
    *out = f;
    return 0;
}
