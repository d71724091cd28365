/* histogram.h: how many eigenvalues lie in each of a number of bins. No I/O. */
#ifndef SPECTRALD_HISTOGRAM_H
#define SPECTRALD_HISTOGRAM_H

#include "common/base.h"

#define HISTOGRAM_BINS_MAX 1000

struct histogram {
    size_t bins;
    double edge[HISTOGRAM_BINS_MAX + 1]; /* ascending; a bin holds its lower edge, the last both */
    uint64_t count[HISTOGRAM_BINS_MAX];
    double density[HISTOGRAM_BINS_MAX]; /* sum of density * width = 1, unless all are empty */
    uint64_t n_below;                   /* positive values below the first edge (log only) */
    uint64_t n_nonpositive;             /* zeros, left out (log only) */
};

/* Count `n` values >= 0 in ascending order. Linear: equal widths from the smallest to the largest.
 * Log: equal ratios from the smallest above `noise` (else the smallest positive one) to the
 * largest. Where there is one value only, half a unit (half a decade) on each side. */
void histogram_make(const double *x, size_t n, size_t bins, bool log_scale, double noise,
                    struct histogram *out);

#endif
