/* measure.c: see measure.h. */
#include "compute/measure.h"

#include "compute/erg.h"
#include "compute/randomize.h"
#include "compute/spectrum_snr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- columns --------------------------------------------------------------------------------- */

static const char *const mp_methods[] = {"robust", "upstream", NULL};

static const struct measure_column mp_columns[] = {
    {"W_scale", MEASURE_REAL, NULL, "factor that gives the weights a mean eigenvalue of 1"},
    {"sigma_mp", MEASURE_REAL, NULL, "deviation of the noise over that of all weights"},
    {"bulk_min", MEASURE_REAL, NULL, "lower edge of the bulk of noise"},
    {"bulk_max", MEASURE_REAL, NULL, "upper edge of the bulk of noise"},
    {"mp_softrank", MEASURE_REAL, NULL, "bulk_max / lambda_max"},
    {"num_spikes", MEASURE_INTEGER, NULL, "eigenvalues above mp_edge"},
    {"mp_edge", MEASURE_REAL, NULL, "what the largest eigenvalue of noise stays below"},
    {"num_far_spikes", MEASURE_INTEGER, NULL, "eigenvalues clearly above mp_edge"},
    {"mp_distance", MEASURE_REAL, NULL, "Kolmogorov-Smirnov distance of the bulk to the law"},
    {"mp_method", MEASURE_WORD, mp_methods, "how the law was fitted"},
};

static const struct measure_column erg_columns[] = {
    {"detX_num", MEASURE_INTEGER, NULL, "largest eigenvalues whose product is 1, at mean 1"},
    {"detX_val", MEASURE_REAL, NULL, "the smallest of them"},
    {"detX_val_unrescaled", MEASURE_REAL, NULL, "the same at mean 1 (upstream names them so)"},
    {"ERG_gap", MEASURE_INTEGER, NULL, "detX_num - num_pl_spikes"},
    {"ERG_log_det", MEASURE_REAL, NULL, "sum of ln eigenvalue over the power-law tail, at mean 1"},
    {"delta_lambda_min", MEASURE_REAL, NULL, "xmin - detX_val"},
};

static const struct measure_column snr_columns[] = {
    {"spectrum_snr", MEASURE_REAL, NULL, "signal-to-noise ratio as Spectrum has it"},
    {"spectrum_score", MEASURE_REAL, NULL, "spectrum_snr / sv_max"},
    {"spectrum_threshold", MEASURE_REAL, NULL, "singular values above it are Spectrum's signal"},
    {"spectrum_snr_noise", MEASURE_REAL, NULL, "spectrum_snr of pure noise of this shape"},
    {"snr_mp", MEASURE_REAL, NULL, "signal-to-noise ratio above the edge that noise has"},
    {"snr_mp_threshold", MEASURE_REAL, NULL, "singular values above it are signal"},
    {"num_signal_mp", MEASURE_INTEGER, NULL, "how many there are"},
};

static const struct measure_column random_columns[] = {
    {"max_rand_eval", MEASURE_REAL, NULL, "largest eigenvalue of the shuffled weights"},
    {"rand_distance", MEASURE_REAL, NULL, "Jensen-Shannon distance from the shuffled spectrum"},
    {"ww_softrank", MEASURE_REAL, NULL, "largest eigenvalue when shuffled, over lambda_max"},
    {"ww_maxdist", MEASURE_REAL, NULL, "lambda_max less the largest eigenvalue when shuffled"},
    {"rand_W_scale", MEASURE_REAL, NULL, "W_scale of the shuffled weights"},
    {"rand_sigma_mp", MEASURE_REAL, NULL, "sigma_mp of the shuffled weights"},
    {"rand_bulk_min", MEASURE_REAL, NULL, "bulk_min of the shuffled weights"},
    {"rand_bulk_max", MEASURE_REAL, NULL, "bulk_max of the shuffled weights"},
    {"rand_mp_softrank", MEASURE_REAL, NULL, "mp_softrank of the shuffled weights"},
    {"rand_num_spikes", MEASURE_INTEGER, NULL, "num_spikes of the shuffled weights"},
    {"num_traps", MEASURE_INTEGER, NULL, "the same for one order of the weights"},
    {"rand_replicas", MEASURE_INTEGER, NULL, "how often they were shuffled"},
    {"rand_distance_sd", MEASURE_REAL, NULL, "deviation of rand_distance over the orders"},
    {"max_rand_eval_sd", MEASURE_REAL, NULL, "deviation of the largest eigenvalue over them"},
};

