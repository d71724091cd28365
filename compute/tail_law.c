/* tail_law.c: see tail_law.h. With u = ln(x/xmin) the stretched exponential and the truncated
 * lognormal both reduce to a root of one function of one variable:
 *
 *   stretched: c = (Lambda xmin)^beta is 1 / mean(e^(beta u) - 1) for any beta; beta then solves
 *              1/beta + mean u = mean(u e^(beta u)) / mean(e^(beta u) - 1)
 *   lognormal: with h = (ln xmin - mu)/sigma the ratio mean u^2 / (mean u)^2 depends on h alone,
 *              and falls from 2 (the exponential distribution of a power law's u) to 1
 */
#include "compute/tail_law.h"

#include "compute/simplex.h"

#include <math.h>

#define LOG_REPLACE (-706.8936235491604) /* ln 1e-307: powerlaw's for what underflows */

const char *tail_law_name(enum tail_law_kind k)
{
    static const char *const names[] = {"power_law", "truncated_power_law", "exponential",
                                        "stretched_exponential", "lognormal"};

    return (size_t)k < ARRAY_LEN(names) ? names[k] : NULL;
}

struct mills {
    double ratio; /* Q(h) / phi(h) of the normal distribution */
    double mean;  /* of U >= 0 with density ~ e^(-h U - U^2/2) */
    double q;     /* mean U^2 / mean^2 */
};

static struct mills mills_at(double h)
{
    struct mills m;

    if (h > 3) { /* 1/ratio = h + 1/(h + 2/(h + 3/(h + ...))) */
        double r = h;

        for (int k = 120; k > 1; k--)
            r = h + k / r;
        m.mean = 1 / r;
        m.ratio = 1 / (h + m.mean);
        m.q = (r - h) * r;
    } else {
        m.ratio = sqrt(M_PI / 2) * exp(h * h / 2) * erfc(h * M_SQRT1_2);
        m.mean = isinf(m.ratio) ? -h : 1 / m.ratio - h;
        m.q = (1 - h * m.mean) / (m.mean * m.mean);
    }
    return m;
}

/* Root of fn, which falls through zero between a and b, to full precision. */
static double bisect(double (*fn)(double, const void *), const void *arg, double a, double b)
{
    for (int step = 0; step < 100; step++) {
        double mid = a + (b - a) / 2;

        if (mid == a || mid == b)
            break;
        if (fn(mid, arg) > 0)
            a = mid;
        else
            b = mid;
    }
    return a + (b - a) / 2;
}

/* The tail, and means of powers of u. */
struct tail {
    const struct tail_data *d;
    double xmin, log_xmin, n, u1, u2, excess; /* excess: mean of x/xmin - 1 */
};

static double count_at(const struct tail_data *d, size_t k)
{
    return (k + 1 < d->n ? d->below[k + 1] : (double)d->m) - d->below[k];
}

static struct tail tail_of(const struct tail_data *d, double xmin)
{
    struct tail t = {.d = d, .xmin = xmin, .log_xmin = log(xmin), .n = (double)d->m};

    for (size_t k = 0; k < d->n; k++) {
        double u = d->log_x[k] - t.log_xmin, share = count_at(d, k) / t.n;

        t.u1 += share * u;
        t.u2 += share * u * u;
        t.excess += share * ((d->x[k] - xmin) / xmin);
    }
    return t;
}

static double lognormal_gap(double s, const void *arg)
{
    const struct tail *t = arg;

    return t->u2 / (t->u1 * t->u1) - mills_at(sinh(s)).q; /* q rises with h */
}

static void fit_lognormal(const struct tail *t, struct tail_law *law)
{
    double h = sinh(bisect(lognormal_gap, t, -18, 18)); /* |h| <= 3e7 */

    law->par[1] = t->u1 / mills_at(h).mean;
    law->par[0] = t->log_xmin - h * law->par[1];
}

static double stretched_gap(double beta, const void *arg)
{
    const struct tail *t = arg;
    double s0 = 0, s1 = 0;

    for (size_t k = 0; k < t->d->n; k++) {
        double u = t->d->log_x[k] - t->log_xmin, w = count_at(t->d, k), e = expm1(beta * u);

        s0 += w * e;
        s1 += w * u * (e + 1);
    }
    return 1 / beta + t->u1 - s1 / s0;
}

