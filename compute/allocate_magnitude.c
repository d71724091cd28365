/* allocate_magnitude.c: see allocate_magnitude.h.
 *
 * A coarse run's weights have scores between two bounds, so below a threshold there are at least
 * this many weights and at most that many. Cut off at the limits and summed over all tensors, both
 * are nowhere falling functions of the threshold; where each passes the goal is found by bisection
 * over the bit patterns of the positive doubles, in 63 steps. The threshold lies between the two
 * places. Runs there are refined until there are none; then the places are one.
 */
#include "compute/allocate_magnitude.h"

#include "compute/waterfill.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sums of squares are rounded: bounds of scores are taken this much wider. */
#define MARGIN 1e-12

struct work {
    const struct allocate_magnitude_unit *unit;
    size_t n;
    enum magnitude_score score;
    double goal; /* weights of tensors with runs that are to go */
};

/* --- scores of runs -------------------------------------------------------------------------- */

static bool known(const struct work *w, size_t u)
{
    const struct magnitude_runs *r = w->unit[u].runs;

    return r && (w->score != MAGNITUDE_LAMP || isfinite(r->squares));
}

static uint64_t count_of(const struct magnitude_runs *r, size_t i)
{
    return (i + 1 < r->n_runs ? r->run[i + 1].below : r->n_weights) - r->run[i].below;
}

static double lamp_score(double square, double rest)
{
    return square > 0 ? square / (rest + square) : 0;
}

/* Of an exact run, the weight after which `k` - 1 others of the run come. */
static double exact_score(const struct work *w, const struct magnitude_runs *r, size_t i,
                          uint64_t k)
{
    double v = magnitude_low(r->format, r->run[i].level, r->run[i].prefix);

    if (w->score == MAGNITUDE_GLOBAL)
        return v;
    return lamp_score(v * v, r->run[i].above + (double)(k - 1) * (v * v));
}

static bool is_exact(const struct magnitude_runs *r, size_t i)
{
    return magnitude_exact(r->format, r->run[i].level);
}

/* No weight of the run has a smaller score. */
static double lower(const struct work *w, const struct magnitude_runs *r, size_t i)
{
    double v, with;

    if (is_exact(r, i))
        return exact_score(w, r, i, count_of(r, i));
    v = magnitude_low(r->format, r->run[i].level, r->run[i].prefix);
    if (w->score == MAGNITUDE_GLOBAL)
        return v;
    with = i > 0 ? r->run[i - 1].above : r->squares; /* the run and all above it */
    return v > 0 ? v * v / with * (1 - MARGIN) : 0;
}

/* And none a larger one. */
static double upper(const struct work *w, const struct magnitude_runs *r, size_t i)
{
    double v;

    if (is_exact(r, i))
        return exact_score(w, r, i, 1);
    v = magnitude_high(r->format, r->run[i].level, r->run[i].prefix);
    return w->score == MAGNITUDE_GLOBAL ? v : lamp_score(v * v, r->run[i].above) * (1 + MARGIN);
}

/* Of an exact run's weights, how many have a score below t. */
static uint64_t inside(const struct work *w, const struct magnitude_runs *r, size_t i, double t)
{
    uint64_t low = 0, high = count_of(r, i), all = high; /* how many have at least t */

    while (low < high) {
        uint64_t k = high - (high - low) / 2;

        if (exact_score(w, r, i, k) >= t)
            low = k;
        else
            high = k - 1;
    }
    return all - low;
}

typedef double bound_fn(const struct work *w, const struct magnitude_runs *r, size_t i);

