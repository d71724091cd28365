/* analyze_activity.h: a stage of a job: what plans by owl and dlp know of each matrix, from the
 * weights and calibration statistics.
 */
#ifndef SPECTRALD_ANALYZE_ACTIVITY_H
#define SPECTRALD_ANALYZE_ACTIVITY_H

#include "daemon/analyze_stats.h"

/* then(a, numbers): {longname: number} of the matrices in blocks whose inputs are in the
 * statistics; the numbers are then's. With a factor (OWL: arXiv 2310.05175) the percentage of
 * scores |w| |x| of a matrix above so many means of its block; without (DLP: arXiv 2505.23807) the
 * mean of its scores. The job fails when there is none, or weights are not finite. */
void analyze_activity(struct analyze *a, const struct stats_file *s, double factor,
                      void (*then)(struct analyze *a, json_t *numbers));
void analyze_activity_free(struct analyze *a);

#endif
