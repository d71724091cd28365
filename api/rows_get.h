/* rows_get.h: the metric of every tensor of an analysis, for a request that waits: read in pieces
 * on the store thread, and kept in memory for the next who asks (daemon/metric_rows.h).
 */
#ifndef SPECTRALD_ROWS_GET_H
#define SPECTRALD_ROWS_GET_H

#include "api/request.h"
#include "daemon/metric_rows.h"

/* `rq` NULL: its client is gone. Else *rows (borrowed), or NULL and why. On the loop thread. */
typedef void rows_then(void *arg, struct request *rq, struct metric_rows *rows,
                       const struct err *err);

/* Borrowed; NULL when they are not in memory: then rows_get() them. */
struct metric_rows *rows_known(const struct request *rq, const char *analysis, const char *metric);

/* Calls `then` once, later. */
void rows_get(struct request *rq, const char *analysis, const char *metric, rows_then *then,
              void *arg);

#endif