static void fit_stretched(const struct tail *t, struct tail_law *law)
{
    double longest = t->d->log_x[t->d->n - 1] - t->log_xmin, beta, s0 = 0;

    /* No tail of 10^6 values has beta u above 20: c e^(beta u) is of the order of ln n. */
    beta = bisect(stretched_gap, t, 1e-5 / longest, 600 / longest);
    for (size_t k = 0; k < t->d->n; k++)
        s0 += count_at(t->d, k) / t->n * expm1(beta * (t->d->log_x[k] - t->log_xmin));
    law->c = 1 / s0;
    law->par[0] = exp(-log(s0) / beta - t->log_xmin);
    law->par[1] = beta;
}

static double log_normal_tail(double h)
{
    return -h * h / 2 + log(mills_at(h).ratio); /* ln sqrt(2 pi) Q(h) */
}

static void stretched_density(const struct tail_law *law, const double *x, size_t n, double *out)
{
    double beta = law->par[1], log_xmin = log(law->xmin), lead = log(beta) + log(law->c);

    for (size_t k = 0; k < n; k++) {
        double y = beta * (log(x[k]) - log_xmin);

        out[k] = lead + y - log(x[k]) - law->c * expm1(y);
    }
}

static void lognormal_density(const struct tail_law *law, const double *x, size_t n, double *out)
{
    double sigma = law->par[1], h = (log(law->xmin) - law->par[0]) / sigma;
    double log_ratio = log(mills_at(h).ratio), log_xmin = log(law->xmin);

    if (!isfinite(log_ratio)) /* xmin far below the bulk: nothing is cut off */
        log_ratio = h * h / 2 + log(sqrt(2 * M_PI));
    for (size_t k = 0; k < n; k++) {
        double u = (log(x[k]) - log_xmin) / sigma;

        out[k] = -u * h - u * u / 2 - log_ratio - log(sigma) - log(x[k]);
    }
}

void tail_law_log_density(const struct tail_law *law, const double *x, size_t n, double *out)
{
    double alpha = law->is_limit ? law->limit_alpha : law->par[0], log_xmin = log(law->xmin);
    struct tpl_law tpl;

    if (law->is_limit || law->kind == TAIL_POWER_LAW) {
        for (size_t k = 0; k < n; k++)
            out[k] = log(alpha - 1) - log_xmin - alpha * (log(x[k]) - log_xmin);
    } else if (law->kind == TAIL_EXPONENTIAL) {
        for (size_t k = 0; k < n; k++)
            out[k] = log(law->par[0]) - law->par[0] * (x[k] - law->xmin);
    } else if (law->kind == TAIL_STRETCHED) {
        stretched_density(law, x, n, out);
    } else if (law->kind == TAIL_LOGNORMAL) {
        lognormal_density(law, x, n, out);
    } else {
        tpl_prepare(&tpl, law->par[0], law->par[1], law->xmin);
        for (size_t k = 0; k < n; k++)
            out[k] = tpl_log_density(&tpl, x[k], log(x[k]));
    }
}

static double law_cdf(const void *model, const struct tail_data *d, size_t k)
{
    const struct tail_law *law = model;
    double x = d->x[k], u = log(x / law->xmin);

    if (law->is_limit || law->kind == TAIL_POWER_LAW)
        return -expm1((1 - (law->is_limit ? law->limit_alpha : law->par[0])) * u);
    if (law->kind == TAIL_EXPONENTIAL)
        return -expm1(-law->par[0] * (x - law->xmin));
    if (law->kind == TAIL_STRETCHED)
        return -expm1(-law->c * expm1(law->par[1] * u));
    double h = (log(law->xmin) - law->par[0]) / law->par[1];

    return -expm1(log_normal_tail(h + u / law->par[1]) - log_normal_tail(h));
}

/* What powerlaw's search minimises, for a law with these parameters. */
struct objective {
    const struct tail *t;
    struct tail_law law;
    double *x, *density;
};

