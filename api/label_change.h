/* label_change.h: PATCH of labels: the merge patch and its condition, as jobs and analyses share
 * them. */
#ifndef SPECTRALD_LABEL_CHANGE_H
#define SPECTRALD_LABEL_CHANGE_H

#include "api/etag.h"
#include "api/request.h"

struct label_change {
    const json_t *patch; /* borrowed from the request's body */
    char if_match[ETAG_LIST_MAX + 1];
};

/* Read `{"labels":{"key":"value","old":null}}` and If-Match. NULL, or the refusal: 428 without
 * If-Match, 400. */
struct reply *label_change_read(struct request *rq, struct label_change *out);

#endif
