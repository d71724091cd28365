/* allocate.c: see allocate.h: from a method to lines, and from lines to sparsities. */
#include "compute/allocate.h"

#include "compute/waterfill.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LAST_LAYER_MAX 0.8 /* uniform_plus */

/* What the methods share while they work. */
struct work {
    const struct allocate_unit *unit;
    size_t n, n_blocks;
    const struct allocate_options *opt;
    struct waterfill *line; /* n */
    double *own, *block;    /* metrics: of n tensors, of n_blocks */
    double *part;           /* n_blocks: scratch */
    struct allocate_info *info;
};

/* --- metrics --------------------------------------------------------------------------------- */

/* (q - min) / (max - min); NaN stays, without spread 0.5. False when there is no spread. */
static bool normalise(double *q, size_t n)
{
    double min = INFINITY, max = -INFINITY;

    for (size_t i = 0; i < n; i++)
        if (!isnan(q[i])) {
            min = q[i] < min ? q[i] : min;
            max = q[i] > max ? q[i] : max;
        }
    for (size_t i = 0; i < n; i++)
        if (!isnan(q[i]))
            q[i] = max > min ? (q[i] - min) / (max - min) : 0.5;
    return max > min;
}

/* Means over the tensors of each block that have a metric; NaN where none has. */
static void block_means(struct work *w, const double *q, bool weighted, double *mean)
{
    memset(w->part, 0, w->n_blocks * sizeof *w->part);
    memset(mean, 0, w->n_blocks * sizeof *mean);
    for (size_t i = 0; i < w->n; i++)
        if (!isnan(q[i])) {
            double weight = weighted ? w->unit[i].weights : 1;

            mean[w->unit[i].block] += weight * q[i];
            w->part[w->unit[i].block] += weight;
        }
    for (size_t b = 0; b < w->n_blocks; b++)
        mean[b] = w->part[b] > 0 ? mean[b] / w->part[b] : NAN;
}

/* A tensor that nothing is known of keeps the target. */
static void assign_target(struct work *w, size_t i)
{
    w->line[i].a = w->opt->sparsity;
    w->line[i].b = 0;
    w->info->n_assigned++;
}

/* --- alphapruning ---------------------------------------------------------------------------- */

static double in_direction(const struct work *w, double q)
{
    return w->opt->low_rank ? 1 - q : q;
}

static void one_map(struct work *w, const double *q, bool by_block)
{
    double eps = w->opt->epsilon;

    for (size_t i = 0; i < w->n; i++) {
        double at = in_direction(w, q[by_block ? w->unit[i].block : i]);

        if (isnan(at)) {
            assign_target(w, i);
        } else if (w->opt->additive) {
            w->line[i].a = w->opt->sparsity - eps + 2 * eps * at;
            w->line[i].b = 1;
        } else {
            w->line[i].b = 1 - eps + 2 * eps * at;
        }
    }
}

/* Metrics of each block's tensors, normalised within the block; 0.5 for those without. */
static void normalise_inside(struct work *w, double *q)
{
    double *min = w->part, *max = w->block;

    for (size_t b = 0; b < w->n_blocks; b++) {
        min[b] = INFINITY;
        max[b] = -INFINITY;
    }
    for (size_t i = 0; i < w->n; i++) {
        size_t b = w->unit[i].block;

        min[b] = q[i] < min[b] ? q[i] : min[b]; /* NaN is not */
        max[b] = q[i] > max[b] ? q[i] : max[b];
    }
    for (size_t i = 0; i < w->n; i++) {
        size_t b = w->unit[i].block;

        q[i] = max[b] > min[b] && !isnan(q[i]) ? (q[i] - min[b]) / (max[b] - min[b]) : 0.5;
    }
}

