/* analyze_weigh.h: a stage of a job: histograms that a plan wants, from the cache or from the
 * weights.
 */
#ifndef SPECTRALD_ANALYZE_WEIGH_H
#define SPECTRALD_ANALYZE_WEIGH_H

#include "daemon/analyze.h"
#include "daemon/plan_weights.h"

/* Give `weights` what they want of `rows`, both borrowed until then(a), or until the job ends. Row
 * i must be layer i of the model, of the same content: else the job fails with ERR_CHANGED. Wants
 * that the cache does not know are counted by workers, and cached. The units of the model must have
 * their digests. */
void analyze_weigh(struct analyze *a, const struct metric_rows *rows, struct plan_weights *weights,
                   void (*then)(struct analyze *a));
void analyze_weigh_free(struct analyze *a);

#endif
