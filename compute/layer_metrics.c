/* layer_metrics.c: spectrum -> columns.
 *
 *   p_j = lambda_j / sum + 1e-10,  entropy = -sum p_j ln p_j / ln(rank + 1e-10)
 *   log_alpha_norm = log10 sum lambda_j^alpha, by log-sum-exp: no overflow for large alpha
 *
 * Thresholds are upstream's: 1e-5 for the fit's data, 1e-6 for the weak rank loss, sigma_max * N *
 * eps for the rank.
 */
#include "compute/layer_metrics.h"

#include "common/sort.h"
#include "compute/hill.h"
#include "compute/powerlaw.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ENTROPY_EPS    1e-10
#define WEAK_THRESHOLD 1e-6
#define UNDER_TRAINED  6.0
#define OVER_TRAINED   2.0

const char *layer_reason_name(enum layer_reason r)
{
    static const char *const name[] = {"ok", "too_few_eigenvalues", "alpha_infinite", "non_finite",
                                       "zero_matrix"};

    return (unsigned)r < ARRAY_LEN(name) ? name[r] : NULL;
}

const char *layer_warning(double alpha)
{
    if (alpha < OVER_TRAINED)
        return "over-trained";
    return alpha > UNDER_TRAINED ? "under-trained" : "";
}

static double finite_or_nan(double x)
{
    return isfinite(x) ? x : NAN;
}

static double log10_positive(double x)
{
    return x > 0 ? log10(x) : NAN;
}

/* --- rank ---------------------------------------------------------------------------------- */

/* #{sqrt(lambda) > sqrt(lambda_max) * N * eps} of n ascending values. */
static size_t rank_of(const double *lambda, size_t n, size_t n_long)
{
    double threshold = sqrt(lambda[n - 1]) * (double)n_long * DBL_EPSILON;
    size_t rank = 0;

    while (rank < n && sqrt(lambda[n - 1 - rank]) > threshold)
        rank++;
    return rank;
}

/* In single precision the smallest eigenvalues may be rounding noise. */
static bool unresolved(const struct layer_spectrum *s)
{
    if (!s->gram)
        return false;
    for (size_t i = 0; i < s->n_slices; i++) {
        const double *lambda = s->lambda + i * s->n_per_slice;

        if (lambda[0] <= s->error_bound && lambda[s->n_per_slice - 1] > 0)
            return true;
    }
    return false;
}

static bool weak_loss_uncertain(const struct layer_spectrum *s)
{
    size_t n = s->n_slices * s->n_per_slice;

    if (!s->gram || s->precision == PRECISION_DOUBLE)
        return false;
    for (size_t i = 0; i < n; i++)
        if (fabs(s->lambda[i] - WEAK_THRESHOLD / s->scale) <= s->error_bound)
            return true;
    return false;
}

static void rank_columns(const struct layer_spectrum *s, const double *pooled, bool compat,
                         struct layer_values *out)
{
    size_t m = s->n_per_slice, total = s->n_slices * m, rank = 0, weak = 0;
    double lowest = INFINITY, highest_low = 0;

    for (size_t i = 0; i < s->n_slices; i++) {
        const double *lambda = s->lambda + i * m;
        double sv = sqrt(lambda[0] * s->scale);

        rank += rank_of(lambda, m, s->n_long);
        lowest = sv < lowest ? sv : lowest;
        highest_low = sv > highest_low ? sv : highest_low;
    }
    while (weak < total && pooled[weak] < WEAK_THRESHOLD)
        weak++;
    out->v[COL_RANK_LOSS] = (double)(total - rank);
    out->v[COL_MATRIX_RANK] = (double)(compat ? rank_of(pooled, total, s->n_long) : rank);
    out->v[COL_SV_MIN] = compat ? highest_low : lowest;
    out->v[COL_WEAK_RANK_LOSS] = (double)weak;
}

/* --- norms --------------------------------------------------------------------------------- */

static double entropy(const double *lambda, size_t n, double sum, double rank, bool compat)
{
    double h = 0;

    if (!compat && rank <= 1)
        return 0;
    for (size_t i = 0; i < n; i++) {
        double p = lambda[i] / sum + ENTROPY_EPS;

        h -= p * log(p);
    }
    return h / log(rank + ENTROPY_EPS);
}

static double log_alpha_norm(const double *lambda, size_t n, double alpha)
{
    double top = log(lambda[n - 1]), sum = 0;

    if (isnan(alpha))
        return NAN;
    for (size_t i = 0; i < n; i++)
        sum += exp(alpha * (log(lambda[i]) - top));
    return finite_or_nan((alpha * top + log(sum)) / log(10.0));
}

static void norm_columns(const double *lambda, size_t n, bool compat, struct layer_values *out)
{
    double sum = 0, max = lambda[n - 1], alpha = out->v[COL_ALPHA];

    for (size_t i = 0; i < n; i++)
        sum += lambda[i];
    out->v[COL_NORM] = finite_or_nan(sum);
    out->v[COL_LOG_NORM] = log10_positive(sum);
    out->v[COL_SPECTRAL_NORM] = max;
    out->v[COL_LAMBDA_MAX] = max;
    out->v[COL_SV_MAX] = sqrt(max);
    out->v[COL_LOG_SPECTRAL_NORM] = log10_positive(max);
    if (max <= 0)
        return;
    out->v[COL_STABLE_RANK] = sum / max;
    out->v[COL_ALPHA_WEIGHTED] = alpha * log10(max);
    out->v[COL_LOG_ALPHA_NORM] = log_alpha_norm(lambda, n, alpha);
    out->v[COL_ENTROPY] = finite_or_nan(entropy(lambda, n, sum, out->v[COL_MATRIX_RANK], compat));
}

