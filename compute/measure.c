/* measure.c: see measure.h. */
#include "compute/measure.h"

#include "compute/erg.h"
#include "compute/measure_tail.h"
#include "compute/measure_traps.h"
#include "compute/phase.h"
#include "compute/randomize.h"
#include "compute/spectrum_snr.h"
#include "compute/vector_metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- measures -------------------------------------------------------------------------------- */

static int measure_mp(const struct measure_input *in, struct measure_result *out, struct err *err)
{
    const struct mp_fit_options opt = {.method = in->opt.mp};
    double *work = malloc(in->n * sizeof *work);
    struct mp_fit f;
    int r;

    if (!work)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", in->n);
    r = mp_fit(in->lambda, in->n, in->n_long, in->n_short, &opt, work, &f, err);
    free(work);
    if (r == ERR_NUMERIC) {
        out->reason = MEASURE_NO_SPECTRUM;
        return 0;
    }
    if (r < 0)
        return r;
    const double v[] = {
        f.w_scale, f.sigma,           f.bulk_min, f.bulk_max, f.softrank, (double)f.num_spikes,
        f.edge,    (double)f.num_far, f.distance, f.method};

    _Static_assert(ARRAY_LEN(v) == MEASURE_MP_COLUMNS, "a value for each column");
    memcpy(out->v, v, sizeof v);
    return 0;
}

static bool is_zero(const struct measure_input *in)
{
    return in->n < 2 || in->lambda[in->n - 1] <= 0;
}

static int measure_erg(const struct measure_input *in, struct measure_result *out, struct err *err)
{
    double tail = in->fit->v[COL_NUM_PL_SPIKES], xmin = in->fit->v[COL_XMIN];
    bool fitted = in->fit->reason == LAYER_OK;
    struct erg e;
    int r;

    if (is_zero(in)) {
        out->reason = MEASURE_NO_SPECTRUM;
        return 0;
    }
    r = erg_condition(in->lambda, in->n, true, in->opt.compat, &e, err);
    if (r < 0)
        return r;
    const double v[] = {(double)e.num,
                        e.lambda,
                        e.scaled,
                        fitted ? (double)e.num - tail : NAN,
                        fitted ? erg_tail_log(in->lambda, in->n, (size_t)tail) : NAN,
                        fitted ? xmin - e.lambda : NAN};

    _Static_assert(ARRAY_LEN(v) == MEASURE_ERG_COLUMNS, "a value for each column");
    memcpy(out->v, v, sizeof v);
    if (!fitted)
        out->reason = MEASURE_NO_FIT;
    return 0;
}

static int measure_snr(const struct measure_input *in, struct measure_result *out, struct err *err)
{
    struct spectrum_snr s;
    int r;

    if (is_zero(in)) {
        out->reason = MEASURE_NO_SPECTRUM;
        return 0;
    }
    r = spectrum_snr(in->lambda, in->n, in->n_long, in->n_short, &s, err);
    if (r < 0)
        return r;
    const double v[] = {s.snr,
                        s.score,
                        s.eps,
                        s.noise_snr,
                        s.snr_mp,
                        s.eps_mp,
                        isnan(s.snr_mp) ? NAN : (double)s.num_signal_mp};

    _Static_assert(ARRAY_LEN(v) == MEASURE_SNR_COLUMNS, "a value for each column");
    memcpy(out->v, v, sizeof v);
    return 0;
}

static void phase_values(const struct phase *p, const struct phase_confidence *c,
                         struct measure_result *out)
{
    bool next = isfinite(p->next_distance);
    const double v[] = {p->kind,
                        next ? (double)p->next_kind : NAN,
                        next ? (double)p->next_quantity : NAN,
                        next ? p->next_threshold : NAN,
                        next ? p->next_distance : NAN,
                        c->confidence,
                        c->size,
                        c->fit,
                        c->signal,
                        p->evidence[PHASE_ZERO_SHARE],
                        p->evidence[PHASE_EXCESS],
                        p->evidence[PHASE_MISFIT],
                        p->evidence[PHASE_DISTANCE],
                        p->evidence[PHASE_NULL_RATIO],
                        p->evidence[PHASE_SPIKE_SHARE],
                        p->evidence[PHASE_FAR_SHARE],
                        p->evidence[PHASE_REACH],
                        p->evidence[PHASE_NOISE_SHARE]};

