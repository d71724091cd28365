/* schedule.c: see schedule.h. */
#include "compute/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCALE_STEPS 2200 /* doublings that cross the range of a double */

static const char *const map_names[] = {
    [SCHEDULE_LINEAR] = "linear", [SCHEDULE_SQRT] = "sqrt",       [SCHEDULE_LOG2] = "log2",
    [SCHEDULE_RANK] = "rank",     [SCHEDULE_SIGMOID] = "sigmoid", [SCHEDULE_ZSCORE] = "zscore",
};
_Static_assert(ARRAY_LEN(map_names) == SCHEDULE_MAP_COUNT, "a name for every map");

const char *schedule_map_name(enum schedule_map m)
{
    return map_names[m];
}

int schedule_map_from_name(const char *name)
{
    for (int m = 0; m < SCHEDULE_MAP_COUNT; m++)
        if (strcmp(map_names[m], name) == 0)
            return m;
    return -1;
}

/* --- exclusions ---------------------------------------------------------------------------- */

static bool in_domain(enum schedule_map map, double score)
{
    return map == SCHEDULE_SQRT ? score > 0 : map == SCHEDULE_LOG2 ? score > 1 : true;
}

void schedule_leave_out(const struct schedule_exclude *x, enum schedule_map map,
                        const double *score, const double *n_eigs, size_t n,
                        enum schedule_state *state)
{
    size_t first = 0, last = n;

    while (first < n && state[first] != SCHEDULE_IN)
        first++;
    while (last > first && state[last - 1] != SCHEDULE_IN)
        last--;
    if (x->first && first < last)
        state[first] = SCHEDULE_FIRST;
    if (x->last && last > first && state[last - 1] == SCHEDULE_IN)
        state[last - 1] = SCHEDULE_LAST;
    for (size_t i = first; i < last; i++) {
        if (state[i] != SCHEDULE_IN)
            continue;
        if (n_eigs[i] < x->min_eigs)
            state[i] = SCHEDULE_FEW_EIGS;
        else if (!isfinite(score[i]))
            state[i] = SCHEDULE_NONFINITE;
        else if (!in_domain(map, score[i]))
            state[i] = SCHEDULE_DOMAIN;
    }
}

/* --- the units ----------------------------------------------------------------------------- */

struct unit {
    double score, factor;
    double weight;  /* matrices in it */
    uint32_t block; /* that it is, or is in */
    size_t index;
};

struct units {
    struct unit *u; /* owned */
    size_t n;
    struct schedule_summary sum;
};

static void units_done(struct units *us)
{
    free(us->u);
}

static int units_check(const double *score, const uint32_t *block, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(score[i]))
            return err_set(err, ERR_INVALID, "a score is not finite");
        if (block && block[i] >= n)
            return err_set(err, ERR_INVALID, "a block's number is too large");
    }
    return 0;
}

/* Room for one unit a matrix, or a block. */
static int units_make(struct units *us, const uint32_t *block, bool blocks, size_t n,
                      struct err *err)
{
    us->n = blocks ? 0 : n;
    for (size_t i = 0; blocks && i < n; i++)
        if (block[i] >= us->n)
            us->n = block[i] + 1;
    us->u = calloc(us->n + 1, sizeof *us->u);
    if (!us->u)
        return err_set(err, ERR_NOMEM, "no memory for %zu units", us->n);
    return 0;
}

static int units_fill(struct units *us, const double *score, const uint32_t *block, bool blocks,
                      size_t n, struct err *err)
{
    int r = units_make(us, block, blocks, n, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct unit *u = &us->u[blocks ? block[i] : i];

        u->score += score[i];
        u->weight++;
        u->block = block ? block[i] : 0;
    }
    for (size_t i = 0; i < us->n; i++) {
        if (us->u[i].weight == 0)
            return err_set(err, ERR_INVALID, "block %zu has no matrix", i);
        us->u[i].score /= us->u[i].weight;
        us->u[i].index = i;
    }
    return 0;
}

/* Equal but for rounding. */
static bool is_one_value(double lo, double hi)
{
    return !(hi - lo > 1e-12 * fmax(fabs(lo), fabs(hi)));
}

static bool all_equal(const struct units *us)
{
    double lo = INFINITY, hi = -INFINITY;

    for (size_t i = 0; i < us->n; i++) {
        lo = fmin(lo, us->u[i].score);
        hi = fmax(hi, us->u[i].score);
    }
    return is_one_value(lo, hi);
}

