/* tpl_compat.h: the truncated power law as powerlaw 1.5 fits it (internal to compute/; tpl.h). */
#ifndef SPECTRALD_TPL_COMPAT_H
#define SPECTRALD_TPL_COMPAT_H

#include "compute/tpl.h"

/* Alpha, Lambda and the log-likelihood of the tail of d from distinct value i, for this xmin. False
 * when the parameters are out of range (alpha > 1, Lambda > 0). */
bool tpl_compat_search(const struct tail_data *d, size_t i, double xmin, double *alpha,
                       double *Lambda, double *log_likelihood);

struct tpl_compat_law {
    struct tpl_law law;
    double base; /* upstream's CDF at xmin, before it is shifted */
    double norm;
    bool is_one;  /* base is 1 in double precision: so is the whole CDF */
    double slack; /* by how much rounding may make the CDF fall, for tail_ks() */
};
void tpl_compat_prepare(struct tpl_compat_law *c, double alpha, double Lambda, double xmin,
                        double force_xmax);
tail_cdf_fn tpl_compat_cdf;

#endif
