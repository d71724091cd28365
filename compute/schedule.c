/* schedule.c: see schedule.h. */
#include "compute/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCALE_STEPS 2200 /* doublings that cross the range of a double */

static const char *const map_names[] = {
    [SCHEDULE_LINEAR] = "linear", [SCHEDULE_SQRT] = "sqrt",       [SCHEDULE_LOG2] = "log2",
    [SCHEDULE_RANK] = "rank",     [SCHEDULE_SIGMOID] = "sigmoid",
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
    double weight; /* matrices in it */
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

static int units_make(struct units *us, const double *score, const uint32_t *unit, size_t n,
                      struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(score[i]))
            return err_set(err, ERR_INVALID, "a score is not finite");
        if (unit && unit[i] >= n)
            return err_set(err, ERR_INVALID, "a unit's number is too large");
        if (unit && unit[i] >= us->n)
            us->n = unit[i] + 1;
    }
    us->n = unit ? us->n : n;
    us->u = calloc(us->n + 1, sizeof *us->u);
    if (!us->u)
        return err_set(err, ERR_NOMEM, "no memory for %zu units", us->n);
    for (size_t i = 0; i < n; i++) {
        struct unit *u = &us->u[unit ? unit[i] : i];

        u->score += score[i];
        u->weight++;
    }
    for (size_t i = 0; i < us->n; i++) {
        if (us->u[i].weight == 0)
            return err_set(err, ERR_INVALID, "unit %zu has no matrix", i);
        us->u[i].score /= us->u[i].weight;
        us->u[i].index = i;
    }
    return 0;
}

/* Equal but for rounding. */
static bool all_equal(const struct units *us)
{
    double lo = INFINITY, hi = -INFINITY;

    for (size_t i = 0; i < us->n; i++) {
        lo = fmin(lo, us->u[i].score);
        hi = fmax(hi, us->u[i].score);
    }
    return !(hi - lo > 1e-12 * fmax(fabs(lo), fabs(hi)));
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

static void map_linear(struct units *us, const struct schedule_rule *rule)
{
    double lo = INFINITY, hi = -INFINITY;

    for (size_t i = 0; i < us->n; i++) {
        lo = fmin(lo, us->u[i].score);
        hi = fmax(hi, us->u[i].score);
    }
    for (size_t i = 0; i < us->n; i++) {
        struct unit *u = &us->u[i];

        u->factor =
            hi > lo ? rule->s1 + (rule->s2 - rule->s1) * ((u->score - lo) / (hi - lo)) : rule->s2;
    }
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

static void map_units(struct units *us, const struct schedule_rule *rule)
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
    case SCHEDULE_MAP_COUNT:
        for (size_t i = 0; i < us->n; i++)
            us->u[i].factor = 1;
    }
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
    bool mean_one = rule->normalize || rule->map == SCHEDULE_SQRT || rule->map == SCHEDULE_LOG2;
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
    if ((r->map == SCHEDULE_LINEAR || r->map == SCHEDULE_RANK) &&
        (!is_factor(r->s1) || !is_factor(r->s2)))
        return err_set(err, ERR_INVALID, "s1 and s2 must be finite numbers from 0");
    if (r->map == SCHEDULE_SIGMOID &&
        (!is_factor(r->down) || !is_factor(r->up) || !is_factor(r->tau)))
        return err_set(err, ERR_INVALID,
                       "sigmoid_min, sigmoid_max and tau must be finite numbers from 0");
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

int schedule_factors(const struct schedule_rule *rule, const double *score, const uint32_t *unit,
                     size_t n, double *factor, struct schedule_summary *out, struct err *err)
{
    AUTO(units_done) struct units us = {.u = NULL};
    int r = check_rule(rule, err);

    if (r == 0)
        r = units_make(&us, score, unit, n, err);
    if (r == 0)
        r = check_domain(&us, rule, err);
    if (r < 0)
        return r;
    summarise(&us, n);
    map_units(&us, rule);
    r = finish(&us, rule, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        factor[i] = us.u[unit ? unit[i] : i].factor;
    *out = us.sum;
    return 0;
}
