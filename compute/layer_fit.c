/* layer_fit.c: see layer_fit.h. */
#include "compute/layer_fit.h"

#include "compute/fingers.h"
#include "compute/hill.h"
#include "compute/powerlaw_distinct.h"
#include "compute/tpl.h"

#include <math.h>
#include <stdlib.h>

#define MAX_FINGERS   10 /* upstream's defaults */
#define FINGER_THRESH 1.0
#define POS           2.0

const char *layer_fit_law_name(enum layer_fit_law l)
{
    static const char *const names[] = {"pl", "tpl", "e_tpl", "hill"};

    _Static_assert(ARRAY_LEN(names) == LAYER_FIT_LAW_COUNT, "a name for each");
    return (size_t)l < ARRAY_LEN(names) ? names[l] : NULL;
}

const char *layer_fit_fingers_name(enum layer_fit_fingers f)
{
    static const char *const names[] = {"", "clip_xmax", "xmin_peak"};

    _Static_assert(ARRAY_LEN(names) == LAYER_FINGERS_COUNT, "a name for each");
    return (size_t)f < ARRAY_LEN(names) ? names[f] : NULL;
}

/* --- options --------------------------------------------------------------------------------- */

bool layer_fit_is_default(const struct layer_fit_options *o)
{
    return o->law == LAYER_FIT_PL && o->fingers == LAYER_FINGERS_KEEP && o->max_fingers == 0 &&
           o->finger_thresh <= 0 && o->xmin <= 0 && o->xmax <= 0 && o->drop_top == 0 && o->pos <= 0;
}

static int wrong(struct err *err, const char *member, const char *why)
{
    return err_set_at(err, ERR_INVALID, member, "%s", why);
}

int layer_fit_options_check(const struct layer_fit_options *o, struct err *err)
{
    bool clip = o->fingers == LAYER_FINGERS_CLIP_XMAX, limits = o->xmin > 0 || o->xmax > 0;

    if (o->law != LAYER_FIT_PL && o->fingers != LAYER_FINGERS_KEEP)
        return wrong(err, "/fix_fingers", "only with the law pl");
    if (o->law != LAYER_FIT_PL && o->xmin > 0)
        return wrong(err, "/xmin", "only with the law pl");
    if (o->law != LAYER_FIT_PL && o->xmax > 0)
        return wrong(err, "/xmax", "only with the law pl");
    if (o->law != LAYER_FIT_PL && o->drop_top > 0)
        return wrong(err, "/drop_top", "only with the law pl");
    if (o->law != LAYER_FIT_HILL && o->pos > 0)
        return wrong(err, "/pos", "only with the law hill");
    if (o->law == LAYER_FIT_HILL && o->pos > 0 && !(o->pos > 1 && o->pos <= HILL_POS_MAX))
        return wrong(err, "/pos", "must be above 1 and at most 1e6");
    if (!clip && o->max_fingers > 0)
        return wrong(err, "/max_fingers", "only with fix_fingers clip_xmax");
    if (!clip && o->finger_thresh > 0)
        return wrong(err, "/finger_thresh", "only with fix_fingers clip_xmax");
    if (o->fingers != LAYER_FINGERS_KEEP && (limits || o->drop_top > 0))
        return wrong(err, "/fix_fingers", "not with xmin, xmax or drop_top");
    if (o->xmin > 0 && o->xmax > 0 && o->xmin >= o->xmax)
        return wrong(err, "/xmax", "must be above xmin");
    return 0;
}

/* --- fits ------------------------------------------------------------------------------------ */

struct data {
    const double *x; /* m values that take part */
    size_t m, n_all;
    bool compat;
    double *work;
};

static struct layer_fit of_powerlaw(const struct powerlaw_fit *f)
{
    return (struct layer_fit){.alpha = f->alpha,
                              .D = f->D,
                              .sigma = f->sigma,
                              .xmin = f->xmin,
                              .xmax = f->xmax,
                              .Lambda = NAN,
                              .raw_alpha = NAN,
                              .num_fingers = NAN};
}

static int fit_clipped(const struct data *d, const struct layer_fit_options *o,
                       struct layer_fit *out, struct err *err)
{
    const struct fingers_options opt = {
        .compat = d->compat,
        .max_fingers = o->max_fingers ? o->max_fingers : MAX_FINGERS,
        .thresh = o->finger_thresh > 0 ? o->finger_thresh : FINGER_THRESH,
        .n_all = d->n_all};
    struct fingers_fit f;
    int r = fingers_clip(d->x, d->m, &opt, d->work, &f, err);

    if (r < 0)
        return r;
    *out = of_powerlaw(&f.fit);
    out->raw_alpha = f.raw_alpha;
    out->num_fingers = (double)f.num_fingers;
    return 0;
}

