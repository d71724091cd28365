/* admit.h: what is decided about a request from its first line and headers alone. */
#ifndef SPECTRALD_ADMIT_H
#define SPECTRALD_ADMIT_H

#include "api/request.h"

/* Longest request target; a larger one is 414. */
#define ADMIT_TARGET_MAX 8192
/* Bodies in memory at a time, all requests together, beyond one of full size. */
#define ADMIT_BODIES_MAX (64u << 20)

/* Give the request its id, route and query. `target` is NULL when it was too long. Returns NULL
 * to go on or the refusal. *body_length: announced length of the body, UINT64_MAX when unknown,
 * 0 without one. */
struct reply *admit_request(struct request *rq, const char *target, uint64_t *body_length);

/* The 413 of this server. */
struct reply *admit_too_large(const struct config *config);

#endif
