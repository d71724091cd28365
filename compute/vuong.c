/* vuong.c: see vuong.h. */
#include "compute/vuong.h"

#include <math.h>

static bool is_pair(const struct tail_law *a, const struct tail_law *b, enum tail_law_kind inner,
                    enum tail_law_kind outer)
{
    return (a->kind == inner && b->kind == outer) || (a->kind == outer && b->kind == inner);
}

struct vuong vuong_compare(const struct tail_law *first, const struct tail_law *second,
                           const double *x, size_t n, bool compat, double *work)
{
    bool truncated = is_pair(first, second, TAIL_POWER_LAW, TAIL_TRUNCATED);
    struct vuong v = {.nested =
                          truncated || is_pair(first, second, TAIL_EXPONENTIAL, TAIL_STRETCHED)};
    double mean, squares = 0, sd;

    tail_law_log_density(first, x, n, work);
    tail_law_log_density(second, x, n, work + n);
    for (size_t k = 0; k < n; k++) {
        work[k] -= work[n + k];
        v.sum += work[k];
    }
    mean = v.sum / (double)n;
    for (size_t k = 0; k < n; k++)
        squares += (work[k] - mean) * (work[k] - mean);
    sd = sqrt(squares); /* of the sum: sqrt(n) s */
    /* Two formulas of the same density differ by rounding, and that is no evidence. */
    if (!compat && sd <= 1e-12 * (double)n) {
        v.sum = 0;
        v.p = 1;
        return v;
    }
    v.R = v.sum / sd;
    v.p = v.nested ? erfc(sqrt(fabs(v.sum))) : erfc(fabs(v.R) * M_SQRT1_2);
    if (truncated && !compat)
        v.p /= 2;
    return v;
}

const char *best_fit_name(enum tail_law_kind k)
{
    static const char *const names[] = {"PL", "TPL", "EXP", "S_EXP", "LOG_N"};

    return (size_t)k < ARRAY_LEN(names) ? names[k] : NULL;
}

static void choose(struct best_fit *b, double level)
{
    const struct vuong *v = b->vs_pl;

    if (b->has[TAIL_TRUNCATED] && v[TAIL_TRUNCATED].R < 0 && v[TAIL_TRUNCATED].p <= level) {
        b->truncated = true;
        b->best = TAIL_TRUNCATED;
        v = b->vs_best_pl;
    }
    for (int k = TAIL_EXPONENTIAL; k < TAIL_LAW_COUNT; k++)
        if (b->has[k] && v[k].R < 0 && v[k].p <= level) {
            b->best = (enum tail_law_kind)k;
            return;
        }
}

int best_fit(const double *x, size_t n, double xmin, bool compat, double level, double *work,
             struct best_fit *out, struct err *err)
{
    struct best_fit b = {.best = TAIL_POWER_LAW};

    for (int k = 0; k < TAIL_LAW_COUNT; k++) {
        int r = tail_law_fit((enum tail_law_kind)k, x, n, xmin, compat, work, &b.law[k],
                             k == TAIL_POWER_LAW ? err : NULL);

        if (r < 0 && k == TAIL_POWER_LAW)
            return r;
        b.has[k] = r == 0;
    }
    for (int k = 0; k < TAIL_LAW_COUNT; k++) {
        b.vs_pl[k] = b.vs_best_pl[k] = (struct vuong){.p = 1};
        if (b.has[k] && k != TAIL_POWER_LAW)
            b.vs_pl[k] = vuong_compare(&b.law[TAIL_POWER_LAW], &b.law[k], x, n, compat, work);
        if (b.has[k] && b.has[TAIL_TRUNCATED] && k != TAIL_TRUNCATED)
            b.vs_best_pl[k] = vuong_compare(&b.law[TAIL_TRUNCATED], &b.law[k], x, n, compat, work);
    }
    choose(&b, level);
    *out = b;
    return 0;
}
