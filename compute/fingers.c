/* fingers.c: see fingers.h. */
#include "compute/fingers.h"

#include "compute/hill.h"

#include <math.h>

#define MIN_ALPHA     2.0
#define COMPAT_LIMIT  10 /* upstream's default, which replaces most others */
#define COMPAT_CHECKS 3  /* fits after the last, for a note in the log: they fail on short data */

/* How many values may be left out at most. */
static size_t limit_of(const struct fingers_options *opt, size_t m)
{
    size_t limit = opt->max_fingers;

    if (!opt->compat)
        return limit < m / 2 ? limit : m / 2;
    if ((double)limit < (double)opt->n_all / 2)
        limit = COMPAT_LIMIT;
    return limit > 0 ? limit - 1 : 0;
}

int fingers_clip(const double *x, size_t m, const struct fingers_options *opt, double *work,
                 struct fingers_fit *out, struct err *err)
{
    size_t least = opt->compat ? 2 : 1, limit = limit_of(opt, m), k;
    struct fingers_fit best = {.num_fingers = 0};
    int r = powerlaw_fit(x, m, work, &best.fit, err);

    if (r < 0)
        return r;
    best.raw_alpha = best.fit.alpha;
    for (k = least; k <= limit; k++) {
        struct powerlaw_fit f;

        r = powerlaw_fit(x, m > k ? m - k : 0, work, &f, err);
        if (r < 0)
            return r;
        if (f.alpha + opt->thresh < best.raw_alpha) {
            best.fit = f;
            best.removed = k;
            best.num_fingers = k + 1 - least;
            break;
        }
        if (f.alpha <= MIN_ALPHA)
            break;
    }
    if (opt->compat && k < limit + 1 && m < k + COMPAT_CHECKS + 2)
        return err_set(err, ERR_NUMERIC, "too few values to look for fingers");
    *out = best;
    return 0;
}

int fingers_peak_range(const double *x, size_t m, double xmin_max, bool compat, double *low,
                       double *high, struct err *err)
{
    double peak;

    if (m < 2 || !(x[0] > 0) || !(log10(x[m - 1]) > log10(x[0])))
        return err_set(err, ERR_NUMERIC, "values without spread have no peak");
    peak = hill_peak(x, m);
    *low = compat ? log10(0.95 * peak) : 0.95 * peak;
    *high = xmin_max > 0 ? xmin_max : 1.5 * peak;
    return 0;
}

int fingers_drop_top(const double *x, size_t m, size_t n_all, size_t k, bool compat, size_t *keep,
                     struct err *err)
{
    size_t nearest = 0;

    if (k <= n_all / 2) {
        *keep = m > k ? m - k : 0;
        return 0;
    }
    if (!compat || m == 0)
        return err_set(err, ERR_INVALID, "%zu of %zu eigenvalues is more than half", k, n_all);
    for (size_t i = 1; i < m; i++)
        if (fabs(x[i] - (double)k) < fabs(x[nearest] - (double)k))
            nearest = i;
    *keep = nearest + 1;
    return 0;
}
