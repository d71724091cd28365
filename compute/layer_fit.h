/* layer_fit.h: the tail of a layer's spectrum, fitted as asked for.
 *
 * What WeightWatcher 0.7.5.5 has as fit, fix_fingers, xmax and (documented, without effect) xmin,
 * and Hill's estimator of AlphaPruning and FARMS. The default is powerlaw.h's search, upstream's
 * built-in fit.
 */
#ifndef SPECTRALD_LAYER_FIT_H
#define SPECTRALD_LAYER_FIT_H

#include "common/err.h"

/* Part of every fit's cache key where the options are not the default. */
#define LAYER_FIT_VERSION 1

enum layer_fit_law {
    LAYER_FIT_PL = 0, /* powerlaw.h, powerlaw_distinct.h */
    LAYER_FIT_TPL,    /* truncated power law, tpl.h */
    LAYER_FIT_E_TPL,  /* the same, xmin near the peak of the density only */
    LAYER_FIT_HILL,   /* hill.h: the tail starts at n / pos of the eigenvalues above zero */
    LAYER_FIT_LAW_COUNT
};
/* "pl", "tpl", "e_tpl", "hill"; NULL if unknown. */
const char *layer_fit_law_name(enum layer_fit_law l);

enum layer_fit_fingers {
    LAYER_FINGERS_KEEP = 0,
    LAYER_FINGERS_CLIP_XMAX, /* fingers.h */
    LAYER_FINGERS_XMIN_PEAK,
    LAYER_FINGERS_COUNT
};
/* "", "clip_xmax", "xmin_peak"; NULL if unknown. */
const char *layer_fit_fingers_name(enum layer_fit_fingers f);

struct layer_fit_options {
    enum layer_fit_law law;
    enum layer_fit_fingers fingers; /* with LAYER_FIT_PL only */
    uint32_t max_fingers;           /* of clip_xmax; 0 = 10 */
    double finger_thresh;           /* of clip_xmax; 0 = 1 */
    double xmin, xmax;              /* LAYER_FIT_PL: where the tail starts and ends; 0 = search,
                                     * largest. With xmax the law ends there, too (compat: no) */
    uint32_t drop_top;              /* LAYER_FIT_PL: so many of the largest are left out */
    double pos;                     /* of LAYER_FIT_HILL; 0 = 2 */
};

bool layer_fit_is_default(const struct layer_fit_options *o);

/* ERR_INVALID: options that do not go together, or out of range; `pointer` is set to "/" and the
 * member's name. */
int layer_fit_options_check(const struct layer_fit_options *o, struct err *err);

struct layer_fit {
    double alpha;                /* may be +infinity when the largest values are all equal */
    double D, sigma, xmin, xmax; /* sigma: NaN for truncated laws */
    double Lambda;               /* of truncated laws, else NaN */
    double raw_alpha;            /* clip_xmax: of the first fit, else NaN */
    double num_fingers;          /* clip_xmax: as reported, else NaN */
};

/* Fit n_all eigenvalues >= 0 in ascending order; those above POWERLAW_THRESHOLD take part
 * (LAYER_FIT_HILL: those above eps * n_all * the largest). `compat`: as upstream where it is wrong.
 * ERR_NUMERIC: there is no fit. ERR_NOMEM, ERR_INVALID. */
int layer_fit(const double *lambda, size_t n_all, const struct layer_fit_options *o, double eps,
              bool compat, struct layer_fit *out, struct err *err);

#endif
