/* metrics.h: counters, gauges and histograms in the Prometheus text format 0.0.4.
 *
 * Loop thread only. Families are registered once, at start; series appear when first used. Label
 * values must come from a closed list (a route template, a state), never from a request.
 */
#ifndef SPECTRALD_METRICS_H
#define SPECTRALD_METRICS_H

#include "common/buf.h"

struct metrics;
struct metric; /* one family */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);

/* Register a family; `labels` is a comma-separated list of label names, or "". Histograms use
 * the buckets 0.001 … 600 s. Names and texts must be string literals. */
struct metric *metrics_add(struct metrics *m, enum metric_type type, const char *name,
                           const char *labels, const char *help);

/* `values`: label values in the order of registration, comma-separated, or "". */
void metric_inc(struct metric *f, const char *values, double by);    /* counter, gauge */
void metric_set(struct metric *f, const char *values, double to);    /* gauge */
void metric_observe(struct metric *f, const char *values, double x); /* histogram */
double metric_get(const struct metric *f, const char *values);

/* The whole exposition. */
void metrics_write(const struct metrics *m, struct buf *out);

#endif
