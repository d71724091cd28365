/* bits.c: see bits.h. */
#include "compute/bits.h"

#include "common/sort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int check_rule(const struct bits_rule *rule, struct err *err)
{
    if (rule->n_candidates < 1 || rule->n_candidates > BITS_CANDIDATES_MAX)
        return err_set(err, ERR_INVALID, "expected 1 to %d candidates", BITS_CANDIDATES_MAX);
    for (size_t c = 0; c < rule->n_candidates; c++)
        if (rule->candidate[c] < 1 || rule->candidate[c] > BITS_MAX ||
            (c > 0 && rule->candidate[c] <= rule->candidate[c - 1]))
            return err_set(err, ERR_INVALID, "candidates must ascend, from 1 to %d bits", BITS_MAX);
    if (!isfinite(rule->average) || rule->average < rule->candidate[0])
        return err_set(err, ERR_INVALID, "an average of %g is below the smallest candidate, %u",
                       rule->average, rule->candidate[0]);
    if (!isfinite(rule->gamma))
        return err_set(err, ERR_INVALID, "gamma must be finite");
    return 0;
}

static int check_matrices(const struct bits_matrix *m, size_t n, bool params, struct err *err)
{
    if (n == 0)
        return err_set(err, ERR_INVALID, "there is no matrix");
    for (size_t i = 0; i < n; i++) {
        if (!(m[i].alpha > 0) || !isfinite(m[i].alpha))
            return err_set(err, ERR_INVALID, "an exponent is not above 0");
        if (!(m[i].variance >= 0) || !isfinite(m[i].variance))
            return err_set(err, ERR_INVALID, "a variance is below 0 or not finite");
        if (params && (!(m[i].params > 0) || !isfinite(m[i].params)))
            return err_set(err, ERR_INVALID, "a number of parameters is not above 0");
    }
    return 0;
}

/* w of every matrix. */
static int weigh(const struct bits_rule *rule, const struct bits_matrix *m, size_t n, double *w,
                 struct err *err)
{
    double median;

    for (size_t i = 0; i < n; i++)
        w[i] = m[i].alpha;
    sort_ascending(w, n);
    median = n % 2 ? w[n / 2] : (w[n / 2 - 1] + w[n / 2]) / 2;
    for (size_t i = 0; i < n; i++) {
        w[i] = pow(median / m[i].alpha, rule->gamma) * m[i].variance;
        if (!isfinite(w[i]))
            return err_set(err, ERR_NUMERIC, "a weight of gamma %g overflows", rule->gamma);
    }
    return 0;
}

/* From one candidate to the next of a matrix. */
struct step {
    double gain; /* loss avoided per unit of the budget */
    size_t index;
    size_t to; /* candidate */
};

static int best_first(const void *a, const void *b)
{
    const struct step *x = a, *y = b;

    if (x->gain != y->gain)
        return x->gain > y->gain ? -1 : 1;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return (x->to > y->to) - (x->to < y->to);
}

static double size_of(const struct bits_rule *rule, const struct bits_matrix *m)
{
    return rule->per_parameter ? m->params : 1;
}

static double price(const struct bits_rule *rule, const struct bits_matrix *m, const struct step *s)
{
    return (rule->candidate[s->to] - rule->candidate[s->to - 1]) * size_of(rule, m);
}

static size_t make_steps(const struct bits_rule *rule, const struct bits_matrix *m, size_t n,
                         const double *w, struct step *step)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t c = 1; c < rule->n_candidates; c++) {
            struct step *s = &step[count++];

            *s = (struct step){0, i, c};
            s->gain = w[i] *
                      (ldexp(1, -2 * (int)rule->candidate[c - 1]) -
                       ldexp(1, -2 * (int)rule->candidate[c])) /
                      price(rule, &m[i], s);
        }
    qsort(step, count, sizeof *step, best_first);
    return count;
}

/* Take the steps that fit and gain anything. A matrix whose step is left takes none after it. */
static void take_steps(const struct bits_rule *rule, const struct bits_matrix *m,
                       const struct step *step, size_t count, double budget, size_t *level,
                       double *bound)
{
    double left = budget, slack = 1e-9 * budget; /* rounding of the product average * size */
    bool all_fit = true;

    for (size_t k = 0; k < count; k++) {
        const struct step *s = &step[k];
        double cost = price(rule, &m[s->index], s);

        if (all_fit && cost > left + slack) { /* up to here the best with fractions, too */
            *bound -= s->gain * fmax(left, 0);
            all_fit = false;
        } else if (all_fit) {
            *bound -= s->gain * cost;
        }
        if (s->gain <= 0 || cost > left + slack || level[s->index] + 1 != s->to)
            continue;
        left -= cost;
        level[s->index] = s->to;
    }
}

static double total_size(const struct bits_rule *rule, const struct bits_matrix *m, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += size_of(rule, &m[i]);
    return sum;
}

static void summarise(const struct bits_rule *rule, const struct bits_matrix *m, size_t n,
                      const double *w, const unsigned *bits, struct bits_summary *out)
{
    double used = 0;

    out->loss = 0;
    for (size_t i = 0; i < n; i++) {
        used += bits[i] * size_of(rule, &m[i]);
        out->loss += w[i] * ldexp(1, -2 * (int)bits[i]);
    }
    out->average = used / total_size(rule, m, n);
}

int bits_allocate(const struct bits_rule *rule, const struct bits_matrix *m, size_t n,
                  unsigned *bits, struct bits_summary *out, struct err *err)
{
    AUTO(freep) void *weights = NULL;
    AUTO(freep) void *levels = NULL;
    AUTO(freep) void *steps = NULL;
    struct bits_summary sum = {0};
    size_t *level, count;
    double *w, budget;
    int r = check_rule(rule, err);

    if (r == 0)
        r = check_matrices(m, n, rule->per_parameter, err);
    if (r < 0)
        return r;
    weights = w = calloc(n, sizeof *w);
    levels = level = calloc(n, sizeof *level);
    steps = calloc(n * rule->n_candidates, sizeof(struct step)); /* calloc checks the product */
    if (!w || !level || !steps)
        return err_set(err, ERR_NOMEM, "no memory for %zu matrices", n);
    r = weigh(rule, m, n, w, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        sum.bound += w[i] * ldexp(1, -2 * (int)rule->candidate[0]);
    budget = (rule->average - rule->candidate[0]) * total_size(rule, m, n);
    count = make_steps(rule, m, n, w, steps);
    take_steps(rule, m, steps, count, budget, level, &sum.bound);
    for (size_t i = 0; i < n; i++)
        bits[i] = rule->candidate[level[i]];
    summarise(rule, m, n, w, bits, &sum);
    *out = sum;
    return 0;
}

int bits_losses(const struct bits_rule *rule, const struct bits_matrix *m, size_t n,
                const unsigned *bits, double *loss, struct err *err)
{
    AUTO(freep) double *w = calloc(n + 1, sizeof *w);
    int r = check_rule(rule, err);

    if (r == 0)
        r = check_matrices(m, n, rule->per_parameter, err);
    if (r < 0)
        return r;
    if (!w)
        return err_set(err, ERR_NOMEM, "no memory for %zu matrices", n);
    r = weigh(rule, m, n, w, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        loss[i] = w[i] * ldexp(1, -2 * (int)bits[i]);
    return r;
}
