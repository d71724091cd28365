/* bootstrap.h: how much of a power-law fit is chance: a goodness-of-fit p-value and a confidence
 * interval of alpha, each from replicates of the data that are fitted again, the choice of xmin
 * included.
 *
 * BOOTSTRAP_MODEL (Clauset, Shalizi, Newman, SIAM Review 51 (2009) 661, section 4.1): each value
 * is, with the share of the tail as probability, drawn from the fitted power law above xmin,
 * otherwise from the data below it. Data that follow the fit have distances D like the replicates';
 * the p-value is the share of replicates with D at least as large as the data's. Below 0.1 the
 * power law is doubtful; above, it is possible, not proven: few values refuse nothing. On true
 * power laws p < 0.1 comes up in 5 to 8 % of samples, so the test errs towards the power law.
 *
 * BOOTSTRAP_RESAMPLE: values are drawn from the data, with replacement. The interval is between
 * percentiles of the replicates' alpha. How often that of 95 % held the known exponent of a
 * power-law tail, from 200 replicates (tests/bench/tails.py, case coverage):
 *
 *     sample                n  samples  alpha +- 1.96 sigma  from MODEL  from RESAMPLE
 *     pure power law      200      600                91 %        97 %           96 %
 *     uniform below       200      400                94 %        98 %           97 %
 *     lognormal bulk      200      400                92 %        94 %           95 %
 *     pure power law     1000      150                90 %        97 %           95 %
 *     pure power law     5000      100                88 %        97 %           97 %
 *
 * sigma leaves out what choosing xmin adds.
 */
#ifndef SPECTRALD_BOOTSTRAP_H
#define SPECTRALD_BOOTSTRAP_H

#include "compute/powerlaw.h"
#include "compute/random.h"

#define BOOTSTRAP_REPLICATES     200
#define BOOTSTRAP_REPLICATES_MAX 100000

struct bootstrap_replicate {
    double alpha, D, xmin;
    double n_tail;
};

enum bootstrap_kind { BOOTSTRAP_MODEL, BOOTSTRAP_RESAMPLE };

struct bootstrap_options {
    enum bootstrap_kind kind;
    uint64_t seed; /* a replicate has a stream of its own: whoever computes it, it is the same */
    /* How the data were fitted, if not by powerlaw_fit(): returns 0, or < 0 with the text set.
     * `work` is 2 m doubles. */
    int (*refit)(void *arg, const double *x, size_t m, double *work, struct powerlaw_fit *out,
                 struct err *err);
    /* Asked before every replicate; nonzero: stop with ERR_DEADLINE. */
    int (*stop)(void *arg);
    void *arg; /* of both */
};

/* Doubles of scratch for m values. */
#define BOOTSTRAP_WORK(m) (3 * (m))

/* Replicates first ... first + count - 1 of the m ascending values x > 0, whose fit is `fit`, into
 * out. ERR_NUMERIC when the fit has no finite alpha > 1. Costs `count` fits. opt may not be NULL.
 */
int bootstrap_replicates(const double *x, size_t m, const struct powerlaw_fit *fit,
                         const struct bootstrap_options *opt, size_t first, size_t count,
                         double *work, struct bootstrap_replicate *out, struct err *err);

struct bootstrap_p {
    double p;     /* share of replicates with D >= the data's */
    double error; /* its standard error, sqrt(p (1 - p) / n) */
};

/* The p-value of D from n > 0 replicates of BOOTSTRAP_MODEL. */
struct bootstrap_p bootstrap_p_value(double D, const struct bootstrap_replicate *r, size_t n);

struct bootstrap_interval {
    double low, high; /* of alpha; high may be +infinity for a few values */
    double sd;        /* standard deviation of the replicates' finite alpha */
};

/* The interval that holds alpha with probability `level` (0.95), from n >= 20 replicates of
 * BOOTSTRAP_RESAMPLE, which are reordered. ERR_INVALID for fewer, or a level outside (0, 1). */
int bootstrap_interval(struct bootstrap_replicate *r, size_t n, double level,
                       struct bootstrap_interval *out, struct err *err);

#endif
