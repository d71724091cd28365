/* simpson.c: see simpson.h. */
#include "compute/simpson.h"

#include "compute/random.h"
#include "compute/rank_correlation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sums of products about the means. */
struct sums {
    double mean_x, mean_y, xx, xy, yy;
    bool flat_x, flat_y; /* all values equal: sums need not round to 0 */
};

static struct sums sum_up(const double *x, const double *y, size_t n)
{
    struct sums s = {.flat_x = true, .flat_y = true};

    for (size_t i = 0; i < n; i++) {
        s.mean_x += x[i];
        s.mean_y += y[i];
        s.flat_x = s.flat_x && x[i] == x[0];
        s.flat_y = s.flat_y && y[i] == y[0];
    }
    s.mean_x /= (double)n;
    s.mean_y /= (double)n;
    for (size_t i = 0; i < n; i++) {
        double dx = x[i] - s.mean_x, dy = y[i] - s.mean_y;

        s.xx += dx * dx;
        s.xy += dx * dy;
        s.yy += dy * dy;
    }
    s.flat_x = s.flat_x || s.xx == 0; /* differences whose squares are too small for a double */
    s.flat_y = s.flat_y || s.yy == 0;
    if (s.flat_x)
        s.xx = s.xy = 0;
    if (s.flat_y)
        s.yy = s.xy = 0;
    return s;
}

static double slope_of(const struct sums *s)
{
    return s->flat_x ? NAN : s->xy / s->xx;
}

static void fit_line(const struct sums *s, const double *x, const double *y, size_t n,
                     struct simpson_fit *f)
{
    double left = 0;

    if (s->flat_x)
        return;
    f->slope = slope_of(s);
    f->intercept = s->mean_y - f->slope * s->mean_x;
    for (size_t i = 0; i < n; i++) {
        double r = (y[i] - s->mean_y) - f->slope * (x[i] - s->mean_x);

        left += r * r;
    }
    f->rmse = sqrt(left / (double)n);
    f->r2 = s->flat_y ? NAN : fmax(0, 1 - left / s->yy);
}

/* --- permutations of ranks ------------------------------------------------------------------- */

struct ranked {
    double value;
    size_t at;
};

static int by_value(const void *a, const void *b)
{
    const struct ranked *p = a, *q = b;

    return (p->value > q->value) - (p->value < q->value);
}

/* Twice the mean rank, about its mean: whole numbers, so that sums of products are exact. */
static void centred_ranks(const double *v, size_t n, struct ranked *scratch, double *rank)
{
    for (size_t i = 0; i < n; i++)
        scratch[i] = (struct ranked){v[i], i};
    qsort(scratch, n, sizeof *scratch, by_value);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && scratch[end].value == scratch[i].value;)
            end++;
        for (size_t j = i; j < end; j++)
            rank[scratch[j].at] = (double)(i + end - 1) - (double)(n - 1);
    }
}