/* The block's line times (or plus) a profile inside the block with weighted mean 1 (or 0). */
static void inner_map(struct work *w, double *q)
{
    double eps = w->opt->inner_epsilon;
    bool additive = w->opt->additive;
    double *mean = w->block;

    normalise_inside(w, q);
    for (size_t i = 0; i < w->n; i++)
        q[i] = (additive ? 0 : 1) - eps + 2 * eps * in_direction(w, q[i]);
    block_means(w, q, true, mean);
    for (size_t i = 0; i < w->n; i++) {
        double m = mean[w->unit[i].block];

        if (w->line[i].b == 0)
            continue;
        if (additive)
            w->line[i].a += q[i] - m;
        else
            w->line[i].b *= m > 0 ? q[i] / m : 1;
    }
}

static void alphapruning(struct work *w)
{
    bool by_block = w->opt->mapping != ALLOCATE_PER_MATRIX;

    if (by_block)
        block_means(w, w->own, false, w->block);
    w->info->no_spread = !normalise(by_block ? w->block : w->own, by_block ? w->n_blocks : w->n);
    one_map(w, by_block ? w->block : w->own, by_block);
    if (w->opt->mapping == ALLOCATE_MIXED)
        inner_map(w, w->own);
}

/* --- the others ------------------------------------------------------------------------------ */

static double mean_known(const double *x, size_t n)
{
    double sum = 0;
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        if (!isnan(x[i])) {
            sum += x[i];
            count++;
        }
    return count ? sum / (double)count : 0;
}

/* owl: what has more outliers stays denser; dlp: what has a smaller score. */
static void outliers(struct work *w, bool reversed)
{
    double mean;

    block_means(w, w->own, true, w->block);
    w->info->no_spread = !normalise(w->block, w->n_blocks);
    for (size_t b = 0; b < w->n_blocks; b++)
        w->block[b] = w->opt->width * (reversed ? 1 - w->block[b] : w->block[b]);
    mean = mean_known(w->block, w->n_blocks);
    for (size_t i = 0; i < w->n; i++) {
        double x = w->block[w->unit[i].block];

        if (isnan(x)) {
            assign_target(w, i);
        } else {
            w->line[i].a = w->opt->sparsity - x + mean;
            w->line[i].b = 1;
        }
    }
}

double allocate_beta_max(double sparsity, size_t n_blocks)
{
    return n_blocks < 2 ? 0 : 2 * fmin(sparsity, 1 - sparsity) / (double)(n_blocks - 1);
}

static void atp(struct work *w)
{
    double middle = ((double)w->n_blocks - 1) / 2, beta = w->opt->beta;

    if (isnan(beta))
        beta = allocate_beta_max(w->opt->sparsity, w->n_blocks) / 2;
    w->info->beta = beta;
    for (size_t i = 0; i < w->n; i++) {
        w->line[i].a = w->opt->sparsity + beta * ((double)w->unit[i].block - middle);
        w->line[i].b = 1;
    }
}

static void uniform_plus(struct work *w)
{
    struct waterfill *last = &w->line[w->n - 1];

    last->high = fmax(last->low, fmin(last->high, LAST_LAYER_MAX));
    for (size_t i = 0; i < w->n; i++)
        if (w->unit[i].k_h > 0) {
            w->line[i].high = w->line[i].low;
            break;
        }
}

/* Lines of the density here: what is kept. */
static void erdos_renyi(struct work *w, bool kernel)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct allocate_unit *u = &w->unit[i];
        double in = (double)u->n_in, out = (double)u->n_out, sum = in + out, product = in * out;
        double low = w->line[i].low;

        if (kernel && u->k_h > 0) {
            sum += (double)u->k_h + (double)u->k_w;
            product *= (double)u->k_h * (double)u->k_w;
        }
        w->line[i].b = sum / product;
        w->line[i].low = 1 - w->line[i].high;
        w->line[i].high = 1 - low;
    }
}

