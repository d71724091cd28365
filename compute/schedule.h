/* schedule.h: learning rates and weight decays per layer, from a metric of each layer.
 *
 * A schedule is a factor per tensor: value = base * factor. s is the score of what the map is
 * applied to (a matrix, or the mean over the matrices of a block), n their number:
 *
 *     linear    s1 + (s2 - s1) * (s - min s) / (max s - min s)
 *     sqrt      n * sqrt(s) / sum sqrt(s)              mean 1
 *     log2      n * log2(s) / sum log2(s)              mean 1, for s > 1
 *     rank      s1 + (s2 - s1) * r / n                 r = 0 ... n - 1 ascending, never s2
 *     sigmoid   10^(c * (1 / (1 + exp(-tau * (s - mean s))) - 1/2)),  c = up above the mean, else
 *               down
 *     zscore    2 / (1 + exp(-tau * z)), z = (s - mean) / std over the matrices of the same block
 *
 * linear, sqrt, log2, rank: TempBalance (Zhou et al., NeurIPS 2023; tempbalance.py of its
 * repository at 9f0d9c7). sigmoid: ModelBalancing (EMNLP 2024; trainer.py at 9970cea). linear
 * alone: layer-wise learning rate (arXiv 2605.22297) and AlphaDecay (arXiv 2506.14562), whose code
 * has sqrt, log2 and zscore as well (WeightDecayUnbalance.py at b51be34, "layerwise_sigmoid").
 * A larger exponent means a lighter tail, a layer that is taken to be less trained: it gets more.
 *
 * Where all scores are equal nothing is to be balanced and every factor is 1 (`degenerate`); with
 * `reference` it is what upstream makes of it: s2 for linear, the order of the input for rank.
 * The same holds inside each block for SCHEDULE_WITHIN_BLOCK. zscore of a block without spread
 * is 1.
 */
#ifndef SPECTRALD_SCHEDULE_H
#define SPECTRALD_SCHEDULE_H

#include "common/err.h"

enum schedule_map {
    SCHEDULE_LINEAR = 0,
    SCHEDULE_SQRT,
    SCHEDULE_LOG2,
    SCHEDULE_RANK,
    SCHEDULE_SIGMOID,
    SCHEDULE_ZSCORE,
    SCHEDULE_MAP_COUNT
};
const char *schedule_map_name(enum schedule_map m); /* "linear", … */
int schedule_map_from_name(const char *name);       /* or -1 */

/* What gets a factor. The last two are ModelBalancing's (its tb_unit "layer", "sliding_window"). */
enum schedule_unit {
    SCHEDULE_MATRIX = 0,   /* each matrix */
    SCHEDULE_BLOCK,        /* each block; its score is the mean over its matrices */
    SCHEDULE_WITHIN_BLOCK, /* each matrix: the factor of its block, times s1 ... s2 linearly in its
                            * score within the block */
    SCHEDULE_WINDOW        /* one block gets window_scale, all others 1; scores do not matter */
};

struct schedule_rule {
    enum schedule_map map;
    enum schedule_unit unit;
    double s1, s2;        /* linear, rank, within a block: >= 0 */
    double down, up, tau; /* sigmoid: sigmoid_min, sigmoid_max, exp_temp; zscore: tau */
    uint32_t window;      /* number of the block */
    double window_scale;  /* >= 0 */
    bool normalize;       /* then divide by the mean factor over all matrices */
    double min, max;      /* bounds of every factor; 0 and INFINITY: none */
    bool reference;       /* upstream's value where the scores are all equal */
};

/* Why a tensor has no factor of its own. SCHEDULE_IN is 0. */
enum schedule_state {
    SCHEDULE_IN = 0,
    SCHEDULE_FIRST,     /* the first matrix */
    SCHEDULE_LAST,      /* the last matrix */
    SCHEDULE_FEW_EIGS,  /* fewer eigenvalues than asked for */
    SCHEDULE_NONFINITE, /* the score is missing or not finite */
    SCHEDULE_DOMAIN,    /* sqrt of a score <= 0, log2 of a score <= 1 */
    SCHEDULE_OTHER      /* left out by the caller; never set here */
};

struct schedule_exclude {
    bool first, last;
    double min_eigs; /* 0 = any */
};

struct schedule_summary {
    size_t n_matrices, n_units;
    double mean, std; /* of the units' scores; std of the population */
    bool degenerate;
    size_t n_ties;    /* rank: units whose score another one has as well */
    size_t n_bounded; /* units that a bound holds */
};

/* Leave matrices out, in upstream's order: the first, the last, those with few eigenvalues, those
 * whose score cannot be used. Entries whose state is not SCHEDULE_IN are passed over and stay.
 * `score`, `n_eigs` (NaN = unknown, which is enough) and `state`: n each, in the order of the
 * model. */
void schedule_leave_out(const struct schedule_exclude *x, enum schedule_map map,
                        const double *score, const double *n_eigs, size_t n,
                        enum schedule_state *state);

/* Whether every matrix must be in a block. */
bool schedule_needs_blocks(const struct schedule_rule *rule);

/* Factors of n matrices that all take part. `block` gives the block of each matrix, numbers from 0
 * without a gap; NULL when the rule needs none. Equal scores keep their order in a rank. Where the
 * map or `normalize` makes the mean 1 it stays 1 with bounds: what they take is spread over the
 * others. n = 0 is fine.
 * ERR_INVALID: a rule or a score that makes no sense, or a window beyond the last block;
 * ERR_NUMERIC: no factors keep to the bounds with mean 1; ERR_NOMEM. Outputs are untouched on
 * failure. */
int schedule_factors(const struct schedule_rule *rule, const double *score, const uint32_t *block,
                     size_t n, double *factor, struct schedule_summary *out, struct err *err);

#endif