/* Of the weights as they are: a convolution's eigenvalues are scaled, its weights are not. */
static void weight_columns(const struct layer_spectrum *s, struct layer_values *out)
{
    double count = (double)s->n_slices * (double)s->n_per_slice * (double)s->n_long;
    double mean = s->weight_sum / count, square = out->v[COL_NORM] / s->scale / count;

    out->v[COL_WEIGHT_MEAN] = finite_or_nan(mean);
    out->v[COL_WEIGHT_VAR] = isfinite(square) ? fmax(0, square - mean * mean) : NAN;
}

/* --- fit ----------------------------------------------------------------------------------- */

static void failed_fit(bool compat, struct layer_values *out)
{
    static const enum column minus_one[] = {COL_ALPHA, COL_D, COL_SIGMA, COL_XMIN,
                                            COL_NUM_PL_SPIKES};

    for (size_t i = 0; compat && i < ARRAY_LEN(minus_one); i++)
        out->v[minus_one[i]] = -1;
}

static double precision_of(const struct layer_spectrum *s)
{
    return s->precision == PRECISION_SINGLE ? (double)FLT_EPSILON : DBL_EPSILON;
}

static int fit_columns(const struct layer_spectrum *s, const double *lambda, size_t n,
                       const struct layer_fit_options *opt, bool compat, struct layer_values *out,
                       struct err *err)
{
    static const struct layer_fit_options usual = {.law = LAYER_FIT_PL};
    struct layer_fit f;
    size_t spikes = 0;
    int r = layer_fit(lambda, n, opt ? opt : &usual, precision_of(s), compat, &f, err);

    if (r == ERR_NOMEM)
        return r;
    if (r < 0) {
        out->reason = lambda[n - 1] > 0 ? LAYER_TOO_FEW_EIGENVALUES : LAYER_ZERO;
        failed_fit(compat, out);
        return 0;
    }
    while (spikes < n && lambda[n - 1 - spikes] >= f.xmin)
        spikes++;
    if (isinf(f.alpha))
        out->reason = LAYER_ALPHA_INFINITE;
    out->v[COL_ALPHA] = finite_or_nan(f.alpha);
    out->v[COL_SIGMA] = finite_or_nan(f.sigma);
    out->v[COL_D] = f.D;
    out->v[COL_XMIN] = f.xmin;
    out->v[COL_XMAX] = f.xmax;
    out->v[COL_NUM_PL_SPIKES] = (double)spikes;
    out->v[COL_TPL_RATE] = finite_or_nan(f.Lambda);
    out->v[COL_RAW_ALPHA] = finite_or_nan(f.raw_alpha);
    out->v[COL_NUM_FINGERS] = f.num_fingers;
    return 0;
}

static int hill_columns(const struct layer_spectrum *s, const double *lambda, size_t n,
                        struct layer_values *out, struct err *err)
{
    static const struct {
        enum column column;
        enum hill_rule rule;
    } rules[] = {{COL_ALPHA_MID, HILL_MID},
                 {COL_ALPHA_PEAK, HILL_PEAK_UPSTREAM},
                 {COL_ALPHA_PEAK_LINEAR, HILL_PEAK_LINEAR}};
    double eps = precision_of(s);
    AUTO(freep) double *work = malloc(2 * n * sizeof *work);

    if (!work)
        return err_set(err, ERR_NOMEM, "no memory to fit %zu eigenvalues", n);
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct hill_fit f;

        if (hill_fit(lambda, n, rules[i].rule, eps, work, &f, NULL) == 0)
            out->v[rules[i].column] = f.alpha;
    }
    return 0;
}

void layer_pool(const double *lambda, size_t n_slices, size_t n_per_slice, double scale,
                double *out)
{
    size_t n = n_slices * n_per_slice;

    for (size_t i = 0; i < n; i++)
        out[i] = lambda[i] * scale;
    if (n_slices > 1)
        sort_ascending(out, n);
}

int layer_metrics(const struct layer_spectrum *s, const struct layer_fit_options *fit, bool compat,
                  struct layer_values *out, struct err *err)
{
    size_t n = s->n_slices * s->n_per_slice;
    AUTO(freep) double *pooled = malloc(n * sizeof *pooled);
    struct layer_values v = {.reason = LAYER_OK};
    int r;

    if (!pooled)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", n);
    for (size_t c = 0; c < COLUMN_COUNT; c++)
        v.v[c] = NAN;
    layer_pool(s->lambda, s->n_slices, s->n_per_slice, s->scale, pooled);
    v.v[COL_N] = (double)s->n_long;
    v.v[COL_M] = (double)s->n_per_slice;
    v.v[COL_Q] = (double)s->n_long / (double)s->n_per_slice;
    v.v[COL_RF] = (double)s->n_slices;
    v.v[COL_NUM_EVALS] = (double)n;
    rank_columns(s, pooled, compat, &v);
    r = fit_columns(s, pooled, n, fit, compat, &v, err);
    if (r == 0)
        r = hill_columns(s, pooled, n, &v, err);
    if (r < 0)
        return r;
    norm_columns(pooled, n, compat, &v);
    weight_columns(s, &v);
    v.rank_unresolved = unresolved(s) || weak_loss_uncertain(s);
    if (unresolved(s))
        v.v[COL_RANK_LOSS] = v.v[COL_MATRIX_RANK] = v.v[COL_SV_MIN] = NAN;
    if (weak_loss_uncertain(s))
        v.v[COL_WEAK_RANK_LOSS] = NAN;
    *out = v;
    return 0;
}
