/* smooth.c: see smooth.h. */
#include "compute/smooth.h"

#include "compute/erg.h"
#include "compute/layer_metrics.h"
#include "compute/randomize.h"

#include <math.h>
#include <stdlib.h>

const char *smooth_method_name(enum smooth_method m)
{
    static const char *const names[SMOOTH_METHOD_COUNT] = {"svd", "detX", "alpha_min", "rmt",
                                                           "sharpness"};

    return (unsigned)m < SMOOTH_METHOD_COUNT ? names[m] : NULL;
}

const char *smooth_reason_name(enum smooth_reason r)
{
    static const char *const names[SMOOTH_REASON_COUNT] = {
        "", "non_finite", "zero_matrix", "no_fit", "nothing_to_do", "not_converged", "overflow"};

    return (unsigned)r < SMOOTH_REASON_COUNT ? names[r] : NULL;
}

size_t smooth_per_slice(uint64_t k, size_t n_slices, size_t n_short)
{
    uint64_t each = k / n_slices + (k % n_slices != 0);

    return each < n_short ? (size_t)each : n_short;
}

/* --- the spectrum ---------------------------------------------------------------------------- */

struct pool {
    const struct matrix_source *slice;
    size_t n_slices, n; /* of all: n_slices * n_short */
    double *by_slice;   /* n: each slice ascending */
    double *lambda;     /* n: all of them ascending */
    struct layer_values values;
};

static int get_values(struct pool *p, const struct layer_spectrum *s, bool compat, struct err *err)
{
    int r = layer_metrics(s, NULL, compat, &p->values, err);

    layer_pool(p->by_slice, p->n_slices, s->n_per_slice, s->scale, p->lambda);
    return r;
}

/* Sets *reason where there is no spectrum. */
static int get_spectrum(struct pool *p, bool compat, enum smooth_reason *reason, struct err *err)
{
    const struct spectrum_options opt = {.precision = PRECISION_DOUBLE};
    size_t m = p->slice[0].n_short;
    struct layer_spectrum s = {.n_slices = p->n_slices,
                               .n_per_slice = m,
                               .n_long = p->slice[0].n_long,
                               .scale = 1,
                               .lambda = p->by_slice,
                               .gram = true};

    for (size_t i = 0; i < p->n_slices; i++) {
        struct spectrum_info info = {.method = SPECTRUM_NONE};
        int r = spectrum_compute(&p->slice[i], &opt, p->by_slice + i * m, &info, err);

        if (r == 0 && info.n_nonfinite == 0) {
            s.weight_sum += info.sum;
            s.error_bound = fmax(s.error_bound, info.error_bound);
            s.gram = s.gram && info.method != SPECTRUM_TSQR_SVD;
            continue;
        }
        *reason = r == 0 ? SMOOTH_NON_FINITE : SMOOTH_NOT_CONVERGED;
        return r == ERR_NUMERIC ? 0 : r;
    }
    return get_values(p, &s, compat, err);
}

/* --- k --------------------------------------------------------------------------------------- */

/* Toward zero, as upstream's int(). */
static int64_t k_of_svd(const struct smooth_options *opt, size_t n)
{
    return opt->k ? opt->k : (int64_t)(opt->percent * (double)n);
}

static int k_of_erg(const struct pool *p, bool compat, int64_t *k, struct err *err)
{
    struct erg e;
    int r = erg_condition(p->lambda, p->n, true, compat, &e, err);

    if (r == 0)
        *k = (int64_t)e.num;
    return r;
}

static struct mp_fit_options mp_of(const struct smooth_options *opt)
{
    return (struct mp_fit_options){.method = opt->compat ? MP_FIT_UPSTREAM : MP_FIT_ROBUST};
}

static int k_of_mp(const struct pool *p, const struct smooth_options *opt, int64_t *k,
                   struct err *err)
{
    const struct mp_fit_options mp = mp_of(opt);
    AUTO(freep) double *work = malloc(p->n * sizeof *work);
    struct mp_fit fit;
    int r;

    if (!work)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", p->n);
    r = mp_fit(p->lambda, p->n, p->slice[0].n_long, p->slice[0].n_short, &mp, work, &fit, err);
    if (r == 0)
        *k = (int64_t)fit.num_spikes;
    return r;
}