/* With limits, a range of xmin, or without the largest. */
static int fit_limited(const struct data *d, const struct layer_fit_options *o,
                       struct layer_fit *out, struct err *err)
{
    struct powerlaw_limits limits = {.has_xmin = o->xmin > 0,
                                     .has_xmax = o->xmax > 0,
                                     .xmin = o->xmin,
                                     .xmax = o->xmax,
                                     .upper = o->xmax > 0 && !d->compat ? POWERLAW_TRUNCATED
                                                                        : POWERLAW_OPEN};
    struct powerlaw_fit f;
    size_t keep = d->m;
    int r = 0;

    if (o->fingers == LAYER_FINGERS_XMIN_PEAK) {
        r = fingers_peak_range(d->x, d->m, 0, d->compat, &limits.low, &limits.high, err);
        limits.has_range = true;
    }
    if (r == 0 && o->drop_top > 0)
        r = fingers_drop_top(d->x, d->m, d->n_all, o->drop_top, d->compat, &keep, err);
    if (r == 0)
        r = powerlaw_distinct(d->x, keep, &limits, d->work, &f, err);
    if (r == 0)
        *out = of_powerlaw(&f);
    return r == ERR_INVALID ? err_set(err, ERR_NUMERIC, "there are too few eigenvalues") : r;
}

static int fit_truncated(const struct data *d, const struct layer_fit_options *o,
                         struct layer_fit *out, struct err *err)
{
    struct tpl_options opt = {.compat = d->compat, .has_range = o->law == LAYER_FIT_E_TPL};
    struct tpl_fit f;
    int r = 0;

    if (opt.has_range)
        r = fingers_peak_range(d->x, d->m, 0, d->compat, &opt.low, &opt.high, err);
    if (r == 0)
        r = tpl_fit(d->x, d->m, &opt, d->work, &f, err);
    if (r < 0)
        return r;
    *out = (struct layer_fit){.alpha = f.alpha,
                              .D = f.D,
                              .sigma = NAN,
                              .xmin = f.xmin,
                              .xmax = f.xmax,
                              .Lambda = f.Lambda,
                              .raw_alpha = NAN,
                              .num_fingers = NAN};
    return 0;
}

static int fit_hill(const double *lambda, size_t n, const struct layer_fit_options *o, double eps,
                    struct layer_fit *out, struct err *err)
{
    const struct hill_start start = {.pos = o->pos > 0 ? o->pos : POS};
    struct hill_fit f;
    int r = hill_fit_from(lambda, n, &start, eps, &f, err);

    if (r < 0)
        return r;
    if (f.status != HILL_OK)
        return err_set(err, ERR_NUMERIC, "%s", hill_status_name(f.status));
    *out = (struct layer_fit){.alpha = f.alpha,
                              .D = f.D,
                              .sigma = (f.alpha - 1) / sqrt((double)(n - f.n_zero - f.first)),
                              .xmin = f.xmin,
                              .xmax = lambda[n - 1],
                              .Lambda = NAN,
                              .raw_alpha = NAN,
                              .num_fingers = NAN};
    return 0;
}

static int fit(const struct data *d, const struct layer_fit_options *o, struct layer_fit *out,
               struct err *err)
{
    struct powerlaw_fit f;
    int r;

    if (o->law != LAYER_FIT_PL)
        return fit_truncated(d, o, out, err);
    if (o->fingers == LAYER_FINGERS_CLIP_XMAX)
        return fit_clipped(d, o, out, err);
    if (!layer_fit_is_default(o))
        return fit_limited(d, o, out, err);
    r = powerlaw_fit(d->x, d->m, d->work, &f, err);
    if (r == 0)
        *out = of_powerlaw(&f);
    return r;
}

int layer_fit(const double *lambda, size_t n_all, const struct layer_fit_options *o, double eps,
              bool compat, struct layer_fit *out, struct err *err)
{
    struct data d = {.x = lambda, .m = n_all, .n_all = n_all, .compat = compat};
    int r;

    if (o->law == LAYER_FIT_HILL)
        return fit_hill(lambda, n_all, o, eps, out, err);
    while (d.m > 0 && !(*d.x > POWERLAW_THRESHOLD)) {
        d.x++;
        d.m--;
    }
    if (d.m < 2)
        return err_set(err, ERR_NUMERIC, "there are too few eigenvalues");
    d.work = malloc((TPL_WORK(d.m) + POWERLAW_DISTINCT_WORK(d.m)) * sizeof *d.work);
    if (!d.work)
        return err_set(err, ERR_NOMEM, "no memory to fit %zu eigenvalues", d.m);
    r = fit(&d, o, out, err);
    free(d.work);
    return r;
}
