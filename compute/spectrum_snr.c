/* spectrum_snr.c: two thresholds, and what noise does at the first. */
#include "compute/spectrum_snr.h"

#include "compute/marchenko_pastur.h"

#include <math.h>

#define IQR_OF_NORMAL 1.349 /* as upstream rounds it */

/* Linear between order statistics (torch.quantile's default). */
static double quantile(const double *lambda, size_t n, double p)
{
    double at = p * (double)(n - 1), a, b;
    size_t i = (size_t)at;

    a = sqrt(lambda[i]);
    b = i + 1 < n ? sqrt(lambda[i + 1]) : a;
    return a + (at - (double)i) * (b - a);
}

struct split {
    double signal, noise;
    size_t num_signal;
};

static struct split split_at(const double *lambda, size_t n, double eps)
{
    struct split s = {0};

    for (size_t i = 0; i < n; i++) {
        double v = sqrt(lambda[i]);

        if (v > eps) {
            s.signal += v;
            s.num_signal++;
        } else {
            s.noise += v;
        }
    }
    return s;
}

/* What Spectrum's threshold does to noise, from the law in the limit. */
static void baseline(double q, struct spectrum_snr *out)
{
    double iqr = sqrt(mp_quantile(0.75, q, 1)) - sqrt(mp_quantile(0.25, q, 1));
    double eps = iqr / IQR_OF_NORMAL * (1 + sqrt(1 / q)), x = eps * eps, top = mp_upper(q, 1);

    out->noise_share = 1 - mp_cdf(x, q, 1);
    out->noise_snr = out->noise_share < 1 ? mp_mean_root(x, top, q) / mp_mean_root(0, x, q) : NAN;
}

static void spectrums(const double *lambda, size_t n, double q, struct spectrum_snr *out)
{
    double max = sqrt(lambda[n - 1]);
    struct split s;

    out->sigma = (quantile(lambda, n, 0.75) - quantile(lambda, n, 0.25)) / IQR_OF_NORMAL;
    out->eps = out->sigma * (1 + sqrt(1 / q));
    s = split_at(lambda, n, out->eps);
    out->num_signal = s.num_signal;
    out->noise_empty = s.num_signal == n;
    out->snr = max > 0 ? s.signal / (out->noise_empty ? 1 : s.noise) : NAN;
    out->score = out->snr / max;
    if (!isfinite(out->snr)) /* the noise set holds zeros only */
        out->snr = out->score = NAN;
}

static void corrected(const double *lambda, size_t n, double n_long, double n_short,
                      struct spectrum_snr *out)
{
    struct split s;

    out->sigma_e = quantile(lambda, n, 0.5) / sqrt(n_long * mp_quantile(0.5, n_long / n_short, 1));
    out->eps_mp = out->sigma_e * (sqrt(n_long) + sqrt(n_short));
    s = split_at(lambda, n, out->eps_mp);
    out->num_signal_mp = s.num_signal;
    out->snr_mp = s.noise > 0 ? s.signal / s.noise : NAN;
}

int spectrum_snr(const double *lambda, size_t n, size_t n_long, size_t n_short,
                 struct spectrum_snr *out, struct err *err)
{
    double q = (double)n_long / (double)n_short;

    if (n == 0 || n_short == 0 || n_long < n_short)
        return err_set(err, ERR_INVALID, "%zu eigenvalues of a matrix of %zu x %zu", n, n_long,
                       n_short);
    for (size_t i = 0; i < n; i++)
        if (!(isfinite(lambda[i]) && lambda[i] >= (i > 0 ? lambda[i - 1] : 0)))
            return err_set(err, ERR_INVALID, "eigenvalue %zu is not finite or not in order", i);
    baseline(q, out);
    spectrums(lambda, n, q, out);
    corrected(lambda, n, (double)n_long, (double)n_short, out);
    return 0;
}
