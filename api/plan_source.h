/* plan_source.h: POST /v1/plans with a source: a job of kind plan, then its plan. */
#ifndef SPECTRALD_PLAN_SOURCE_H
#define SPECTRALD_PLAN_SOURCE_H

#include "api/request.h"

struct reply *plan_from_source(struct request *rq);

#endif