static double objective(const double *p, void *arg)
{
    struct objective *o = arg;
    const struct tail_data *d = o->t->d;
    double sum = 0;

    o->law.par[0] = p[0];
    o->law.par[1] = o->law.kind == TAIL_EXPONENTIAL ? 1 : p[1];
    if ((o->law.kind != TAIL_LOGNORMAL && !(o->law.par[0] > 0)) || !(o->law.par[1] > 0))
        return -o->t->n * LOG_REPLACE;
    o->law.c = pow(o->law.par[0] * o->t->xmin, o->law.par[1]);
    tail_law_log_density(&o->law, d->x, d->n, o->density);
    for (size_t k = 0; k < d->n; k++)
        sum += count_at(d, k) * (o->density[k] > -1e300 ? o->density[k] : LOG_REPLACE);
    return -sum;
}

static void search(const struct tail *t, double *density, struct tail_law *law)
{
    struct simplex_options opt = {.xtol = 1e-4, .ftol = 1e-4};
    struct objective o = {.t = t, .law = *law, .density = density};
    double p[2] = {1 / (t->xmin * (1 + t->excess)), 1};

    if (law->kind == TAIL_LOGNORMAL) {
        p[0] = t->log_xmin + t->u1;
        p[1] = sqrt(t->u2 - t->u1 * t->u1);
    }
    (void)simplex_minimise(objective, &o, law->kind == TAIL_EXPONENTIAL ? 1 : 2, p, &opt);
    law->par[0] = p[0];
    if (law->kind != TAIL_EXPONENTIAL)
        law->par[1] = p[1];
    law->c = pow(p[0] * t->xmin, law->par[1]);
}

static void fit_any(const struct tail *t, bool compat, double *density, struct tail_law *law)
{
    if (law->kind == TAIL_POWER_LAW) {
        law->par[0] = 1 + 1 / t->u1;
    } else if (compat) {
        search(t, density, law);
    } else if (law->kind == TAIL_EXPONENTIAL) {
        law->par[0] = 1 / (t->xmin * t->excess);
    } else if (t->u2 >= 2 * t->u1 * t->u1) {
        law->is_limit = true;
        law->limit_alpha = 1 + 1 / t->u1;
    } else if (law->kind == TAIL_STRETCHED) {
        fit_stretched(t, law);
    } else {
        fit_lognormal(t, law);
    }
}

static int fit_truncated(const double *x, size_t n, double xmin, bool compat, double *work,
                         struct tail_law *out, struct err *err)
{
    struct tpl_options opt = {.compat = compat};
    struct tpl_fit f;
    int r = tpl_fit_at(x, n, xmin, &opt, work, &f, err);

    if (r < 0)
        return r;
    *out = (struct tail_law){.kind = TAIL_TRUNCATED,
                             .par = {f.alpha, f.Lambda},
                             .xmin = xmin,
                             .log_likelihood = f.log_likelihood,
                             .D = f.D,
                             .n_tail = n,
                             .limit_alpha = NAN};
    return 0;
}

int tail_law_fit(enum tail_law_kind kind, const double *x, size_t n, double xmin, bool compat,
                 double *work, struct tail_law *out, struct err *err)
{
    struct tail_law law = {
        .kind = kind, .par = {NAN, NAN}, .xmin = xmin, .n_tail = n, .limit_alpha = NAN};
    double *density = work + TAIL_DATA_WORK(n);
    struct tail_data d;
    struct tail t;
    int r;

    if (kind == TAIL_TRUNCATED)
        return fit_truncated(x, n, xmin, compat, work, out, err);
    r = tail_data_init(&d, x, n, work, err);
    if (r < 0)
        return r;
    if (!(xmin > 0 && xmin <= x[0]))
        return err_set(err, ERR_INVALID, "xmin is not in (0, least value]");
    t = tail_of(&d, xmin);
    fit_any(&t, compat, density, &law);
    tail_law_log_density(&law, d.x, d.n, density);
    for (size_t k = 0; k < d.n; k++)
        law.log_likelihood += count_at(&d, k) * density[k];
    if (!isfinite(law.log_likelihood))
        return err_set(err, ERR_NUMERIC, "no %s fits this tail", tail_law_name(kind));
    law.D = tail_ks(&d, 0, law_cdf, &law, INFINITY, 1, NULL);
    if (isinf(law.D))
        law.D = NAN;
    *out = law;
    return 0;
}
