/* phase.c: see phase.h. */
#include "compute/phase.h"

#include <math.h>

const char *phase_name(enum phase_kind kind)
{
    static const char *const name[PHASE_COUNT] = {
        [PHASE_INSUFFICIENT] = "insufficient",   [PHASE_DEGENERATE] = "degenerate",
        [PHASE_RANK_COLLAPSE] = "rank_collapse", [PHASE_RANDOM_LIKE] = "random_like",
        [PHASE_ELEMENT_TRAP] = "element_trap",   [PHASE_BLEEDING_OUT] = "bleeding_out",
        [PHASE_HEAVY_TAILED] = "heavy_tailed",   [PHASE_BULK_SPIKES] = "bulk_spikes",
        [PHASE_BULK_DECAY] = "bulk_decay"};

    return (unsigned)kind < PHASE_COUNT ? name[kind] : NULL;
}

const char *phase_quantity_name(enum phase_quantity q)
{
    static const char *const name[PHASE_QUANTITIES] = {[PHASE_ZERO_SHARE] = "zero_share",
                                                       [PHASE_EXCESS] = "excess",
                                                       [PHASE_MISFIT] = "misfit",
                                                       [PHASE_DISTANCE] = "bulk_distance",
                                                       [PHASE_NULL_RATIO] = "null_ratio",
                                                       [PHASE_NULL_EXCESS] = "null_excess",
                                                       [PHASE_FAR_EXCESS] = "far_excess",
                                                       [PHASE_SPIKE_SHARE] = "spike_share",
                                                       [PHASE_FAR_SHARE] = "far_share",
                                                       [PHASE_REACH] = "reach",
                                                       [PHASE_D] = "D",
                                                       [PHASE_SOFTRANK] = "softrank",
                                                       [PHASE_NOISE_SHARE] = "noise_share"};

    return (unsigned)q < PHASE_QUANTITIES ? name[q] : NULL;
}

struct phase_thresholds phase_thresholds(void)
{
    return (struct phase_thresholds){.zero_share = 0.05,
                                     .misfit = PHASE_MISFIT_NOISE,
                                     .close = 0.01,
                                     .no_bulk = PHASE_NO_BULK,
                                     .null_ratio = 0.8,
                                     .heavy_D = 0.09,
                                     .heavy_share = 0.05,
                                     .heavy_reach = 0.5,
                                     .just_above = 1.03,
                                     .far_share = 0.95,
                                     .near_share = 0.0015,
                                     .spike_share = 0.08};
}

/* --- evidence -------------------------------------------------------------------------------- */

/* Fluctuations of independent matrices add up as their squares. */
static double misfit(const struct phase_input *in)
{
    return in->mp->distance * (double)in->mp->num_bulk / sqrt((double)in->n_matrices);
}

static void gather(const struct phase_input *in, double e[PHASE_QUANTITIES])
{
    const struct mp_fit *mp = in->mp;
    double spikes = (double)mp->num_spikes, bulk = (double)mp->num_bulk;

    e[PHASE_ZERO_SHARE] = (double)mp->num_zero / (double)in->n;
    e[PHASE_EXCESS] = in->largest / mp->edge;
    e[PHASE_MISFIT] = misfit(in);
    e[PHASE_DISTANCE] = mp->distance;
    e[PHASE_NULL_RATIO] = in->null_largest / in->largest;
    e[PHASE_NULL_EXCESS] = in->null_largest / mp->far_edge;
    e[PHASE_FAR_EXCESS] = in->largest / mp->far_edge;
    e[PHASE_SPIKE_SHARE] = spikes / (spikes + bulk);
    e[PHASE_D] = in->D;
    e[PHASE_SOFTRANK] = mp->softrank;
    e[PHASE_NOISE_SHARE] = mp->noise_share;
    if (mp->num_spikes) {
        e[PHASE_FAR_SHARE] = (double)mp->num_far / spikes;
        e[PHASE_REACH] = log(e[PHASE_EXCESS]) / log(fmax(spikes, 2));
    }
}

/* Comparisons with NaN are false: what is not known fulfils nothing. */
static enum phase_kind decide(const double e[PHASE_QUANTITIES], const struct phase_thresholds *t)
{
    bool bulk_fits = e[PHASE_MISFIT] <= t->misfit || e[PHASE_DISTANCE] <= t->close;
    bool just_above = e[PHASE_FAR_EXCESS] <= 1 || e[PHASE_EXCESS] <= t->just_above;
    bool apart = e[PHASE_FAR_SHARE] >= t->far_share ||
                 e[PHASE_SPIKE_SHARE] * (1 - e[PHASE_FAR_SHARE]) <= t->near_share;

    if (e[PHASE_ZERO_SHARE] >= t->zero_share)
        return PHASE_RANK_COLLAPSE;
    if (e[PHASE_EXCESS] <= 1 && bulk_fits)
        return PHASE_RANDOM_LIKE;
    if (e[PHASE_NULL_RATIO] >= t->null_ratio && e[PHASE_NULL_EXCESS] > 1)
        return PHASE_ELEMENT_TRAP;
    if (just_above && bulk_fits)
        return PHASE_BLEEDING_OUT;
    if (e[PHASE_D] <= t->heavy_D &&
        (e[PHASE_DISTANCE] >= t->no_bulk ||
         (e[PHASE_SPIKE_SHARE] >= t->heavy_share && e[PHASE_REACH] >= t->heavy_reach)))
        return PHASE_HEAVY_TAILED;
    if (apart && e[PHASE_SPIKE_SHARE] <= t->spike_share && bulk_fits)
        return PHASE_BULK_SPIKES;
    return PHASE_BULK_DECAY;
}

