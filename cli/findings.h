/* findings.h: what in an analysis deserves a look first, from its summary and its rows.
 */
#ifndef SPECTRALCTL_FINDINGS_H
#define SPECTRALCTL_FINDINGS_H

#include <jansson.h>

#include "common/base.h"

/* The columns that rows need. */
#define FINDINGS_COLUMNS                                                                           \
    "layer_id,longname,layer_type,role,status,reason,warning,alpha,sigma,D,num_pl_spikes,phase,"   \
    "confidence,num_traps,trap_count,trap_max_risk,trap_label,trap_row,trap_column,pl_p_value,"    \
    "operation"

/* At most so many layers are named for each finding. */
#define FINDINGS_LAYERS_MAX 32

/* Exponents with less confidence may be those of noise (docs/phases.md). */
#define FINDINGS_CONFIDENCE_LOW 0.1

/* Whether a measure ("phase") was asked for. */
bool findings_measured(const json_t *analysis, const char *measure);

/* An array, the caller's, of what there is:
 *   {"finding", "rows", "low_confidence", "layers": [{"layer_id", "longname", "value", …}]}
 * "failed", "alpha_above_6", "alpha_below_2", "scale_collapse", "out_of_line", "risky_traps",
 * "traps", "power_law_doubtful". low_confidence counts rows, where `phase` was measured. */
json_t *findings_make(const json_t *analysis, const json_t *rows);

/* The `n` rows whose alpha is farthest from 2 … 6, as a ratio, in an array of the caller's. */
json_t *findings_worst(const json_t *rows, size_t n);

#endif
