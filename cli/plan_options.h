/* plan_options.h: how a target is shared out, as options of the commands that make plans. */
#ifndef SPECTRALCTL_PLAN_OPTIONS_H
#define SPECTRALCTL_PLAN_OPTIONS_H

#include <jansson.h>

#include "cli/args.h"

struct plan_options {
    const char *method, *metric, *epsilon, *mapping, *low, *high, *exclude;
    const char *outlier_factor, *spread;
    struct arg_count m;
};

#define PLAN_METHODS "alphapruning|uniform|uniform_plus|er|erk|atp|owl|dlp|global_magnitude|lamp"

#define PLAN_AT(offset, field) ((offset) + offsetof(struct plan_options, field))

/* Their rows but the method's, whose name differs, for a table of a command whose settings have a
 * struct plan_options at `offset`. */
#define PLAN_OPTIONS(offset)                                                                       \
    {"metric", ARG_TEXT, PLAN_AT(offset, metric), "COLUMN",                                        \
     "a numeric column of layers (alpha_mid)"},                                                    \
        {"epsilon", ARG_TEXT, PLAN_AT(offset, epsilon), "SHARE", "how far ratios differ (0.3)"},   \
        {"mapping", ARG_TEXT, PLAN_AT(offset, mapping), "block_wise|per_matrix|mixed",             \
         "whose metric counts"},                                                                   \
        {"spread", ARG_TEXT, PLAN_AT(offset, spread), "SHARE",                                     \
         "owl, dlp: how far ratios differ (0.16, 0.3)"},                                           \
        {"outlier-factor", ARG_TEXT, PLAN_AT(offset, outlier_factor), "X",                         \
         "owl: outliers are above X times the mean of their block (5)"},                           \
        {"min", ARG_TEXT, PLAN_AT(offset, low), "SHARE", "least sparsity of a tensor (0)"},        \
        {"max", ARG_TEXT, PLAN_AT(offset, high), "SHARE", "greatest sparsity of a tensor (0.99)"}, \
        {"exclude", ARG_TEXT, PLAN_AT(offset, exclude), "REGEX", "tensors that take no part"},     \
    {                                                                                              \
        "m", ARG_COUNT, PLAN_AT(offset, m), "M", "whole steps of 1/M: an N:M plan"                 \
    }

/* Put what was given into a plan request; false after a message. */
bool plan_options_put(json_t *body, const struct plan_options *o);

/* True when the method measures statistics of the model's inputs (owl, dlp). */
bool plan_options_measure(const struct plan_options *o);

/* True when any of them but the method is given. */
bool plan_options_given(const struct plan_options *o);

#endif