/* How many runs, from the first one on, have a bound below t. */
static size_t runs_below(const struct work *w, const struct magnitude_runs *r, bound_fn *bound,
                         double t)
{
    size_t low = 0, high = r->n_runs;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (bound(w, r, middle) < t)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* --- counts of tensors ----------------------------------------------------------------------- */

/* Weights that may have a score below t. */
static uint64_t possible(const struct work *w, size_t u, double t)
{
    const struct magnitude_runs *r = w->unit[u].runs;
    size_t k = runs_below(w, r, lower, t);

    if (k == 0)
        return 0;
    return r->run[k - 1].below + (is_exact(r, k - 1) ? inside(w, r, k - 1, t) : count_of(r, k - 1));
}

/* Weights that have one for certain. */
static uint64_t certain(const struct work *w, size_t u, double t)
{
    const struct magnitude_runs *r = w->unit[u].runs;
    size_t k = runs_below(w, r, upper, t);

    if (k == r->n_runs)
        return r->n_weights;
    return r->run[k].below + (is_exact(r, k) ? inside(w, r, k, t) : 0);
}

typedef uint64_t count_fn(const struct work *w, size_t u, double t);

/* A count, cut off at the limits of its tensor. */
static double limited(const struct work *w, size_t u, uint64_t count)
{
    const struct allocate_magnitude_unit *x = &w->unit[u];

    return fmin(fmax((double)count, x->min * x->weights), x->max * x->weights);
}

static bool passes(const struct work *w, count_fn *count, double t)
{
    long double sum = 0;

    for (size_t u = 0; u < w->n; u++)
        if (known(w, u))
            sum += limited(w, u, count(w, u, t));
    return sum > w->goal;
}

static double double_of(uint64_t bits)
{
    double x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The largest t for which the sum does not pass the goal. */
static double crossing(const struct work *w, count_fn *count)
{
    uint64_t low = 0, high = (uint64_t)0x7ff << 52; /* infinity */

    if (!passes(w, count, INFINITY))
        return INFINITY;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;

        if (passes(w, count, double_of(middle)))
            high = middle;
        else
            low = middle;
    }
    return double_of(low);
}

/* --- what has to be refined ------------------------------------------------------------------ */

static int add_need(struct allocate_magnitude_info *out, size_t *cap, size_t u,
                    const struct magnitude_run *run, struct err *err)
{
    if (out->n_need == *cap) {
        size_t more = *cap ? 2 * *cap : 64;
        struct magnitude_need *p = realloc(out->need, more * sizeof *p);

        if (!p)
            return err_set(err, ERR_NOMEM, "no memory for %zu bins", more);
        out->need = p;
        *cap = more;
    }
    out->need[out->n_need++] = (struct magnitude_need){u, (unsigned)run->level + 1, run->prefix};
    return 0;
}

/* Coarse runs with scores in [from, to], of tensors that are not at a limit throughout. */
static int find_needs(const struct work *w, double from, double to,
                      struct allocate_magnitude_info *out, struct err *err)
{
    double after = nextafter(to, INFINITY);
    size_t cap = 0;
    int rc = 0;

    for (size_t u = 0; u < w->n && rc == 0; u++) {
        const struct magnitude_runs *r = w->unit[u].runs;

        if (!known(w, u) ||
            limited(w, u, certain(w, u, from)) == limited(w, u, possible(w, u, after)))
            continue;
        for (size_t i = runs_below(w, r, upper, from);
             rc == 0 && i < r->n_runs && lower(w, r, i) <= to; i++)
            if (!is_exact(r, i))
                rc = add_need(out, &cap, u, &r->run[i], err);
    }
    return rc;
}

/* --- the plan -------------------------------------------------------------------------------- */

/* Weights at the threshold are a line from none of them to all. */
static void draw_lines(const struct work *w, double t, double sparsity, struct waterfill *line)
{
    double next = nextafter(t, INFINITY);

    for (size_t u = 0; u < w->n; u++) {
        const struct allocate_magnitude_unit *x = &w->unit[u];

        line[u] =
            (struct waterfill){.weight = x->weights, .a = sparsity, .low = x->min, .high = x->max};
        if (known(w, u) && isfinite(t)) {
            uint64_t below = possible(w, u, t), with = possible(w, u, next);

            line[u].a = (double)below / x->weights;
            line[u].b = (double)(with - below) / x->weights;
        } else if (known(w, u)) {
            line[u].a = 1;
        }
    }
}

/* The goal of the tensors with weights, when the others get S. */
static void set_goal(struct work *w, double sparsity, struct allocate_magnitude_info *out)
{
    long double goal = 0, low = 0, high = 0;

    for (size_t u = 0; u < w->n; u++) {
        const struct allocate_magnitude_unit *x = &w->unit[u];

        goal += (long double)sparsity * x->weights;
        if (known(w, u)) {
            low += limited(w, u, 0);
            high += (long double)x->max * x->weights;
        } else {
            goal -= fmin(fmax(sparsity, x->min), x->max) * x->weights;
            out->n_missing++;
        }
    }
    w->goal = (double)fminl(fmaxl(goal, low), high);
}

static int check(const struct work *w, double sparsity, struct err *err)
{
    if (w->n == 0)
        return err_set(err, ERR_INVALID, "there is no tensor to plan for");
    if ((unsigned)w->score > MAGNITUDE_LAMP || !(sparsity >= 0 && sparsity <= 1))
        return err_set(err, ERR_INVALID, "an option is out of its range");
    for (size_t u = 0; u < w->n; u++) {
        const struct allocate_magnitude_unit *x = &w->unit[u];

        if (!(x->weights >= 1) || isinf(x->weights) || !(x->min >= 0 && x->min <= x->max) ||
            !(x->max <= 1) || (x->runs && (double)x->runs->n_weights != x->weights))
            return err_set(err, ERR_INVALID, "tensor %zu is out of range", u);
    }
    return 0;
}

static int check_feasible(const struct waterfill *line, size_t n, double sparsity,
                          struct allocate_magnitude_info *out, struct err *err)
{
    waterfill_range(line, n, &out->least, &out->most);
    if (sparsity >= out->least - WATERFILL_SLACK && sparsity <= out->most + WATERFILL_SLACK)
        return 0;
    return err_set(err, ERR_LIMIT,
                   "a sparsity of %.6g cannot be met within the limits of the tensors: from "
                   "%.6g to %.6g can",
                   sparsity, out->least, out->most);
}

int allocate_magnitude(const struct allocate_magnitude_unit *unit, size_t n,
                       enum magnitude_score score, double sparsity, double *out_sparsity,
                       struct allocate_magnitude_info *out, struct err *err)
{
    struct work w = {.unit = unit, .n = n, .score = score};
    AUTO(freep) struct waterfill *line = NULL;
    double from, to, theta;
    int rc = check(&w, sparsity, err);

    if (rc < 0)
        return rc;
    *out = (struct allocate_magnitude_info){0};
    line = malloc(n * sizeof *line);
    if (!line)
        return err_set(err, ERR_NOMEM, "no memory for %zu tensors", n);
    draw_lines(&w, INFINITY, sparsity, line);
    rc = check_feasible(line, n, sparsity, out, err);
    if (rc < 0)
        return rc;
    set_goal(&w, sparsity, out);
    from = crossing(&w, possible);
    to = crossing(&w, certain);
    rc = find_needs(&w, from, to, out, err);
    if (rc < 0) {
        free(out->need);
        out->need = NULL;
        return rc;
    }
    out->threshold = from;
    if (out->n_need)
        return 0;
    draw_lines(&w, from, sparsity, line);
    return waterfill(line, n, sparsity, out_sparsity, &theta, err);
}