static double product(const double *a, const double *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Every order of b, each from the one before by one exchange (Heap, Comput. J. 6, 1963). */
static void look_at_all(const double *a, double *b, size_t n, struct simpson_fit *f)
{
    size_t turn[SIMPSON_EXACT_MAX] = {0}, i = 1;
    double sum = product(a, b, n), far = fabs(sum);
    uint64_t hits = 1, all = 1;

    while (i < n)
        if (turn[i] < i) {
            size_t j = i % 2 ? turn[i] : 0;
            double of_j = b[j];

            sum += (a[j] - a[i]) * (b[i] - b[j]);
            b[j] = b[i];
            b[i] = of_j;
            hits += fabs(sum) >= far;
            all++;
            turn[i]++;
            i = 1;
        } else {
            turn[i++] = 0;
        }
    f->p = (double)hits / (double)all;
    f->replicates = all;
    f->exact = true;
}

static void look_at_some(const double *a, double *b, size_t n, uint64_t replicates,
                         struct random *random, struct simpson_fit *f)
{
    double far = fabs(product(a, b, n));
    uint64_t hits = 0;

    for (uint64_t k = 0; k < replicates; k++) {
        random_shuffle(random, b, n, sizeof *b);
        hits += fabs(product(a, b, n)) >= far;
    }
    f->replicates = replicates;
    if (replicates)
        f->p = (double)(1 + hits) / (double)(1 + replicates);
}

static void permute(const double *x, const double *y, size_t n,
                    const struct simpson_options *options, uint64_t stream, double *scratch,
                    struct ranked *order, struct simpson_fit *f)
{
    struct random random;
    double *a = scratch, *b = scratch + n;

    centred_ranks(x, n, order, a);
    centred_ranks(y, n, order, b);
    if (n <= SIMPSON_EXACT_MAX) {
        look_at_all(a, b, n, f);
        return;
    }
    random_init(&random, options->seed, stream);
    look_at_some(a, b, n, options->replicates, &random, f);
}

/* --- fits ------------------------------------------------------------------------------------ */

struct room {
    double *x, *y; /* rows, ordered by group */
    size_t *first; /* of each group, and the end */
    double *ranks; /* 2 n */
    struct ranked *order;
    double *mean_x, *mean_y; /* of the groups that count */
};

static void room_done(struct room *r)
{
    free(r->x);
    free(r->y);
    free(r->first);
    free(r->ranks);
    free(r->order);
    free(r->mean_x);
    free(r->mean_y);
}

static int room_make(struct room *r, size_t n, size_t n_groups, struct err *err)
{
    r->x = calloc(n + 1, sizeof *r->x);
    r->y = calloc(n + 1, sizeof *r->y);
    r->first = calloc(n_groups + 2, sizeof *r->first);
    r->ranks = calloc(2 * n + 1, sizeof *r->ranks);
    r->order = calloc(n + 1, sizeof *r->order);
    r->mean_x = calloc(n_groups + 1, sizeof *r->mean_x);
    r->mean_y = calloc(n_groups + 1, sizeof *r->mean_y);
    if (!r->x || !r->y || !r->first || !r->ranks || !r->order || !r->mean_x || !r->mean_y)
        return err_set(err, ERR_NOMEM, "no memory for %zu rows", n);
    return 0;
}

/* Stable. While rows are placed, first[g + 1] is where the next row of group g goes; at the end it
 * is where the group ends and the next one starts. */
static void sort_by_group(struct room *r, const double *x, const double *y, const size_t *group,
                          size_t n, size_t n_groups)
{
    for (size_t i = 0; i < n; i++)
        r->first[group[i] + 2]++;
    for (size_t g = 2; g <= n_groups + 1; g++)
        r->first[g] += r->first[g - 1];
    for (size_t i = 0; i < n; i++) {
        size_t at = r->first[group[i] + 1]++;

        r->x[at] = x[i];
        r->y[at] = y[i];
    }
}

static int fit_rows(const struct room *r, size_t first, size_t n,
                    const struct simpson_options *options, uint64_t stream, struct sums *s,
                    struct simpson_fit *out, struct err *err)
{
    struct simpson_fit f = {n, NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0, false};
    const double *x = r->x + first, *y = r->y + first;
    struct rank_correlation c;
    int e = 0;

    *s = sum_up(x, y, n);
    if (n >= SIMPSON_GROUP_MIN) {
        fit_line(s, x, y, n, &f);
        e = rank_correlation(x, y, n, &c, err);
        if (e < 0)
            return e;
        f.kendall = c.kendall;
        f.spearman = c.spearman;
        if (!isnan(f.spearman))
            permute(x, y, n, options, stream, r->ranks, r->order, &f);
    }
    *out = f;
    return e;
}

/* --- what they say together ------------------------------------------------------------------ */

static int sign(double v)
{
    return (v > 0) - (v < 0);
}

static void judge(struct simpson *s, const struct simpson_fit *fits, size_t n_groups)
{
    int within = sign(s->within_slope), pooled = sign(s->pooled.slope);

    for (size_t g = 0; g < n_groups; g++)
        s->agreeing += within != 0 && sign(fits[g].slope) == within;
    s->opposite = within * pooled < 0;
    s->enough_groups = s->sloped >= 2;
    s->pooled_clear = fabs(s->pooled.kendall) >= SIMPSON_TAU_MIN;
    s->within_clear = fabs(s->within_kendall) >= SIMPSON_TAU_MIN;
    s->groups_agree = s->sloped > 0 && 3 * s->agreeing >= 2 * s->sloped;
    s->paradox =
        s->opposite && s->enough_groups && s->pooled_clear && s->within_clear && s->groups_agree;
}

static int fit_groups(const struct room *r, size_t n_groups, const struct simpson_options *options,
                      struct simpson_fit *fits, struct simpson *out, struct err *err)
{
    double xx = 0, xy = 0, tau = 0, rows = 0;
    struct sums s;

    for (size_t g = 0; g < n_groups; g++) {
        size_t first = r->first[g], n = r->first[g + 1] - first;
        int e = fit_rows(r, first, n, options, 1 + (uint64_t)g, &s, &fits[g], err);

        if (e < 0)
            return e;
        if (n < SIMPSON_GROUP_MIN)
            continue;
        r->mean_x[out->groups] = s.mean_x;
        r->mean_y[out->groups++] = s.mean_y;
        out->sloped += !s.flat_x;
        xx += s.xx;
        xy += s.xy;
        if (!isnan(fits[g].kendall)) {
            tau += (double)n * fits[g].kendall;
            rows += (double)n;
        }
    }
    s = sum_up(r->mean_x, r->mean_y, out->groups);
    out->between_slope = out->groups >= 2 ? slope_of(&s) : NAN;
    out->within_slope = out->sloped ? xy / xx : NAN;
    out->within_kendall = rows > 0 ? tau / rows : NAN;
    return 0;
}

static int check(const double *x, const double *y, const size_t *group, size_t n, size_t n_groups,
                 const struct simpson_options *options, struct err *err)
{
    if (options->replicates > SIMPSON_REPLICATES_MAX)
        return err_set(err, ERR_INVALID, "more than %d replicates", SIMPSON_REPLICATES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(x[i]) <= SIMPSON_VALUE_MAX) || !(fabs(y[i]) <= SIMPSON_VALUE_MAX))
            return err_set(err, ERR_INVALID, "row %zu: a value is not within %g of 0", i,
                           SIMPSON_VALUE_MAX);
        if (group[i] >= n_groups)
            return err_set(err, ERR_INVALID, "row %zu: there is no group %zu", i, group[i]);
    }
    return 0;
}

