/* trim.c: see trim.h. Single precision where upstream has it: the sparsities themselves and the
 * product with the number of columns, which is cut off. */
#include "compute/trim.h"

#include "compute/trim_walk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON_NORM  1e-8
#define EPSILON_RANGE 1e-6
#define EPSILON_NOISE 1e-10

static const double up[] = {0.01, 0.02, 0.04, 0.08, 0.12, 0.16};
static const double down[] = {-0.01, -0.02, -0.04};

struct search {
    const struct trim_options *opt;
    struct trim_walk *walk;
    size_t rows, cols, tokens; /* tokens: 1 with a Gram matrix */
    float *x, *best_x;         /* rows: of one learning rate */
    double *row;               /* rows: the row metric */
    double peak;               /* largest y^2 */
};

/* --- measures -------------------------------------------------------------------------------- */

static double cosine(double a, double b, double c)
{
    double cos = b / ((sqrt(a) + EPSILON_NORM) * (sqrt(fmax(c, 0)) + EPSILON_NORM));

    return fmin(fmax(cos, -1), 1);
}

static double decibel(double signal, double noise)
{
    return 10 * log10(signal / (noise + EPSILON_NOISE));
}

static double row_metric(const struct search *s, size_t i, double a, double b, double c)
{
    double error = fmax(a - 2 * b + c, 0) / (double)s->tokens;

    switch (s->opt->row_metric) {
    case TRIM_ROW_MSE:
        return -error;
    case TRIM_ROW_PSNR:
        return decibel(trim_walk_peak(s->walk, i), error);
    default:
        return cosine(a, b, c);
    }
}

/* What the layer's metrics need of all rows. */
struct sums {
    double a, b, c, cosines, psnr;
};

static double layer_metric(const struct search *s, const struct sums *t)
{
    double n = (double)s->rows, outputs = n * (double)s->tokens;
    double error = fmax(t->a - 2 * t->b + t->c, 0) / outputs;

    switch (s->opt->metric) {
    case TRIM_COSINE_ROWS:
        return t->cosines / n;
    case TRIM_MSE:
        return -error;
    case TRIM_SNR:
        return decibel(t->a / outputs, error);
    case TRIM_PSNR_FLAT:
        return decibel(s->peak, error);
    case TRIM_PSNR_ROWS:
        return t->psnr / n;
    default:
        return cosine(t->a, t->b, t->c);
    }
}

static size_t count_of(size_t cols, float sparsity)
{
    float k = (float)cols * sparsity;

    if (k < 1)
        return 0;
    return k >= (float)cols ? cols : (size_t)k;
}

/* The layer's metric, and every row's into s->row. */
static double measure(const struct search *s, const float *sparsity)
{
    struct sums t = {0};

    for (size_t i = 0; i < s->rows; i++) {
        double a = trim_walk_power(s->walk, i), b, c;

        trim_walk_to(s->walk, i, count_of(s->cols, sparsity[i]), &b, &c);
        s->row[i] = row_metric(s, i, a, b, c);
        t.a += a;
        t.b += b;
        t.c += c;
        t.cosines += cosine(a, b, c);
        if (s->opt->metric == TRIM_PSNR_ROWS)
            t.psnr +=
                decibel(trim_walk_peak(s->walk, i), fmax(a - 2 * b + c, 0) / (double)s->tokens);
    }
    return layer_metric(s, &t);
}

static double variance(const double *v, size_t n)
{
    double mean = 0, sum = 0;

    for (size_t i = 0; i < n; i++)
        mean += v[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        sum += (v[i] - mean) * (v[i] - mean);
    return n > 1 ? sum / (double)(n - 1) : 0;
}

/* --- the search ------------------------------------------------------------------------------ */

static void fill(float *x, size_t n, double value)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)value;
}

