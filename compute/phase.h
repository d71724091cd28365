/* phase.h: which of the 5+1 phases of training a layer's spectrum shows, on what evidence, and how
 * near the next phase is; and how far to believe its exponent.
 *
 * The phases and their order are Martin and Mahoney's (JMLR 22 (2021) 165, arXiv 1810.01075), who
 * tell them by eye. The rules and thresholds here are our own; docs/phases.md says how they were
 * chosen and how often they are wrong.
 *
 * Evidence comes from the eigenvalues, from the robust fit of the Marchenko-Pastur law (mp_fit.h),
 * from the power law (powerlaw.h) and, where there are any, from shuffled copies (randomize.h).
 */
#ifndef SPECTRALD_PHASE_H
#define SPECTRALD_PHASE_H

#include "compute/mp_fit.h"

/* Part of every cache key: raise it when any result may differ. */
#define PHASE_VERSION 2

#define PHASE_EIGENVALUES_MIN 10

/* The rules; the first that holds decides. t is struct phase_thresholds.
 * "The bulk fits": misfit <= t.misfit, as that of noise does, or distance <= t.close, which no eye
 * would tell from it. "There is none": distance >= t.no_bulk. "Apart": far_share >= t.far_share, or
 * those just above the edge, spike_share (1 - far_share), are at most t.near_share of all.
 * Second halves of these rules are for thousands of eigenvalues: there nothing that was trained is
 * noise to the last one, and Tracy-Widom's width is below one percent. */
enum phase_kind {
    PHASE_INSUFFICIENT,  /* fewer than PHASE_EIGENVALUES_MIN eigenvalues, or no fit of the bulk */
    PHASE_DEGENERATE,    /* every eigenvalue is 0 */
    PHASE_RANK_COLLAPSE, /* zero_share >= t.zero_share */
    PHASE_RANDOM_LIKE,   /* excess <= 1, and the bulk fits: nothing is above the edge of noise */
    PHASE_ELEMENT_TRAP,  /* null_ratio >= t.null_ratio and null_excess > 1: what is above the edge
                          * survives shuffling, so single elements or a mean make it, and nothing
                          * can be said about correlations. Not a phase; only with shuffled copies */
    PHASE_BLEEDING_OUT,  /* far_excess <= 1 or excess <= t.just_above, and the bulk fits: nothing is
                          * clearly above */
    PHASE_HEAVY_TAILED,  /* D <= t.heavy_D, and either there is no bulk, or spike_share >=
                          * t.heavy_share and reach >= t.heavy_reach */
    PHASE_BULK_SPIKES,   /* what is above is apart, spike_share <= t.spike_share, the bulk fits */
    PHASE_BULK_DECAY,    /* what is left */
    PHASE_COUNT
};
/* "insufficient", "degenerate", "rank_collapse", "random_like", "element_trap", "bleeding_out",
 * "heavy_tailed", "bulk_spikes", "bulk_decay"; NULL for an unknown value. */
const char *phase_name(enum phase_kind kind);

/* The evidence. NaN: not known, and then no rule that needs it holds. */
enum phase_quantity {
    PHASE_ZERO_SHARE, /* zeros among all eigenvalues */
    PHASE_EXCESS,     /* largest eigenvalue / edge that noise passes once in 1000 times */
    PHASE_MISFIT,     /* distance of the bulk from its law, in eigenvalues of one matrix: 2 to 4 for
                       * noise of any size, as eigenvalues repel each other */
    PHASE_DISTANCE,   /* the same as a share of the bulk: 0.2 or more, whatever the size, where a
                       * spectrum has none */
    PHASE_NULL_RATIO, /* mean largest eigenvalue of shuffled copies / largest */
    PHASE_NULL_EXCESS, /* the same / (edge + 3 Tracy-Widom widths) */
    PHASE_FAR_EXCESS,  /* largest / (edge + 3 Tracy-Widom widths) */
    PHASE_SPIKE_SHARE, /* eigenvalues above the edge among those that are not zero */
    PHASE_FAR_SHARE,   /* eigenvalues clearly above the edge among those above */
    PHASE_REACH,    /* ln(excess) / ln(eigenvalues above the edge, at least 2): a power law beyond
                     * the edge has 1 / (alpha - 1) */
    PHASE_D,        /* Kolmogorov-Smirnov distance of the power law */
    PHASE_SOFTRANK, /* edge of the law in the limit / largest: column mp_softrank. In no rule */
    PHASE_NOISE_SHARE, /* variance of the noise / mean eigenvalue. In no rule */
    PHASE_QUANTITIES
};
/* "zero_share", "excess", "misfit", "bulk_distance", "null_ratio", "null_excess", "far_excess",
 * "spike_share", "far_share", "reach", "D", "softrank", "noise_share"; NULL for an unknown value.
 */
const char *phase_quantity_name(enum phase_quantity q);

struct phase_thresholds {
    double zero_share, misfit, close, no_bulk, null_ratio;
    double heavy_D, heavy_share, heavy_reach;
    double just_above, far_share, near_share, spike_share;
};
/* The defaults. */
struct phase_thresholds phase_thresholds(void);

struct phase_input {
    size_t n;                /* eigenvalues, zeros too */
    size_t n_matrices;       /* they come from: 1, or kernel positions */
    double largest;          /* eigenvalue, >= 0 */
    const struct mp_fit *mp; /* of these eigenvalues, MP_FIT_ROBUST; NULL: there is none */
    double alpha, D;         /* of the power law; NaN: there is none */
    size_t n_tail;
    double null_largest; /* mean over shuffled copies of their largest eigenvalue; NaN: none */
};

struct phase {
    enum phase_kind kind;
    double evidence[PHASE_QUANTITIES];
    /* The one quantity whose least relative change, |value - threshold| / threshold, would alone
     * make it another phase. Misfit and distance are one thing and change together, so do excess
     * and far_excess. next_distance is infinite when there is none. */
    enum phase_quantity next_quantity;
    double next_threshold, next_distance;
    enum phase_kind next_kind;
};

/* `t` NULL: the defaults. ERR_INVALID: `largest` is negative or not finite, `mp` is of another
 * method, n_matrices is 0, or a threshold is not above 0. */
int phase_classify(const struct phase_input *in, const struct phase_thresholds *t,
                   struct phase *out, struct err *err);

/* --- confidence ------------------------------------------------------------------------------ */

/* How far to believe that the exponent says something about correlations, 0 … 1: the product of
 *   size   n_tail / (n_tail + 20): the standard error of alpha is (alpha - 1) / sqrt(n_tail)
 *   fit    1 for D <= 0.05, 0 for D >= 0.15, linear between: pure noise has D of 0.1 to 0.15
 *   signal eigenvalues above the edge of noise / n_tail, at most 1: noise fits to an exponent, too.
 *          Where there is no bulk, the edge says nothing: at least 0 for a misfit of
 *          PHASE_MISFIT_NOISE or a distance of PHASE_NO_BULK / 2, 1 for twice both, linear between
 * Without a power law or a fit of the bulk all are 0. Our own definition. */
#define PHASE_MISFIT_NOISE 12.0
#define PHASE_NO_BULK      0.1
struct phase_confidence {
    double size, fit, signal, confidence;
};
struct phase_confidence phase_confidence(const struct phase_input *in);

#endif
