/* plan_compare.h: plans side by side, for spectralctl plan --compare. */
#ifndef SPECTRALCTL_PLAN_COMPARE_H
#define SPECTRALCTL_PLAN_COMPARE_H

#include "cli/commands.h"

/* Send `body` (what all plans share) and print a table of ratios by block and of correlations by
 * plan. `methods`: "atp,alphapruning:alpha_mid", a metric after a colon; NULL = the server's usual
 * ones. `svg`: a file to write a picture to, or NULL. Returns an exit status. */
int plan_compare(struct context *cx, const struct output_form *form, json_t *body,
                 const char *methods, const char *svg);

#endif