    _Static_assert(ARRAY_LEN(v) == MEASURE_PHASE_COLUMNS, "a value for each column");
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        out->v[i] = isfinite(v[i]) ? v[i] : NAN;
}

static int measure_phase(const struct measure_input *in, struct measure_result *out,
                         struct err *err)
{
    const struct mp_fit_options opt = {.method = MP_FIT_ROBUST};
    bool fitted = in->fit->reason == LAYER_OK;
    double *work = malloc(in->n * sizeof *work);
    struct mp_fit mp;
    struct phase_input pi = {.n = in->n,
                             .n_matrices = in->n / in->n_short,
                             .largest = in->lambda[in->n - 1],
                             .alpha = fitted ? in->fit->v[COL_ALPHA] : NAN,
                             .D = fitted ? in->fit->v[COL_D] : NAN,
                             .n_tail = fitted ? (size_t)in->fit->v[COL_NUM_PL_SPIKES] : 0,
                             .null_largest = in->null_largest};
    struct phase_confidence confidence;
    struct phase p;
    int r;

    if (!work)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", in->n);
    r = mp_fit(in->lambda, in->n, in->n_long, in->n_short, &opt, work, &mp, err);
    free(work);
    pi.mp = r == 0 ? &mp : NULL;
    if (r < 0 && r != ERR_NUMERIC)
        return r;
    r = phase_classify(&pi, NULL, &p, err);
    if (r < 0)
        return r;
    confidence = phase_confidence(&pi);
    phase_values(&p, &confidence, out);
    return 0;
}

static void clear(struct measure_result *out)
{
    out->reason = MEASURED;
    for (size_t i = 0; i < MEASURE_COLUMNS_MAX; i++)
        out->v[i] = NAN;
}

int measure_spectrum(enum measure m, const struct measure_input *in, struct measure_result *out,
                     struct err *err)
{
    ASSERT(!measure_info(m)->weights);
    clear(out);
    switch (m) {
    case MEASURE_MP:
        return measure_mp(in, out, err);
    case MEASURE_ERG:
        return measure_erg(in, out, err);
    case MEASURE_PHASE:
        return measure_phase(in, out, err);
    case MEASURE_ALTERNATIVES:
        return measure_alternatives(in, out, err);
    case MEASURE_BOOTSTRAP:
        return measure_bootstrap(in, out, err);
    default:
        return measure_snr(in, out, err);
    }
}

/* --- with weights ---------------------------------------------------------------------------- */

static size_t replicas_of(const struct measure_options *opt, size_t n)
{
    size_t replicas = opt->replicas ? opt->replicas : randomize_replicas(n);

    return opt->compat ? replicas + 1 : replicas; /* the last one is compared with */
}

static void random_values(const struct randomize_values *r, struct measure_result *out)
{
    const double v[] = {r->max_rand_eval,
                        r->rand_distance,
                        r->ww_softrank,
                        r->ww_maxdist,
                        r->fitted ? r->fit.w_scale : NAN,
                        r->fitted ? r->fit.sigma : NAN,
                        r->fitted ? r->fit.bulk_min : NAN,
                        r->fitted ? r->fit.bulk_max : NAN,
                        r->fitted ? r->fit.softrank : NAN,
                        r->fitted ? (double)r->fit.num_spikes : NAN,
                        r->fitted ? (double)r->num_traps : NAN,
                        (double)r->replicas,
                        r->distance_sd,
                        r->max_sd};

    _Static_assert(ARRAY_LEN(v) == MEASURE_RANDOM_COLUMNS, "a value for each column");
    memcpy(out->v, v, sizeof v);
}

