/* experts.h: how many experts each layer of a mixture of LoRA experts gets.
 *
 * AlphaLoRA (Qing et al., EMNLP 2024, arXiv 2410.10054; expert_number.py of its repository): with
 * a the mean exponent of a layer, its share of the total is a^beta / sum a^beta: layers with a
 * larger exponent, taken to be less trained, get more.
 */
#ifndef SPECTRALD_EXPERTS_H
#define SPECTRALD_EXPERTS_H

#include "common/err.h"

#define EXPERTS_BETA     2.5 /* upstream's defaults */
#define EXPERTS_BETA_MAX 64.0
#define EXPERTS_MAX      1000000000ull

enum experts_rounding {
    /* The minimum of every layer is set aside; the rest is shared out by a^beta, rounded down, and
     * what is left goes to the largest fractions, of equal ones to the earlier layer. */
    EXPERTS_LARGEST_REMAINDER = 0,
    /* Upstream: round half to even, then correct the sum one by one: too few, one more where
     * a^beta - count is smallest; too many, one less where it is largest. As a^beta is not scaled
     * to the total, one layer takes the whole correction, and layers may get none. */
    EXPERTS_UPSTREAM
};

struct experts_rule {
    uint64_t total;   /* at most EXPERTS_MAX */
    uint64_t minimum; /* of every layer; ignored by EXPERTS_UPSTREAM */
    double beta;      /* 0 … EXPERTS_BETA_MAX */
    enum experts_rounding rounding;
};

/* Counts of n layers, whose sum is rule->total, and shares of the total, before rounding, whose sum
 * is 1. `alpha`: above 0, finite. ERR_INVALID: out of range, n = 0, or n minima exceed the total;
 * ERR_NUMERIC: with upstream's rule, a^beta beyond 1e±250, or it takes from a layer that has none;
 * ERR_NOMEM. */
int experts_allocate(const struct experts_rule *rule, const double *alpha, size_t n,
                     uint64_t *count, double *share, struct err *err);

#endif