/* --- the next phase -------------------------------------------------------------------------- */

/* The same thing in other units. */
static enum phase_quantity twin_of(enum phase_quantity q)
{
    switch (q) {
    case PHASE_MISFIT:
        return PHASE_DISTANCE;
    case PHASE_DISTANCE:
        return PHASE_MISFIT;
    case PHASE_EXCESS:
        return PHASE_FAR_EXCESS;
    case PHASE_FAR_EXCESS:
        return PHASE_EXCESS;
    default:
        return q;
    }
}

/* Is another phase on the other side of this threshold, and nearer than what was found before? */
static void look_across(struct phase *p, const struct phase_thresholds *t, enum phase_quantity q,
                        double threshold)
{
    const double side[] = {1 - 1e-9, 1, 1 + 1e-9};
    double value = p->evidence[q], distance = fabs(value - threshold) / threshold;

    if (isnan(value) || !(threshold > 0) || distance >= p->next_distance)
        return;
    for (size_t i = 0; i < ARRAY_LEN(side); i++) {
        double e[PHASE_QUANTITIES];
        enum phase_kind kind;

        for (int k = 0; k < PHASE_QUANTITIES; k++)
            e[k] = p->evidence[k];
        e[q] = threshold * side[i];
        if (twin_of(q) != q)
            e[twin_of(q)] *= e[q] / value;
        kind = decide(e, t);
        if (kind != p->kind) {
            p->next_quantity = q;
            p->next_threshold = threshold;
            p->next_distance = distance;
            p->next_kind = kind;
            return;
        }
    }
}

static void find_next(struct phase *p, const struct phase_thresholds *t)
{
    const struct {
        enum phase_quantity q;
        double threshold;
    } all[] = {{PHASE_ZERO_SHARE, t->zero_share},
               {PHASE_EXCESS, 1},
               {PHASE_EXCESS, t->just_above},
               {PHASE_MISFIT, t->misfit},
               {PHASE_DISTANCE, t->close},
               {PHASE_DISTANCE, t->no_bulk},
               {PHASE_NULL_RATIO, t->null_ratio},
               {PHASE_NULL_EXCESS, 1},
               {PHASE_FAR_EXCESS, 1},
               {PHASE_SPIKE_SHARE, t->heavy_share},
               {PHASE_SPIKE_SHARE, t->spike_share},
               {PHASE_FAR_SHARE, t->far_share},
               {PHASE_FAR_SHARE, 1 - t->near_share / p->evidence[PHASE_SPIKE_SHARE]},
               {PHASE_REACH, t->heavy_reach},
               {PHASE_D, t->heavy_D}};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        look_across(p, t, all[i].q, all[i].threshold);
}

/* --- the answer ------------------------------------------------------------------------------ */

static int check(const struct phase_input *in, const struct phase_thresholds *t, struct err *err)
{
    const double all[] = {t->zero_share, t->misfit,    t->close,       t->no_bulk,
                          t->null_ratio, t->heavy_D,   t->heavy_share, t->heavy_reach,
                          t->just_above, t->far_share, t->near_share,  t->spike_share};

    if (!(in->largest >= 0) || !isfinite(in->largest))
        return err_set(err, ERR_INVALID, "the largest eigenvalue is negative or not finite");
    if (in->n_matrices == 0)
        return err_set(err, ERR_INVALID, "eigenvalues of no matrix");
    if (in->mp && in->mp->method != MP_FIT_ROBUST)
        return err_set(err, ERR_INVALID, "phases need the robust fit of the bulk");
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (!(all[i] > 0) || !isfinite(all[i]))
            return err_set(err, ERR_INVALID, "a threshold is not above 0");
    return 0;
}

int phase_classify(const struct phase_input *in, const struct phase_thresholds *t,
                   struct phase *out, struct err *err)
{
    struct phase_thresholds usual = phase_thresholds();
    struct phase p = {.kind = PHASE_INSUFFICIENT, .next_distance = INFINITY};
    int r;

    t = t ? t : &usual;
    r = check(in, t, err);
    if (r < 0)
        return r;
    for (int k = 0; k < PHASE_QUANTITIES; k++)
        p.evidence[k] = NAN;
    p.next_threshold = NAN;
    p.next_kind = p.kind;
    if (in->n >= PHASE_EIGENVALUES_MIN && in->largest == 0)
        p.kind = p.next_kind = PHASE_DEGENERATE;
    else if (in->n >= PHASE_EIGENVALUES_MIN && in->mp) {
        gather(in, p.evidence);
        p.kind = p.next_kind = decide(p.evidence, t);
        find_next(&p, t);
    }
    *out = p;
    return 0;
}

struct phase_confidence phase_confidence(const struct phase_input *in)
{
    struct phase_confidence c = {0, 0, 0, 0};
    double above, no_bulk;

    if (!in->mp || isnan(in->alpha) || isnan(in->D) || in->n_tail == 0 || in->n_matrices == 0)
        return c;
    c.size = (double)in->n_tail / ((double)in->n_tail + 20);
    c.fit = fmin(1, fmax(0, (0.15 - in->D) / 0.10));
    above = (double)in->mp->num_spikes / (double)in->n_tail;
    no_bulk = fmin(misfit(in) / PHASE_MISFIT_NOISE, 2 * in->mp->distance / PHASE_NO_BULK) - 1;
    c.signal = fmin(1, fmax(above, no_bulk));
    c.confidence = c.size * c.fit * c.signal;
    return c;
}
