/* distance_report.h: what a job of kind distances found. */
#ifndef SPECTRALCTL_DISTANCE_REPORT_H
#define SPECTRALCTL_DISTANCE_REPORT_H

#include "cli/commands.h"

#define DISTANCE_REPORT_LAYERS 20 /* in the table, unless more are asked for */

/* Print the distances `id`: a table of the `most` farthest layers and the totals, {"job",
 * "distances", "layers"} as JSON, the layers as CSV, or only the id (quiet). `columns` are what CSV
 * and JSON rows have, NULL for all. `job` is the one they came from, NULL when that is not at hand.
 * The exit status. */
int distance_report(struct context *cx, const char *id, const json_t *job,
                    const struct output_form *form, const char *columns, size_t most);

#endif
