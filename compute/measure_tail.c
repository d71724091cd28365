/* measure_tail.c: see measure_tail.h. */
#include "compute/measure_tail.h"

#include "compute/bootstrap.h"
#include "compute/vuong.h"

#include <math.h>
#include <stdlib.h>

#define LEVEL      0.95 /* of the interval of alpha */
#define SEED_P     1    /* streams of replicates of the two kinds do not meet */
#define SEED_ALPHA 2

/* First eigenvalue that is at least x. */
static size_t first_from(const struct measure_input *in, double x)
{
    size_t i = in->n;

    while (i > 0 && in->lambda[i - 1] >= x)
        i--;
    return i;
}

static bool fitted(const struct measure_input *in, struct measure_result *out)
{
    if (in->fit->reason == LAYER_OK)
        return true;
    out->reason = MEASURE_NO_FIT;
    return false;
}

/* --- other distributions --------------------------------------------------------------------- */

static void alternatives_values(const struct best_fit *b, double *v)
{
    static const enum tail_law_kind order[] = {TAIL_TRUNCATED, TAIL_EXPONENTIAL, TAIL_STRETCHED,
                                               TAIL_LOGNORMAL};

    v[0] = b->best;
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        if (b->has[order[i]]) {
            v[1 + 2 * i] = b->vs_pl[order[i]].R;
            v[2 + 2 * i] = b->vs_pl[order[i]].p;
        }
    if (b->has[TAIL_TRUNCATED]) {
        v[9] = b->law[TAIL_TRUNCATED].par[0];
        v[10] = b->law[TAIL_TRUNCATED].par[1];
    }
}

int measure_alternatives(const struct measure_input *in, struct measure_result *out,
                         struct err *err)
{
    double xmin = in->fit->v[COL_XMIN], *work;
    struct best_fit b;
    size_t first, n;
    int r;

    if (!fitted(in, out))
        return 0;
    first = first_from(in, xmin);
    n = in->n - first;
    work = malloc(BEST_FIT_WORK(n) * sizeof *work);
    if (!work)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", n);
    r = best_fit(in->lambda + first, n, xmin, in->opt.compat, BEST_FIT_LEVEL, work, &b, err);
    free(work);
    if (r == ERR_NUMERIC)
        out->reason = MEASURE_NOT_CONVERGED;
    else if (r == 0)
        alternatives_values(&b, out->v);
    return r == ERR_NUMERIC ? 0 : r;
}

/* --- replicates ------------------------------------------------------------------------------ */

size_t bootstrap_count(const struct measure_options *opt)
{
    return opt->bootstrap ? opt->bootstrap : BOOTSTRAP_REPLICATES;
}

static struct powerlaw_fit fit_of(const struct measure_input *in)
{
    const double *v = in->fit->v;

    return (struct powerlaw_fit){.alpha = v[COL_ALPHA],
                                 .D = v[COL_D],
                                 .sigma = v[COL_SIGMA],
                                 .xmin = v[COL_XMIN],
                                 .xmax = v[COL_XMAX],
                                 .n_tail = (size_t)v[COL_NUM_PL_SPIKES]};
}

/* p-value and interval from `n` replicates each. */
static int replicate(const struct measure_input *in, size_t first, size_t n, double *work,
                     struct bootstrap_replicate *rep, struct measure_result *out, struct err *err)
{
    const struct powerlaw_fit fit = fit_of(in);
    struct bootstrap_options opt = {.kind = BOOTSTRAP_MODEL, .seed = in->seed + SEED_P};
    const double *x = in->lambda + first;
    size_t m = in->n - first;
    struct bootstrap_interval interval;
    struct bootstrap_p p;
    int r = bootstrap_replicates(x, m, &fit, &opt, 0, n, work, rep, err);

    if (r < 0)
        return r;
    p = bootstrap_p_value(fit.D, rep, n);
    opt.kind = BOOTSTRAP_RESAMPLE;
    opt.seed = in->seed + SEED_ALPHA;
    r = bootstrap_replicates(x, m, &fit, &opt, 0, n, work, rep, err);
    if (r == 0)
        r = bootstrap_interval(rep, n, LEVEL, &interval, err);
    if (r < 0)
        return r;
    out->v[0] = p.p;
    out->v[1] = p.error;
    out->v[2] = interval.low;
    out->v[3] = isfinite(interval.high) ? interval.high : NAN;
    out->v[4] = isfinite(interval.sd) ? interval.sd : NAN;
    out->v[5] = (double)n;
    return 0;
}

int measure_bootstrap(const struct measure_input *in, struct measure_result *out, struct err *err)
{
    size_t n = bootstrap_count(&in->opt), first = in->n, m;
    struct bootstrap_replicate *rep;
    double *work;
    int r;

    if (!fitted(in, out))
        return 0;
    while (first > 0 && in->lambda[first - 1] > POWERLAW_THRESHOLD)
        first--;
    m = in->n - first;
    work = malloc(BOOTSTRAP_WORK(m) * sizeof *work);
    rep = calloc(n, sizeof *rep);
    r = work && rep ? replicate(in, first, n, work, rep, out, err)
                    : err_set(err, ERR_NOMEM, "no memory for %zu replicates", n);
    free(work);
    free(rep);
    if (r == ERR_NUMERIC)
        out->reason = MEASURE_NOT_CONVERGED;
    return r == ERR_NUMERIC ? 0 : r;
}