static void summarise(struct units *us, size_t n)
{
    double n_units = (double)us->n, sum = 0, squares = 0;

    for (size_t i = 0; i < us->n; i++)
        sum += us->u[i].score;
    us->sum = (struct schedule_summary){.n_matrices = n,
                                        .n_units = us->n,
                                        .mean = n ? sum / n_units : NAN,
                                        .std = NAN,
                                        .degenerate = n > 0 && all_equal(us)};
    for (size_t i = 0; i < us->n; i++) {
        double d = us->u[i].score - us->sum.mean;

        squares += d * d;
    }
    if (n)
        us->sum.std = sqrt(squares / n_units);
}

/* --- the maps ------------------------------------------------------------------------------ */

/* numpy.interp, which upstream uses, gives the upper value where both ends are the same. */
static double linear(const struct schedule_rule *rule, double x, double lo, double hi)
{
    if (rule->reference ? !(hi > lo) : is_one_value(lo, hi))
        return rule->reference ? rule->s2 : 1;
    return rule->s1 + (rule->s2 - rule->s1) * ((x - lo) / (hi - lo));
}

static void map_linear(struct units *us, const struct schedule_rule *rule)
{
    double lo = INFINITY, hi = -INFINITY;

    for (size_t i = 0; i < us->n; i++) {
        lo = fmin(lo, us->u[i].score);
        hi = fmax(hi, us->u[i].score);
    }
    for (size_t i = 0; i < us->n; i++)
        us->u[i].factor = linear(rule, us->u[i].score, lo, hi);
}

static void map_mean_one(struct units *us, double (*fn)(double))
{
    double sum = 0;

    for (size_t i = 0; i < us->n; i++)
        sum += us->u[i].factor = fn(us->u[i].score);
    for (size_t i = 0; i < us->n; i++)
        us->u[i].factor *= (double)us->n / sum;
}

