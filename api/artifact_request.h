/* artifact_request.h: what the calls under /v1/artifacts/{artifact} have in common. */
#ifndef SPECTRALD_ARTIFACT_REQUEST_H
#define SPECTRALD_ARTIFACT_REQUEST_H

#include "api/request.h"
#include "common/ident.h"

/* The id in the path of a request without a query. ERR_NOT_FOUND, ERR_INVALID. */
int artifact_id(struct request *rq, char id[IDENT_MAX], struct err *err);

/* The reply to what failed. */
struct reply *artifact_refused(const struct err *err);

#endif
