/* prune_report.h: what a pruned checkpoint says of itself (its sparsity_plan.json, or the artifact
 * with the same members) as people read it. */
#ifndef SPECTRALCTL_PRUNE_REPORT_H
#define SPECTRALCTL_PRUNE_REPORT_H

#include "cli/commands.h"

/* A row per block, asked for and achieved, and the sums. No warnings: command_print_warnings(). */
void prune_report_print(const struct context *cx, const json_t *report);

/* A row per matrix, as CSV. */
void prune_report_print_csv(const json_t *report);

#endif
