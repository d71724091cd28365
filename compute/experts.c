/* experts.c: see experts.h. */
#include "compute/experts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double largest_of(const double *x, size_t n)
{
    double largest = 0;

    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, x[i]);
    return largest;
}

/* Whether powers of the largest exponent leave the range of numbers. */
static bool is_extreme(const double *alpha, size_t n, double beta)
{
    return fabs(beta * log10(largest_of(alpha, n))) > 250;
}

static int check(const struct experts_rule *rule, const double *alpha, size_t n, struct err *err)
{
    if (n == 0)
        return err_set(err, ERR_INVALID, "there is no layer to give experts to");
    if (rule->total > EXPERTS_MAX)
        return err_set(err, ERR_INVALID, "more than %llu experts", EXPERTS_MAX);
    if (!(rule->beta >= 0 && rule->beta <= EXPERTS_BETA_MAX))
        return err_set(err, ERR_INVALID, "beta must be from 0 to %g", EXPERTS_BETA_MAX);
    for (size_t i = 0; i < n; i++)
        if (!(alpha[i] > 0) || !isfinite(alpha[i]))
            return err_set(err, ERR_INVALID, "an exponent is not above 0");
    if (rule->rounding == EXPERTS_LARGEST_REMAINDER && rule->minimum > rule->total / n)
        return err_set(err, ERR_INVALID,
                       "%zu layers with at least %llu experts each need more than %llu", n,
                       (unsigned long long)rule->minimum, (unsigned long long)rule->total);
    if (rule->rounding == EXPERTS_UPSTREAM && is_extreme(alpha, n, rule->beta))
        return err_set(err, ERR_NUMERIC, "an exponent to the power of %g overflows", rule->beta);
    return 0;
}

/* a^beta, so that quotas that are halves by hand are halves; relative to the largest only where
 * that would leave the range of numbers. Returns the sum. */
static double make_powers(const double *alpha, size_t n, double beta, double *power)
{
    double sum = 0, scale = is_extreme(alpha, n, beta) ? largest_of(alpha, n) : 1;

    for (size_t i = 0; i < n; i++)
        sum += power[i] = pow(alpha[i] / scale, beta);
    return sum;
}

struct remainder {
    double fraction;
    size_t index;
};

static int largest_first(const void *a, const void *b)
{
    const struct remainder *x = a, *y = b;

    if (x->fraction != y->fraction)
        return x->fraction > y->fraction ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int by_largest_remainder(const struct experts_rule *rule, const double *power, double sum,
                                size_t n, uint64_t *count, struct err *err)
{
    AUTO(freep) void *memory = calloc(n, sizeof(struct remainder));
    struct remainder *rem = memory;
    uint64_t rest = rule->total - n * rule->minimum, given = 0;

    if (!rem)
        return err_set(err, ERR_NOMEM, "no memory for %zu layers", n);
    for (size_t i = 0; i < n; i++) {
        double quota = power[i] * (double)rest / sum;

        count[i] = rule->minimum + (uint64_t)quota;
        rem[i] = (struct remainder){quota - floor(quota), i};
        given += (uint64_t)quota;
    }
    qsort(rem, n, sizeof *rem, largest_first);
    ASSERT(given <= rest && rest - given <= n);
    for (size_t i = 0; given + i < rest; i++)
        count[rem[i].index]++;
    return 0;
}

/* Where power - count is smallest (want 1) or largest (want -1); the first of equals. */
static size_t extreme(const double *power, const int64_t *count, size_t n, int want)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        if ((power[i] - (double)count[i]) * want < (power[best] - (double)count[best]) * want)
            best = i;
    return best;
}

static int by_upstream(const struct experts_rule *rule, const double *power, double sum, size_t n,
                       uint64_t *out, struct err *err)
{
    AUTO(freep) void *counts = calloc(n, sizeof(int64_t));
    int64_t *count = counts, missing = (int64_t)rule->total;

    if (!count)
        return err_set(err, ERR_NOMEM, "no memory for %zu layers", n);
    for (size_t i = 0; i < n; i++) {
        count[i] = (int64_t)rint((double)rule->total * power[i] / sum); /* half to even */
        missing -= count[i];
    }
    /* What one correction moves stays where the next one looks: a single layer takes all. */
    if (missing)
        count[extreme(power, count, n, missing > 0 ? 1 : -1)] += missing;
    for (size_t i = 0; i < n; i++)
        if (count[i] < 0)
            return err_set(err, ERR_NUMERIC,
                           "upstream's correction would take experts from a layer that has none");
    for (size_t i = 0; i < n; i++)
        out[i] = (uint64_t)count[i];
    return 0;
}

int experts_allocate(const struct experts_rule *rule, const double *alpha, size_t n,
                     uint64_t *count, double *share, struct err *err)
{
    AUTO(freep) void *memory = NULL;
    double *power, sum;
    int r = check(rule, alpha, n, err);

    if (r < 0)
        return r;
    power = memory = calloc(n, sizeof *power);
    if (!power)
        return err_set(err, ERR_NOMEM, "no memory for %zu layers", n);
    sum = make_powers(alpha, n, rule->beta, power);
    r = rule->rounding == EXPERTS_UPSTREAM ? by_upstream(rule, power, sum, n, count, err)
                                           : by_largest_remainder(rule, power, sum, n, count, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        share[i] = power[i] / sum;
    return r;
}