/* Back to the mean that is wanted, after cutting off. */
static void recentre(float *x, size_t n, double target)
{
    double mean = 0;

    for (size_t i = 0; i < n; i++) {
        x[i] = fminf(fmaxf(x[i], 0), (float)TRIM_MAX);
        mean += (double)x[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] - (float)mean + (float)target;
}

/* One step: rows that are good get sparser when the rate is positive. */
static void move(const struct search *s, double rate)
{
    double min = INFINITY, max = -INFINITY, mean = 0, scale;

    for (size_t i = 0; i < s->rows; i++) {
        min = fmin(min, s->row[i]);
        max = fmax(max, s->row[i]);
    }
    scale = 2 * rate / (max - min + EPSILON_RANGE);
    for (size_t i = 0; i < s->rows; i++)
        mean += scale * (s->row[i] - min) / (double)s->rows;
    for (size_t i = 0; i < s->rows; i++)
        s->x[i] = (float)((double)s->x[i] + scale * (s->row[i] - min) - mean);
    recentre(s->x, s->rows, s->opt->target);
}

/* All steps of one rate, from the uniform point: the best of them, into s->best_x. */
static double try_rate(const struct search *s, double rate, double uniform, unsigned *iteration)
{
    double best = uniform;

    fill(s->x, s->rows, s->opt->target);
    fill(s->best_x, s->rows, s->opt->target);
    (void)measure(s, s->x);
    for (unsigned i = 0; i < TRIM_ITERATIONS; i++) {
        double m;

        move(s, rate);
        m = measure(s, s->x);
        if (m > best) {
            best = m;
            *iteration = i;
            memcpy(s->best_x, s->x, s->rows * sizeof *s->x);
        }
    }
    return best;
}

static void try_rates(const struct search *s, const double *rate, size_t n, float *sparsity,
                      struct trim_result *out)
{
    double last = -INFINITY;

    for (size_t i = 0; i < n; i++) {
        unsigned iteration = 0;
        double m = try_rate(s, rate[i], out->uniform, &iteration);

        if (m > out->best) {
            out->best = m;
            out->rate = rate[i];
            out->iteration = iteration;
            memcpy(sparsity, s->best_x, s->rows * sizeof *sparsity);
        }
        if (!(m > last))
            break;
        last = m;
    }
}

static void run(const struct search *s, float *sparsity, struct trim_result *out)
{
    fill(sparsity, s->rows, s->opt->target);
    *out = (struct trim_result){.uniform = measure(s, sparsity)};
    out->best = out->uniform;
    out->spread_uniform = variance(s->row, s->rows);
    try_rates(s, up, ARRAY_LEN(up), sparsity, out);
    if (out->rate == 0 && !s->opt->no_negative)
        try_rates(s, down, ARRAY_LEN(down), sparsity, out);
    recentre(sparsity, s->rows, s->opt->target);
    (void)measure(s, sparsity);
    out->spread = variance(s->row, s->rows);
}

static int check(const struct trim_input *in, const struct trim_options *opt, struct err *err)
{
    bool psnr = opt->metric == TRIM_PSNR_FLAT || opt->metric == TRIM_PSNR_ROWS ||
                opt->row_metric == TRIM_ROW_PSNR;

    ASSERT(in->rows > 0 && in->cols > 0 && !in->x != !in->gram && (!in->x || in->tokens > 0));
    if (!(opt->target > 0 && opt->target <= TRIM_MAX))
        return err_set(err, ERR_INVALID, "TRIM needs a sparsity above 0, and at most %g", TRIM_MAX);
    if (psnr && in->gram)
        return err_set(err, ERR_INVALID, "a peak signal-to-noise ratio needs inputs of tokens");
    return 0;
}

int trim(const struct trim_input *in, const struct trim_options *opt, float *sparsity,
         struct trim_result *out, struct err *err)
{
    AUTO(trim_walk_freep) struct trim_walk *walk = NULL;
    AUTO(freep) float *x = NULL;
    AUTO(freep) double *row = NULL;
    struct search s;
    int r = check(in, opt, err);

    if (r == 0)
        r = trim_walk_new(in, count_of(in->cols, (float)opt->target), &walk, err);
    if (r < 0)
        return r;
    x = malloc(2 * in->rows * sizeof *x);
    row = malloc(in->rows * sizeof *row);
    if (!x || !row)
        return err_set(err, ERR_NOMEM, "no memory for %zu rows", in->rows);
    s = (struct search){opt, walk,         in->rows, in->cols, in->x ? in->tokens : 1,
                        x,   x + in->rows, row,      0};
    for (size_t i = 0; i < in->rows; i++)
        s.peak = fmax(s.peak, trim_walk_peak(walk, i));
    run(&s, sparsity, out);
    return trim_walk_failed(walk, err);
}