static int measure_random(const struct measure_input *in, const struct measure_weights *w,
                          double *null, struct measure_result *out, struct err *err)
{
    const struct mp_fit_options mp = {.method = in->opt.mp};
    size_t replicas = replicas_of(&in->opt, in->n);
    const struct randomize_options opt = {.seed = in->seed,
                                          .replicas = replicas,
                                          .scale = w->scale,
                                          .keep = w->wide ? PRECISION_DOUBLE : PRECISION_SINGLE,
                                          .spectrum = w->spectrum};
    struct randomize_values values;
    double *spectra;
    int r;

    if (is_zero(in)) {
        out->reason = MEASURE_NO_SPECTRUM;
        return 0;
    }
    spectra = calloc(replicas * in->n, sizeof *spectra);
    if (!spectra)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", replicas * in->n);
    r = randomize_spectra(w->slice, w->n_slices, &opt, spectra, err);
    if (r == 0)
        r = randomize_compare(in->lambda, in->n, in->n_long, in->n_short, spectra, replicas,
                              in->opt.compat, &mp, &values, err);
    if (r == 0) {
        random_values(&values, out);
        memcpy(null, spectra, in->n * sizeof *null);
    }
    free(spectra);
    return r;
}

static void group_values(const struct vector_group *g, double *v)
{
    v[0] = g->mean_vec_entropy;
    v[1] = g->var_vec_entropy;
    v[2] = g->mean_loc_ratio;
    v[3] = g->var_loc_ratio;
    v[4] = g->mean_part_ratio;
    v[5] = g->var_part_ratio;
}

static int measure_vectors(const struct measure_input *in, const struct measure_weights *w,
                           struct measure_result *out, struct err *err)
{
    struct layer_vectors v;
    int r;

    out->reason = w->n_slices > 1                     ? MEASURE_NOT_A_MATRIX
                  : is_zero(in)                       ? MEASURE_NO_SPECTRUM
                  : in->fit->reason != LAYER_OK       ? MEASURE_NO_FIT
                  : in->n_short > LAYER_VECTORS_N_MAX ? MEASURE_TOO_LARGE
                                                      : MEASURED;
    if (out->reason != MEASURED)
        return 0;
    r = layer_vectors(w->slice, (size_t)in->fit->v[COL_NUM_PL_SPIKES], &v, err);
    if (r < 0)
        return r;
    group_values(&v.bulk, out->v);
    group_values(&v.tail, out->v + 6);
    return 0;
}

int measure_weights(enum measure m, const struct measure_input *in, const struct measure_weights *w,
                    struct measure_more *more, struct measure_result *out, struct err *err)
{
    ASSERT(measure_info(m)->weights);
    clear(out);
    memset(more->null, 0, in->n * sizeof *more->null);
    more->n_traps = 0;
    switch (m) {
    case MEASURE_RANDOM:
        return measure_random(in, w, more->null, out, err);
    case MEASURE_TRAPS:
        return measure_traps(in, w, more, out, err);
    default:
        return measure_vectors(in, w, out, err);
    }
}

/* --- costs ----------------------------------------------------------------------------------- */

struct measure_cost measure_cost(enum measure m, const struct measure_options *opt, size_t n_long,
                                 size_t n_short, size_t n_slices)
{
    double n = (double)n_short * (double)n_slices, elements = (double)n_long * n;
    struct measure_cost c = {1e4 + 2e3 * n, 1e6 + 64 * n};
    double replicas;

    if (m == MEASURE_ERG && opt->compat)
        c.flops += n * n;
    if (m == MEASURE_ALTERNATIVES)
        c.flops += 1e5 * n;
    if (m == MEASURE_BOOTSTRAP) /* two fits each, which look at about a tenth of all pairs */
        c.flops += 2 * (double)bootstrap_count(opt) * (500 * n + 2 * n * n);
    if (m == MEASURE_VECTORS && n_slices == 1 && n_short <= LAYER_VECTORS_N_MAX) {
        c.flops += 8 * n * n * n + elements * n;
        c.bytes += 16 * n * n + 64e6;
    }
    if (m == MEASURE_TRAPS && n_slices == 1)
        measure_traps_cost(n_long, n_short, &c);
    if (m != MEASURE_RANDOM)
        return c;
    replicas = (double)replicas_of(opt, n_short * n_slices);
    c.flops += replicas * (spectrum_flops(n_long, n_short) * (double)n_slices + 100 * elements);
    c.bytes += spectrum_bytes(n_long, n_short) + 8 * elements / (double)n_slices + 8 * replicas * n;
    return c;
}
