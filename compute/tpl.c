/* tpl.c: see tpl.h. Every candidate is fitted first, the longest tail first, each from its
 * neighbour's parameters: that costs O(m). Only then are distances compared (tail_scan()).
 */
#include "compute/tpl.h"

#include "compute/tpl_compat.h"

#include <math.h>

const char *tpl_edge_name(enum tpl_edge e)
{
    switch (e) {
    case TPL_INSIDE:
        return "inside";
    case TPL_PURE:
        return "pure_power_law";
    case TPL_FLAT:
        return "alpha_one";
    }
    return NULL;
}

void tpl_prepare(struct tpl_law *law, double alpha, double Lambda, double xmin)
{
    *law = (struct tpl_law){.alpha = alpha, .Lambda = Lambda, .xmin = xmin, .log_xmin = log(xmin)};
    expint_init(&law->order, alpha);
    law->norm = expint_scaled(&law->order, Lambda * xmin);
}

double tpl_log_density(const struct tpl_law *law, double x, double log_x)
{
    return -law->log_xmin - law->alpha * (log_x - law->log_xmin) - law->Lambda * (x - law->xmin) -
           log(law->norm);
}

double tpl_survival(const struct tpl_law *law, double x, double log_x)
{
    return exp((1 - law->alpha) * (log_x - law->log_xmin) - law->Lambda * (x - law->xmin)) *
           expint_scaled(&law->order, law->Lambda * x) / law->norm;
}

static double law_cdf(const void *model, const struct tail_data *d, size_t k)
{
    return 1 - tpl_survival(model, d->x[k], d->log_x[k]);
}

/* Parameters of one candidate; alpha is NaN where there is no fit. */
struct params {
    double alpha, Lambda, edge; /* edge: enum tpl_edge */
};

static double log_likelihood(const struct tail_data *d, size_t i, double xmin,
                             const struct params *p)
{
    struct tpl_law law;
    double n = tail_data_count(d, i);

    tpl_prepare(&law, p->alpha, p->Lambda, xmin);
    return -n * (log(law.norm) + law.log_xmin) - p->alpha * (d->sum_log[i] - n * law.log_xmin) -
           (p->Lambda * d->x[d->n - 1] * d->sum_ratio[i] - n * p->Lambda * xmin);
}

/* `p` holds where to start, and what was found. */
static void fit_one(const struct tail_data *d, size_t i, double xmin, bool compat, struct params *p)
{
    struct tpl_means mean = {tail_data_mean_log(d, i), tail_data_mean_excess(d, i)};
    double theta = p->Lambda * xmin, unused;
    enum tpl_edge edge = TPL_INSIDE;
    bool found;

    if (xmin != d->x[i]) {
        mean.log_ratio += d->log_x[i] - log(xmin);
        mean.excess += (mean.excess + 1) * (d->x[i] - xmin) / xmin;
    }
    if (compat) {
        found = tpl_compat_search(d, i, xmin, &p->alpha, &p->Lambda, &unused);
    } else {
        found = tpl_solve(&mean, &p->alpha, &theta, &edge);
        p->Lambda = theta / xmin;
    }
    p->edge = edge;
    if (!found || !isfinite(p->Lambda))
        p->alpha = NAN;
}

struct scan {
    const struct tail_data *d;
    const struct tpl_options *opt;
    const struct params *p; /* of every candidate */
    bool early;             /* leave out what cannot matter */
    size_t hint;
};

static double distance(struct scan *s, size_t i, double xmin, const struct params *p, double limit)
{
    const struct tail_data *d = s->d;
    struct tpl_compat_law c;
    struct tpl_law law;

    if (s->opt->compat) {
        tpl_compat_prepare(&c, p->alpha, p->Lambda, xmin, s->opt->force ? d->x[d->n - 1] : 0);
        return tail_ks(d, i, tpl_compat_cdf, &c, limit, s->early ? c.slack : 1, &s->hint);
    }
    tpl_prepare(&law, p->alpha, p->Lambda, xmin);
    return tail_ks(d, i, law_cdf, &law, limit, s->early ? 1e-12 : 1, &s->hint);
}

static double candidate_distance(void *arg, size_t i, double limit)
{
    struct scan *s = arg;

    return isnan(s->p[i].alpha) ? NAN : distance(s, i, s->d->x[i], &s->p[i], limit);
}

static void candidates(const struct tail_data *d, const struct tpl_options *opt, size_t *first,
                       size_t *end)
{
    *first = 0;
    *end = d->n - 1;
    if (opt->has_range)
        tail_data_range(d, opt->low, opt->high, first, end);
    while (*end > *first && tail_data_count(d, *end - 1) < (double)opt->min_tail)
        --*end;
}

static void describe(const struct tail_data *d, size_t i, double xmin, const struct params *p,
                     double D, struct tpl_fit *out)
{
    *out = (struct tpl_fit){.alpha = p->alpha,
                            .Lambda = p->Lambda,
                            .D = D,
                            .xmin = xmin,
                            .xmax = d->x[d->n - 1],
                            .log_likelihood = log_likelihood(d, i, xmin, p),
                            .n_tail = d->m - (size_t)d->below[i],
                            .edge = (enum tpl_edge)p->edge};
}

static int fit(const double *x, size_t m, const struct tpl_options *opt, bool early, double *work,
               struct tpl_fit *out, struct err *err)
{
    static const struct tpl_options none = {.compat = false};
    struct params *p = (struct params *)(work + TAIL_DATA_WORK(m)), at = {0, 0, 0};
    struct tail_data d;
    size_t first, end, best;
    double D;
    int r = tail_data_init(&d, x, m, work, err);

    if (r < 0)
        return r;
    opt = opt ? opt : &none;
    candidates(&d, opt, &first, &end);
    for (size_t i = first; i < end; i++) {
        fit_one(&d, i, d.x[i], opt->compat, &at);
        p[i] = at;
    }
    struct scan s = {.d = &d, .opt = opt, .p = p, .early = early};
    best = tail_scan(candidate_distance, &s, first, end, early, &D);
    if (best == end)
        return err_set(err, ERR_NUMERIC, "no value may start the tail");
    describe(&d, best, d.x[best], &p[best], D, out);
    return 0;
}

int tpl_fit(const double *x, size_t m, const struct tpl_options *opt, double *work,
            struct tpl_fit *out, struct err *err)
{
    return fit(x, m, opt, true, work, out, err);
}

int tpl_fit_reference(const double *x, size_t m, const struct tpl_options *opt, double *work,
                      struct tpl_fit *out, struct err *err)
{
    return fit(x, m, opt, false, work, out, err);
}

int tpl_fit_at(const double *x, size_t n, double xmin, const struct tpl_options *opt, double *work,
               struct tpl_fit *out, struct err *err)
{
    static const struct tpl_options none = {.compat = false};
    struct params p = {0, 0, 0};
    struct tail_data d;
    int r = tail_data_init(&d, x, n, work, err);

    if (r < 0)
        return r;
    if (!(xmin > 0 && xmin <= x[0]))
        return err_set(err, ERR_INVALID, "xmin is not in (0, least value]");
    struct scan s = {.d = &d, .opt = opt ? opt : &none, .early = true};
    fit_one(&d, 0, xmin, s.opt->compat, &p);
    if (isnan(p.alpha))
        return err_set(err, ERR_NUMERIC, "the truncated power law has no best parameters here");
    describe(&d, 0, xmin, &p, distance(&s, 0, xmin, &p, INFINITY), out);
    return 0;
}