static int by_score(const void *a, const void *b)
{
    const struct unit *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int by_index(const void *a, const void *b)
{
    const struct unit *x = a, *y = b;

    return (x->index > y->index) - (x->index < y->index);
}

static void map_rank(struct units *us, const struct schedule_rule *rule)
{
    struct unit *u = us->u;

    if (us->n)
        qsort(u, us->n, sizeof *u, by_score);
    for (size_t i = 0; i < us->n; i++) {
        u[i].factor = rule->s1 + (rule->s2 - rule->s1) * (double)i / (double)us->n;
        if ((i > 0 && u[i - 1].score == u[i].score) ||
            (i + 1 < us->n && u[i + 1].score == u[i].score))
            us->sum.n_ties++;
    }
    if (us->n)
        qsort(u, us->n, sizeof *u, by_index);
}

static void map_sigmoid(struct units *us, const struct schedule_rule *rule)
{
    for (size_t i = 0; i < us->n; i++) {
        double d = us->u[i].score - us->sum.mean, c = d > 0 ? rule->up : rule->down;

        us->u[i].factor = pow(10, c * (1 / (1 + exp(-rule->tau * d)) - 0.5));
    }
}

/* --- inside blocks ------------------------------------------------------------------------- */

struct spread {
    double sum, squares, count, lo, hi;
};

/* Spread of the scores inside each block; owned by the caller, NULL without memory. */
static struct spread *block_spreads(const struct units *us)
{
    struct spread *b = calloc(us->n + 1, sizeof *b); /* no more blocks than matrices */

    if (!b)
        return NULL;
    for (size_t i = 0; i < us->n; i++)
        b[i] = (struct spread){.lo = INFINITY, .hi = -INFINITY};
    for (size_t i = 0; i < us->n; i++) {
        struct spread *in = &b[us->u[i].block];

        in->sum += us->u[i].score;
        in->count++;
        in->lo = fmin(in->lo, us->u[i].score);
        in->hi = fmax(in->hi, us->u[i].score);
    }
    for (size_t i = 0; i < us->n; i++) {
        struct spread *in = &b[us->u[i].block];
        double d = us->u[i].score - in->sum / in->count;

        in->squares += d * d;
    }
    return b;
}

/* Upstream adds 1e-8 to the deviation, so that nothing is divided by 0. */
static int map_zscore(struct units *us, const struct schedule_rule *rule, struct err *err)
{
    AUTO(freep) void *memory = block_spreads(us);
    const struct spread *spread = memory;

    if (!spread)
        return err_set(err, ERR_NOMEM, "no memory for %zu blocks", us->n);
    for (size_t i = 0; i < us->n; i++) {
        struct unit *u = &us->u[i];
        const struct spread *in = &spread[u->block];
        double std = sqrt(in->squares / in->count) + (rule->reference ? 1e-8 : 0), z = 0;

        if (!is_one_value(in->lo, in->hi) || rule->reference)
            z = (u->score - in->sum / in->count) / std;
        u->factor = 2 / (1 + exp(-rule->tau * z));
    }
    return 0;
}

/* `us`: every matrix, with the factor of its block. */
static int map_within(struct units *us, const struct schedule_rule *rule, struct err *err)
{
    AUTO(freep) void *memory = block_spreads(us);
    const struct spread *spread = memory;

    if (!spread)
        return err_set(err, ERR_NOMEM, "no memory for %zu blocks", us->n);
    for (size_t i = 0; i < us->n; i++) {
        struct unit *u = &us->u[i];

        u->factor *= linear(rule, u->score, spread[u->block].lo, spread[u->block].hi);
    }
    return 0;
}

/* --- all of them --------------------------------------------------------------------------- */

static int map_units(struct units *us, const struct schedule_rule *rule, struct err *err)
{
    switch (us->sum.degenerate && !rule->reference ? SCHEDULE_MAP_COUNT : rule->map) {
    case SCHEDULE_LINEAR:
        map_linear(us, rule);
        break;
    case SCHEDULE_SQRT:
        map_mean_one(us, sqrt);
        break;
    case SCHEDULE_LOG2:
        map_mean_one(us, log2);
        break;
    case SCHEDULE_RANK:
        map_rank(us, rule);
        break;
    case SCHEDULE_SIGMOID:
        map_sigmoid(us, rule);
        break;
    case SCHEDULE_ZSCORE:
        return map_zscore(us, rule, err);
    case SCHEDULE_MAP_COUNT:
        for (size_t i = 0; i < us->n; i++)
            us->u[i].factor = 1;
    }
    return 0;
}

/* --- mean and bounds ----------------------------------------------------------------------- */

static double bounded(const struct schedule_rule *rule, double x)
{
    return fmin(fmax(x, rule->min), rule->max);
}

/* Mean factor when all are scaled by t and bounded; over matrices, or over units. */
static double mean_at(const struct units *us, const struct schedule_rule *rule, double t)
{
    double sum = 0, weights = 0;

    for (size_t i = 0; i < us->n; i++) {
        double w = rule->normalize ? us->u[i].weight : 1;

        sum += w * bounded(rule, t * us->u[i].factor);
        weights += w;
    }
    return sum / weights;
}

/* Scale so that the bounded factors have mean 1. mean_at() grows with t. */
static int scale_to_one(struct units *us, const struct schedule_rule *rule, struct err *err)
{
    double lo = 1, hi = 1, t;

    for (int i = 0; i < SCALE_STEPS && mean_at(us, rule, lo) > 1; i++)
        lo /= 2;
    for (int i = 0; i < SCALE_STEPS && mean_at(us, rule, hi) < 1; i++)
        hi *= 2;
    if (!isfinite(hi) || !(mean_at(us, rule, lo) <= 1) || !(mean_at(us, rule, hi) >= 1))
        return err_set(err, ERR_NUMERIC, "no factors between %g and %g have mean 1", rule->min,
                       rule->max);
    for (int i = 0; i < 200 && lo < hi; i++) {
        t = lo + (hi - lo) / 2;
        if (t <= lo || t >= hi)
            break;
        if (mean_at(us, rule, t) < 1)
            lo = t;
        else
            hi = t;
    }
    for (size_t i = 0; i < us->n; i++)
        us->u[i].factor *= hi;
    return 0;
}

static int finish(struct units *us, const struct schedule_rule *rule, struct err *err)
{
    bool by_map = rule->map == SCHEDULE_SQRT || rule->map == SCHEDULE_LOG2;
    bool mean_one = rule->normalize || (by_map && rule->unit <= SCHEDULE_BLOCK);
    bool within = true;
    int r = 0;

    for (size_t i = 0; i < us->n; i++)
        within = within && bounded(rule, us->u[i].factor) == us->u[i].factor;
    if (us->n && mean_one && (rule->normalize || !within))
        r = scale_to_one(us, rule, err);
    for (size_t i = 0; i < us->n; i++) {
        double f = bounded(rule, us->u[i].factor);

        us->sum.n_bounded += f != us->u[i].factor;
        us->u[i].factor = f;
    }
    return r;
}

static bool is_factor(double x)
{
    return x >= 0 && isfinite(x);
}

static int check_rule(const struct schedule_rule *r, struct err *err)
{
    if ((r->map == SCHEDULE_LINEAR || r->map == SCHEDULE_RANK ||
         r->unit == SCHEDULE_WITHIN_BLOCK) &&
        (!is_factor(r->s1) || !is_factor(r->s2)))
        return err_set(err, ERR_INVALID, "s1 and s2 must be finite numbers from 0");
    if (r->map == SCHEDULE_SIGMOID &&
        (!is_factor(r->down) || !is_factor(r->up) || !is_factor(r->tau)))
        return err_set(err, ERR_INVALID,
                       "sigmoid_min, sigmoid_max and tau must be finite numbers from 0");
    if (r->map == SCHEDULE_ZSCORE && (!is_factor(r->tau) || r->unit != SCHEDULE_MATRIX))
        return err_set(err, ERR_INVALID, "zscore needs a finite tau from 0, and single matrices");
    if (r->unit == SCHEDULE_WINDOW && !is_factor(r->window_scale))
        return err_set(err, ERR_INVALID, "the window's scale must be a finite number from 0");
    if (!is_factor(r->min) || !(r->max >= r->min))
        return err_set(err, ERR_INVALID, "the smallest factor is above the largest");
    return 0;
}

static int check_domain(const struct units *us, const struct schedule_rule *rule, struct err *err)
{
    for (size_t i = 0; i < us->n; i++)
        if (!in_domain(rule->map, us->u[i].score))
            return err_set(err, ERR_INVALID, "%s needs scores above %d",
                           schedule_map_name(rule->map), rule->map == SCHEDULE_LOG2);
    return 0;
}

static int slide_window(struct units *us, const struct schedule_rule *rule, struct err *err)
{
    if (rule->window >= us->n)
        return err_set(err, ERR_INVALID, "there are %zu blocks, none with number %u", us->n,
                       rule->window);
    for (size_t i = 0; i < us->n; i++)
        us->u[i].factor = i == rule->window ? rule->window_scale : 1;
    return 0;
}

/* From blocks to their matrices. */
static int go_within(struct units *us, const struct schedule_rule *rule, const double *score,
                     const uint32_t *block, size_t n, struct err *err)
{
    AUTO(units_done) struct units each = {.u = NULL};
    int r = units_fill(&each, score, block, false, n, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        each.u[i].factor = us->u[block[i]].factor;
    r = map_within(&each, rule, err);
    if (r < 0)
        return r;
    each.sum = us->sum;
    units_done(us);
    *us = (struct units){.u = TAKE(each.u), .n = each.n, .sum = each.sum};
    return 0;
}

bool schedule_needs_blocks(const struct schedule_rule *rule)
{
    return rule->unit != SCHEDULE_MATRIX || rule->map == SCHEDULE_ZSCORE;
}

int schedule_factors(const struct schedule_rule *rule, const double *score, const uint32_t *block,
                     size_t n, double *factor, struct schedule_summary *out, struct err *err)
{
    AUTO(units_done) struct units us = {.u = NULL};
    bool blocks = rule->unit != SCHEDULE_MATRIX, by_block = blocks;
    int r = check_rule(rule, err);

    if (r == 0 && schedule_needs_blocks(rule) && !block && n > 0)
        r = err_set(err, ERR_INVALID, "this rule needs the blocks");
    if (r == 0)
        r = units_check(score, block, n, err);
    if (r == 0)
        r = units_fill(&us, score, block, blocks, n, err);
    if (r == 0)
        r = check_domain(&us, rule, err);
    if (r < 0)
        return r;
    summarise(&us, n);
    r = rule->unit == SCHEDULE_WINDOW ? slide_window(&us, rule, err) : map_units(&us, rule, err);
    if (r == 0 && rule->unit == SCHEDULE_WITHIN_BLOCK) {
        r = go_within(&us, rule, score, block, n, err);
        by_block = false;
    }
    if (r == 0)
        r = finish(&us, rule, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        factor[i] = us.u[by_block ? block[i] : i].factor;
    *out = us.sum;
    return 0;
}