static int k_of_shuffled(const struct pool *p, const struct smooth_options *opt, int64_t *k,
                         struct err *err)
{
    const struct mp_fit_options mp = mp_of(opt);
    const struct randomize_options how = {.seed = opt->seed,
                                          .replicas = opt->compat ? 1 : randomize_replicas(p->n),
                                          .scale = 1,
                                          .keep = opt->wide ? PRECISION_DOUBLE : PRECISION_SINGLE,
                                          .spectrum = {.precision = PRECISION_DOUBLE}};
    AUTO(freep) double *null = malloc(how.replicas * p->n * sizeof *null);
    struct randomize_values v;
    int r;

    if (!null)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", how.replicas * p->n);
    r = randomize_spectra(p->slice, p->n_slices, &how, null, err);
    if (r == 0)
        r = randomize_compare(p->lambda, p->n, p->slice[0].n_long, p->slice[0].n_short, null,
                              how.replicas, false, &mp, &v, err);
    if (r == 0 && v.fitted)
        *k = -(int64_t)v.num_traps;
    return r < 0 ? r : v.fitted ? 0 : ERR_NUMERIC;
}

/* ERR_NUMERIC: there is none. */
static int choose_k(const struct pool *p, const struct smooth_options *opt, int64_t *k,
                    struct err *err)
{
    switch (opt->method) {
    case SMOOTH_DETX:
        return k_of_erg(p, opt->compat, k, err);
    case SMOOTH_ALPHA_MIN:
        *k = p->values.reason == LAYER_OK ? (int64_t)p->values.v[COL_NUM_PL_SPIKES] : 0;
        return p->values.reason == LAYER_OK ? 0 : ERR_NUMERIC;
    case SMOOTH_RMT:
        return k_of_mp(p, opt, k, err);
    case SMOOTH_SHARPNESS:
        return k_of_shuffled(p, opt, k, err);
    default:
        *k = k_of_svd(opt, p->n);
        return 0;
    }
}

/* A number of singular values that changes something. */
static void take_k(const struct pool *p, int64_t k, struct smooth_choice *out)
{
    size_t m = p->slice[0].n_short;

    out->how = k < 0 ? TRUNCATE_REMOVE : TRUNCATE_KEEP;
    out->k = k < 0 ? 0 - (uint64_t)k : (uint64_t)k;
    if (out->k > p->n)
        out->k = p->n;
    if (k == 0 || (k > 0 && smooth_per_slice(out->k, p->n_slices, m) == m))
        *out = (struct smooth_choice){.reason = SMOOTH_NOTHING, .rank = out->rank};
}

static int choose(struct pool *p, const struct smooth_options *opt, struct smooth_choice *out,
                  struct err *err)
{
    struct err why = {0};
    int64_t k = 0;
    int r = get_spectrum(p, opt->compat, &out->reason, err);

    if (r < 0 || out->reason != SMOOTHED)
        return r;
    if (p->lambda[p->n - 1] <= 0) {
        out->reason = SMOOTH_ZERO;
        return 0;
    }
    if (isfinite(p->values.v[COL_MATRIX_RANK]))
        out->rank = (uint64_t)p->values.v[COL_MATRIX_RANK];
    r = choose_k(p, opt, &k, &why);
    if (r == 0)
        take_k(p, k, out);
    else if (r == ERR_NUMERIC)
        out->reason = SMOOTH_NO_FIT;
    else
        return err_set(err, r, "%s", why.text);
    return 0;
}

int smooth_choose(const struct matrix_source *slice, size_t n_slices,
                  const struct smooth_options *opt, struct smooth_choice *out, struct err *err)
{
    size_t n = n_slices ? n_slices * slice[0].n_short : 0;
    AUTO(freep) double *by_slice = malloc((n + 1) * sizeof *by_slice);
    AUTO(freep) double *lambda = malloc((n + 1) * sizeof *lambda);
    struct pool p = {
        .slice = slice, .n_slices = n_slices, .n = n, .by_slice = by_slice, .lambda = lambda};

    if (n == 0 || opt->method >= SMOOTH_METHOD_COUNT ||
        (opt->method == SMOOTH_SVD && opt->k == 0 &&
         !(fabs(opt->percent) > 0 && fabs(opt->percent) <= 1)))
        return err_set(err, ERR_INVALID, "there is nothing to smooth, or no way to");
    if (!by_slice || !lambda)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", n);
    *out = (struct smooth_choice){.reason = SMOOTHED};
    return choose(&p, opt, out, err);
}
