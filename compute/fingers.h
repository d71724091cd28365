/* fingers.h: power-law fits of spectra whose few largest values ("fingers", from finite size) make
 * alpha spuriously large. WeightWatcher's fix_fingers, as meant and as 0.7.5.5 does it.
 */
#ifndef SPECTRALD_FINGERS_H
#define SPECTRALD_FINGERS_H

#include "compute/powerlaw.h"

/* clip_xmax: fit; then leave out the largest value, the two largest, ..., up to max_fingers of them
 * or half of all, and take the first fit whose alpha is more than `thresh` below the first one's.
 * Stop without a change at the first alpha <= 2.
 *
 * `compat` (RMT_Util.fit_clipped_powerlaw): starts with two, ends with nine, and reports one finger
 * less than it left out; max_fingers counts only when it is at least half of n_all, the number of
 * eigenvalues before any was left out of the fit. */
struct fingers_options {
    bool compat;
    size_t max_fingers; /* upstream's default: 10 */
    double thresh;      /* upstream's default: 1 */
    size_t n_all;       /* compat only */
};

struct fingers_fit {
    struct powerlaw_fit fit; /* of what was kept */
    double raw_alpha;        /* of the first fit */
    size_t num_fingers;      /* as reported */
    size_t removed;          /* largest values left out */
};

/* x as in powerlaw_fit(), `work` 2 m doubles. ERR_NUMERIC when m < 2; in compat also when so few
 * values are left that upstream fails. At most max_fingers + 1 fits. */
int fingers_clip(const double *x, size_t m, const struct fingers_options *opt, double *work,
                 struct fingers_fit *out, struct err *err);

/* xmin_peak: the range of xmin around the peak xp of the histogram of log10 x (hill_peak()):
 * [0.95 xp, xmin_max], with 1.5 xp for xmin_max <= 0. compat: from log10(0.95 xp), a slip of units
 * that seldom binds. For powerlaw_limits and tpl_options. ERR_NUMERIC when all x are equal. */
int fingers_peak_range(const double *x, size_t m, double xmin_max, bool compat, double *low,
                       double *high, struct err *err);

/* An integer xmax: how many of the m ascending values are kept when the k largest of all n_all
 * eigenvalues are left out. ERR_INVALID for more than half of them; compat: upstream then takes k
 * for a value, and cuts behind the value nearest to it. */
int fingers_drop_top(const double *x, size_t m, size_t n_all, size_t k, bool compat, size_t *keep,
                     struct err *err);

#endif