int simpson_analyse(const double *x, const double *y, const size_t *group, size_t n,
                    size_t n_groups, const struct simpson_options *options,
                    struct simpson_fit *fits, struct simpson *out, struct err *err)
{
    AUTO(room_done) struct room r = {.x = NULL};
    AUTO(freep) struct simpson_fit *of_group = calloc(n_groups + 1, sizeof *of_group);
    struct simpson s = {.groups = 0};
    struct sums all;
    int e = check(x, y, group, n, n_groups, options, err);

    if (e == 0)
        e = of_group ? room_make(&r, n, n_groups, err) : err_set(err, ERR_NOMEM, "no memory");
    if (e < 0)
        return e;
    sort_by_group(&r, x, y, group, n, n_groups);
    e = fit_rows(&r, 0, n, options, 0, &all, &s.pooled, err);
    if (e == 0)
        e = fit_groups(&r, n_groups, options, of_group, &s, err);
    if (e < 0)
        return e;
    judge(&s, of_group, n_groups);
    memcpy(fits, of_group, n_groups * sizeof *fits);
    *out = s;
    return 0;
}

/* --- what is expected ------------------------------------------------------------------------ */

enum simpson_wrong simpson_wrong(const struct simpson *s, int expected)
{
    int pooled = sign(s->pooled.slope), within = sign(s->within_slope);

    if (expected == 0 || pooled == 0 || within == 0)
        return SIMPSON_UNKNOWN;
    if (pooled == expected)
        return within == expected ? SIMPSON_NEITHER : SIMPSON_WITHIN;
    return within == expected ? SIMPSON_POOLED : SIMPSON_BOTH;
}

const char *simpson_wrong_name(enum simpson_wrong w)
{
    static const char *const name[] = {NULL, "neither", "pooled", "within", "both"};

    return (size_t)w < ARRAY_LEN(name) ? name[w] : NULL;
}

int simpson_direction(const char *metric)
{
    static const char *const less[] = {"alpha",
                                       "raw_alpha",
                                       "alpha_mid",
                                       "alpha_peak",
                                       "farms_alpha",
                                       "mean_alpha",
                                       "D",
                                       "alpha_weighted",
                                       "alpha_hat",
                                       "alphahat",
                                       "log_norm",
                                       "norm",
                                       "log_spectral_norm",
                                       "spectral_norm",
                                       "lambda_max",
                                       "log10_lambda_max",
                                       "log_alpha_norm"};

    for (size_t i = 0; i < ARRAY_LEN(less); i++)
        if (strcmp(metric, less[i]) == 0)
            return -1;
    return strcmp(metric, "rand_distance") == 0 ? 1 : 0;
}
