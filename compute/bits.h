/* bits.h: how many bits each matrix is quantised to.
 *
 * AlphaQ (arXiv 2606.04980; main.py of its repository at 3624976), without calibration data: the
 * loss of matrix l at b bits is w_l * 4^-b with w_l = (median(alpha) / alpha_l)^gamma * Var(W_l):
 * heavier tails and larger weights keep more bits. The sum of losses is minimised over one
 * candidate per matrix, with the mean of the bits, over matrices (as upstream) or over
 * parameters, at most `average`.
 *
 * 4^-b is convex, so the loss avoided per bit falls from step to step of every matrix, and taking
 * the steps in that order is optimal but for the last bits that do not fit. `bound` is what the
 * best allocation with fractions of bits reaches, below which no allocation can be.
 */
#ifndef SPECTRALD_BITS_H
#define SPECTRALD_BITS_H

#include "common/err.h"

#define BITS_CANDIDATES_MAX 16
#define BITS_MAX            16

struct bits_rule {
    unsigned candidate[BITS_CANDIDATES_MAX]; /* ascending, 1 … BITS_MAX; upstream 2, 3, 4, 8 */
    size_t n_candidates;
    double average;     /* upstream 3.5 */
    double gamma;       /* upstream 1; its shipped recipe 10 */
    bool per_parameter; /* the average is over parameters, not over matrices */
};

struct bits_matrix {
    double alpha;    /* > 0 */
    double variance; /* of the weights, of the population; >= 0 */
    double params;   /* > 0; used with per_parameter */
};

struct bits_summary {
    double average;     /* achieved, at most rule->average */
    double loss, bound; /* sum of w * 4^-b, and its lower bound */
};

/* Bits of n matrices. Steps that avoid equally much per bit are taken in the order of the
 * matrices. ERR_INVALID: out of range, n = 0, or an average below the smallest candidate;
 * ERR_NUMERIC: a weight overflows; ERR_NOMEM. Outputs are untouched on failure. */
int bits_allocate(const struct bits_rule *rule, const struct bits_matrix *m, size_t n,
                  unsigned *bits, struct bits_summary *out, struct err *err);

/* Of each matrix w * 4^-bits: what bits_allocate() makes small in sum. Errors as there. */
int bits_losses(const struct bits_rule *rule, const struct bits_matrix *m, size_t n,
                const unsigned *bits, double *loss, struct err *err);

#endif
