/* mp_fit_upstream.h: WeightWatcher 0.7.5.5's Marchenko-Pastur fit, step by step. Private to
 * compute/; the public face is mp_fit.h. */
#ifndef SPECTRALD_MP_FIT_UPSTREAM_H
#define SPECTRALD_MP_FIT_UPSTREAM_H

#include "compute/mp_fit.h"

/* sigma, w_scale, bulk_min, bulk_max, edge and far_edge of n ascending eigenvalues, the largest
 * above zero. `work`: n doubles. ERR_NOMEM. */
int mp_fit_upstream(const double *lambda, size_t n, size_t n_long, size_t n_short, double *work,
                    struct mp_fit *f, struct err *err);

#endif