#define COLUMNS(list) list, ARRAY_LEN(list)
static const struct measure_info infos[] = {
    [MEASURE_MP] = {"mp_fit", MP_FIT_VERSION, false, COLUMNS(mp_columns)},
    [MEASURE_ERG] = {"erg", ERG_VERSION, false, COLUMNS(erg_columns)},
    [MEASURE_SNR] = {"snr", SPECTRUM_SNR_VERSION, false, COLUMNS(snr_columns)},
    [MEASURE_RANDOM] = {"randomize", RANDOMIZE_VERSION, true, COLUMNS(random_columns)},
};
_Static_assert(ARRAY_LEN(infos) == MEASURE_COUNT, "one for each measure");
_Static_assert(ARRAY_LEN(mp_columns) <= MEASURE_COLUMNS_MAX &&
                   ARRAY_LEN(random_columns) <= MEASURE_COLUMNS_MAX,
               "room for all columns");

const struct measure_info *measure_info(enum measure m)
{
    return &infos[m];
}

const struct measure_column *measure_column_find(const char *name)
{
    for (unsigned m = 0; m < MEASURE_COUNT; m++)
        for (size_t i = 0; i < infos[m].n_columns; i++)
            if (strcmp(infos[m].column[i].name, name) == 0)
                return &infos[m].column[i];
    return NULL;
}

const char *measure_reason_name(enum measure_reason r)
{
    static const char *const names[] = {"", "no_spectrum", "no_fit", "not_converged"};

    _Static_assert(ARRAY_LEN(names) == MEASURE_REASON_COUNT, "a name for each");
    return (size_t)r < ARRAY_LEN(names) ? names[r] : NULL;
}

/* --- the spectrum ---------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void measure_pool(const struct layer_spectrum *s, double *out)
{
    size_t n = s->n_slices * s->n_per_slice;

    for (size_t i = 0; i < n; i++)
        out[i] = s->lambda[i] * s->scale;
    if (s->n_slices > 1)
        qsort(out, n, sizeof *out, ascending);
}

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

    _Static_assert(ARRAY_LEN(v) == ARRAY_LEN(mp_columns), "a value for each column");
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

    _Static_assert(ARRAY_LEN(v) == ARRAY_LEN(erg_columns), "a value for each column");
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

    _Static_assert(ARRAY_LEN(v) == ARRAY_LEN(snr_columns), "a value for each column");
    memcpy(out->v, v, sizeof v);
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
    ASSERT(!infos[m].weights);
    clear(out);
    switch (m) {
    case MEASURE_MP:
        return measure_mp(in, out, err);
    case MEASURE_ERG:
        return measure_erg(in, out, err);
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

    _Static_assert(ARRAY_LEN(v) == ARRAY_LEN(random_columns), "a value for each column");
    memcpy(out->v, v, sizeof v);
}

static int measure_random(const struct measure_input *in, const struct measure_weights *w,
                          double *null, struct measure_result *out, struct err *err)
{
    const struct mp_fit_options mp = {.method = in->opt.mp};
    size_t replicas = replicas_of(&in->opt, in->n);
    const struct randomize_options opt = {.seed = w->seed,
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

int measure_weights(enum measure m, const struct measure_input *in, const struct measure_weights *w,
                    double *null, struct measure_result *out, struct err *err)
{
    ASSERT(infos[m].weights);
    clear(out);
    memset(null, 0, in->n * sizeof *null);
    return measure_random(in, w, null, out, err);
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
    if (m != MEASURE_RANDOM)
        return c;
    replicas = (double)replicas_of(opt, n_short * n_slices);
    c.flops += replicas * (spectrum_flops(n_long, n_short) * (double)n_slices + 100 * elements);
    c.bytes += spectrum_bytes(n_long, n_short) + 8 * elements / (double)n_slices + 8 * replicas * n;
    return c;
}
