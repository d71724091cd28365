/* histogram.c: see histogram.h. */
#include "api/histogram.h"

#include <math.h>
#include <string.h>

#define HALF_DECADE 3.1622776601683795 /* sqrt(10) */

/* Edges from lo to hi; both ends exact, so that no value falls off by rounding. */
static void make_edges(struct histogram *h, bool log_scale, double lo, double hi)
{
    double step;

    if (lo == hi && log_scale) {
        lo /= HALF_DECADE;
        hi *= HALF_DECADE;
    } else if (lo == hi) {
        lo -= 0.5;
        hi += 0.5;
    }
    step = (log_scale ? log(hi) - log(lo) : hi - lo) / (double)h->bins;
    h->edge[0] = lo;
    for (size_t i = 1; i < h->bins; i++)
        h->edge[i] = log_scale ? exp(log(lo) + step * (double)i) : lo + step * (double)i;
    h->edge[h->bins] = hi;
}

static void fill(struct histogram *h, const double *x, size_t n)
{
    size_t bin = 0;

    for (size_t i = 0; i < n; i++) {
        while (bin + 1 < h->bins && x[i] >= h->edge[bin + 1])
            bin++;
        h->count[bin]++;
    }
    for (size_t i = 0; i < h->bins; i++) {
        double width = h->edge[i + 1] - h->edge[i];

        if (h->count[i] && width > 0)
            h->density[i] = (double)h->count[i] / (double)n / width;
    }
}

void histogram_make(const double *x, size_t n, size_t bins, bool log_scale, double noise,
                    struct histogram *out)
{
    size_t zeros = 0, first;

    ASSERT(bins >= 1 && bins <= HISTOGRAM_BINS_MAX);
    memset(out, 0, sizeof *out);
    out->bins = bins;
    while (log_scale && zeros < n && x[zeros] <= 0)
        zeros++;
    first = zeros;
    while (log_scale && first < n && x[first] <= noise)
        first++;
    if (first == n) /* all of it is noise: show that */
        first = zeros;
    out->n_nonpositive = zeros;
    out->n_below = first - zeros;
    if (first < n) {
        make_edges(out, log_scale, x[first], x[n - 1]);
        fill(out, x + first, n - first);
    } else {
        make_edges(out, log_scale, 1, 1);
    }
}
