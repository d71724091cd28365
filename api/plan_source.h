/* plan_source.h: POST /v1/plans with a source: a job of kind plan, then its plan. */
#ifndef SPECTRALD_PLAN_SOURCE_H
#define SPECTRALD_PLAN_SOURCE_H

#include "api/request.h"

struct reply *plan_from_source(struct request *rq);

/* A plan of an analysis whose method looks at weights, some of which have to be read: from the
 * source (JSON text) that was analysed. `ask`: the request. */
struct reply *plan_from_weights(struct request *rq, const char *source, const json_t *ask);

#endif
