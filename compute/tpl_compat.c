/* tpl_compat.c: see tpl_compat.h, and tpl.h for what upstream does. The likelihood of a tail is a
 * function of two sums unless some value's likelihood underflows; then it is summed value by value,
 * as upstream always does.
 */
#include "compute/tpl_compat.h"

#include "compute/simplex.h"

#include <math.h>

#define LOG_LEAST   (-745.1332191019412) /* below, exp() is zero */
#define LOG_REPLACE (-706.8936235491604) /* ln 1e-307, for what is zero or out of range */

struct tail {
    const struct tail_data *d;
    size_t i;
    double xmin, n, sum_log, sum;
};

/* ln C of tpl.h. */
static double log_normaliser(double alpha, double Lambda, double xmin)
{
    struct expint e;
    double z = Lambda * xmin;

    expint_init(&e, alpha);
    return (alpha - 1) * log(xmin) + z - log(expint_scaled(&e, z));
}

static double sum_with_underflow(const struct tail *t, double alpha, double Lambda, double log_c)
{
    const struct tail_data *d = t->d;
    double sum = 0;

    for (size_t k = t->i; k < d->n; k++) {
        double count = (k + 1 < d->n ? d->below[k + 1] : (double)d->m) - d->below[k];
        double log_f = -alpha * d->log_x[k] - Lambda * d->x[k], log_p = log_f + log_c;

        sum += count * (log_f < LOG_LEAST || log_p < LOG_LEAST ? LOG_REPLACE : log_p);
    }
    return sum;
}

/* Minus the log-likelihood, penalised as upstream does it. */
static double objective(const double *p, void *arg)
{
    const struct tail *t = arg;
    double alpha = p[0], Lambda = p[1], log_c, log_f, last = t->d->x[t->d->n - 1];

    if (!(Lambda > 0 && alpha > 1) || alpha > 1e6)
        return -t->n * LOG_REPLACE;
    log_c = log_normaliser(alpha, Lambda, t->xmin);
    log_f = -alpha * t->d->log_x[t->d->n - 1] - Lambda * last;
    if (fmin(log_f, log_f + log_c) < -700)
        return -sum_with_underflow(t, alpha, Lambda, log_c);
    return alpha * t->sum_log + Lambda * t->sum - t->n * log_c;
}

bool tpl_compat_search(const struct tail_data *d, size_t i, double xmin, double *alpha,
                       double *Lambda, double *log_likelihood)
{
    struct simplex_options opt = {.xtol = 1e-4, .ftol = 1e-4};
    struct tail t = {.d = d,
                     .i = i,
                     .xmin = xmin,
                     .n = tail_data_count(d, i),
                     .sum_log = d->sum_log[i],
                     .sum = d->sum_ratio[i] * d->x[d->n - 1]};
    double p[2] = {1 + t.n / (t.sum_log - t.n * log(xmin)), t.n / t.sum};

    *log_likelihood = -simplex_minimise(objective, &t, 2, p, &opt).value;
    *alpha = p[0];
    *Lambda = p[1];
    return p[0] > 1 && p[1] > 0 && isfinite(p[0]) && isfinite(p[1]) && p[0] <= 1e6;
}

/* 1 - Gamma(1-alpha, Lambda x) / Lambda^(1-alpha). */
static double base_at(const struct tpl_law *law, double x, double log_x)
{
    double z = law->Lambda * x;

    return 1 - exp((1 - law->alpha) * log_x - z) * expint_scaled(&law->order, z);
}

void tpl_compat_prepare(struct tpl_compat_law *c, double alpha, double Lambda, double xmin,
                        double force_xmax)
{
    tpl_prepare(&c->law, alpha, Lambda, xmin);
    c->base = base_at(&c->law, xmin, c->law.log_xmin);
    c->norm = 1 - c->base;
    c->is_one = c->base == 1;
    c->slack = 1e-14 + 4e-16 / fabs(c->norm);
    if (force_xmax > 0)
        c->norm -= 1 - base_at(&c->law, force_xmax, log(force_xmax));
}

double tpl_compat_cdf(const void *model, const struct tail_data *d, size_t k)
{
    const struct tpl_compat_law *c = model;

    if (c->is_one)
        return 1;
    return (base_at(&c->law, d->x[k], d->log_x[k]) - c->base) / c->norm;
}
