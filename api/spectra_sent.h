/* spectra_sent.h: layers whose eigenvalues a client sends along, and the exponents fitted to them.
 * All of it takes time: not for the loop thread, but for fit_ask_read().
 */
#ifndef SPECTRALD_SPECTRA_SENT_H
#define SPECTRALD_SPECTRA_SENT_H

#include "api/measured.h"
#include "compute/hill.h"

#define SPECTRUM_SENT_MAX 65536      /* eigenvalues of one layer */
#define SPECTRA_WORK_MAX  (1u << 30) /* sum of the squares of their numbers, for fits that scan */

struct fit_ask {
    enum hill_rule rule;
    struct hill_start start; /* of HILL_MID */
    bool filter_zeros;       /* only eigenvalues above `threshold`, unless there are none */
    double threshold;
    double conv_norm; /* eigenvalues of convolutions are multiplied by it */
    bool keep_zeros;  /* as upstream: HILL_MID counts them when it looks for the middle */
};

extern const char *const fit_methods[];
/* "xmin_mid", "xmin_peak" or "ks". */
const char *fit_method_name(const struct fit_ask *f);

/* The member `fit` of the body; defaults where it is missing. ERR_INVALID with the pointer. */
int fit_ask_read(const json_t *body, struct fit_ask *out, struct err *err);

/* A metric of a spectrum sent along, by its name: alpha, D, alpha_weighted (alphahat), lambda_max
 * (spectral_norm), norm or stable_rank; NULL means alpha. ERR_INVALID at /metric. */
int spectra_metric(const json_t *name, const char **out, struct err *err);

/* Take [{"name", "kind", "eigs": [...], "block"}, ...]; `metric` as from spectra_metric(). A layer
 * without eigs has no spectrum: a norm, a bias. ERR_INVALID and ERR_LIMIT with the pointer. */
int spectra_take(const json_t *layers, const char *metric, const struct fit_ask *fit,
                 struct metric_rows **out, struct err *err);

#endif
