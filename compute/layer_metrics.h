/* layer_metrics.h: every default column of one layer, from its spectrum.
 *
 * Formulas: WeightWatcher 0.7.5.5 `analyze()` (apply_esd, apply_norm_metrics, apply_powerlaw),
 * see columns.h. With `compat` the values are upstream's where upstream is wrong:
 *   sv_min       largest of the slices' smallest singular values (default: the smallest)
 *   matrix_rank  counted on the pooled spectrum with N of one slice (default: summed per slice)
 *   entropy      436.x for rank one (default: 0)
 *   a failed fit alpha, D, sigma, xmin, num_pl_spikes = -1 and norms computed with -1 (default:
 *                not available)
 * alpha_mid, alpha_peak, alpha_peak_linear: hill.h, the same with and without `compat`; eigenvalues
 * at or below eps * n * lambda_max are left out.
 * weight_var = norm of the weights / their number - weight_mean^2, which loses digits where the
 * mean is much larger than the deviation.
 */
#ifndef SPECTRALD_LAYER_METRICS_H
#define SPECTRALD_LAYER_METRICS_H

#include "compute/columns.h"
#include "compute/layer_fit.h"
#include "compute/matrix.h"

struct err;

/* Part of every fit's cache key, with POWERLAW_VERSION. */
#define LAYER_METRICS_VERSION 4

/* Why a layer has no fit, or values are missing. Append-only: cached. */
enum layer_reason {
    LAYER_OK = 0,
    LAYER_TOO_FEW_EIGENVALUES = 1, /* fewer than two above the threshold */
    LAYER_ALPHA_INFINITE = 2,      /* the largest eigenvalues are all equal */
    LAYER_NON_FINITE = 3,          /* NaN or infinite weights */
    LAYER_ZERO = 4,                /* every eigenvalue is zero */
    LAYER_REASON_COUNT
};
/* "ok", "too_few_eigenvalues", "alpha_infinite", "non_finite", "zero_matrix"; NULL if unknown. */
const char *layer_reason_name(enum layer_reason r);

struct layer_spectrum {
    size_t n_slices;      /* kernel positions of a convolution, else 1 */
    size_t n_per_slice;   /* eigenvalues per slice = short side */
    size_t n_long;        /* N of one slice */
    double scale;         /* factor on every eigenvalue: 0.5 for pooled conv2d, else 1 */
    const double *lambda; /* n_slices * n_per_slice, each slice ascending, unscaled; borrowed */
    double weight_sum;    /* of all slices */
    double error_bound;   /* of the unscaled eigenvalues */
    bool gram;            /* computed through a Gram matrix: values below error_bound are noise */
    enum precision precision;
};

/* All eigenvalues of a layer, times `scale`, in one ascending list of n_slices * n_per_slice to
 * `out`. */
void layer_pool(const double *lambda, size_t n_slices, size_t n_per_slice, double scale,
                double *out);

struct layer_values {
    double v[COLUMN_COUNT]; /* NaN = not available */
    enum layer_reason reason;
    bool rank_unresolved; /* rank columns and sv_min left out: single precision could not tell */
};

/* Fill *out. `fit`: how the tail is fitted; NULL = the default. Returns 0 also when the fit failed
 * (see out->reason), ERR_NOMEM otherwise. */
int layer_metrics(const struct layer_spectrum *s, const struct layer_fit_options *fit, bool compat,
                  struct layer_values *out, struct err *err);

/* "over-trained" (alpha < 2), "under-trained" (alpha > 6) or "" (also when alpha is NaN). */
const char *layer_warning(double alpha);

#endif