static void draw_lines(struct work *w)
{
    for (size_t i = 0; i < w->n; i++)
        w->line[i] = (struct waterfill){
            .weight = w->unit[i].weights, .b = 1, .low = w->unit[i].min, .high = w->unit[i].max};
    switch (w->opt->method) {
    case ALLOCATE_ALPHAPRUNING:
        alphapruning(w);
        break;
    case ALLOCATE_OWL:
    case ALLOCATE_DLP:
        outliers(w, w->opt->method == ALLOCATE_DLP);
        break;
    case ALLOCATE_ATP:
        atp(w);
        break;
    case ALLOCATE_UNIFORM_PLUS:
        uniform_plus(w);
        break;
    case ALLOCATE_ER:
    case ALLOCATE_ERK:
        erdos_renyi(w, w->opt->method == ALLOCATE_ERK);
        break;
    case ALLOCATE_UNIFORM:
    case ALLOCATE_GLOBAL_MAGNITUDE:
    case ALLOCATE_LAMP:
    case ALLOCATE_METHOD_COUNT:
        break;
    }
}

/* --- checks ---------------------------------------------------------------------------------- */

static bool share(double x)
{
    return x >= 0 && x <= 1;
}

static bool needs_shape(enum allocate_method m)
{
    return m == ALLOCATE_ER || m == ALLOCATE_ERK;
}

static int check(const struct allocate_unit *unit, size_t n, const struct allocate_options *opt,
                 struct err *err)
{
    if (n == 0)
        return err_set(err, ERR_INVALID, "there is no tensor to plan for");
    if ((unsigned)opt->method >= ALLOCATE_GLOBAL_MAGNITUDE || !share(opt->sparsity) ||
        !share(opt->epsilon) || !share(opt->inner_epsilon) || !share(opt->width) ||
        (!isnan(opt->beta) && !share(opt->beta)))
        return err_set(err, ERR_INVALID, "an option is out of its range");
    for (size_t i = 0; i < n; i++) {
        const struct allocate_unit *u = &unit[i];

        if (!(u->weights >= 1) || isinf(u->weights) || isinf(u->metric) || u->block >= n ||
            !share(u->min) || !share(u->max) || u->min > u->max ||
            (needs_shape(opt->method) && (u->n_in == 0 || u->n_out == 0)))
            return err_set(err, ERR_INVALID, "tensor %zu is out of range", i);
    }
    return 0;
}

static int solve(struct work *w, double *sparsity, struct err *err)
{
    bool density = needs_shape(w->opt->method);
    double s = w->opt->sparsity;
    int r;

    waterfill_range(w->line, w->n, &w->info->least, &w->info->most);
    if (density) {
        double least = 1 - w->info->most;

        w->info->most = 1 - w->info->least;
        w->info->least = least;
    }
    r = waterfill(w->line, w->n, density ? 1 - s : s, sparsity, &w->info->t, err);
    if (r == ERR_LIMIT)
        return err_set(err, ERR_LIMIT,
                       "a sparsity of %.6g cannot be met within the limits of the tensors: from "
                       "%.6g to %.6g can",
                       s, w->info->least, w->info->most);
    for (size_t i = 0; r == 0 && density && i < w->n; i++)
        sparsity[i] = 1 - sparsity[i];
    return r;
}

int allocate(const struct allocate_unit *unit, size_t n, const struct allocate_options *opt,
             double *sparsity, struct allocate_info *out, struct err *err)
{
    struct work w = {.unit = unit, .n = n, .opt = opt, .info = out};
    int r = check(unit, n, opt, err);

    if (r < 0)
        return r;
    *out = (struct allocate_info){.beta = NAN};
    for (size_t i = 0; i < n; i++) {
        w.n_blocks = unit[i].block + 1 > w.n_blocks ? unit[i].block + 1 : w.n_blocks;
        out->n_missing += isnan(unit[i].metric) ? 1 : 0;
    }
    w.line = malloc(n * sizeof *w.line);
    w.own = malloc((n + 2 * w.n_blocks) * sizeof *w.own);
    if (!w.line || !w.own) {
        r = err_set(err, ERR_NOMEM, "no memory for %zu tensors", n);
    } else {
        w.block = w.own + n;
        w.part = w.block + w.n_blocks;
        for (size_t i = 0; i < n; i++)
            w.own[i] = unit[i].metric;
        draw_lines(&w);
        r = solve(&w, sparsity, err);
    }
    free(w.line);
    free(w.own);
    return r;
}
