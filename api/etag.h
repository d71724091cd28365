/* etag.h: conditional requests (RFC 9110, 13.1).
 *
 * A reply that was compressed carries its tag with the mark "-gz"; a client that sends such a tag
 * back means the same content, in If-Match as well as in If-None-Match.
 */
#ifndef SPECTRALD_ETAG_H
#define SPECTRALD_ETAG_H

#include <stddef.h>

#include "common/base.h"

struct request;

#define ETAG_LIST_MAX 1024

/* True when `list`, the value of If-Match (`weak` false: weak tags match nothing) or If-None-Match,
 * names `etag` (with its quotes) or is "*". */
bool etag_listed(const char *list, const char *etag, bool weak);

/* The values of a header of this request, joined: "" when it is missing. False when they are
 * longer than ETAG_LIST_MAX. */
bool etag_list(const struct request *rq, const char *header, char out[ETAG_LIST_MAX + 1]);

#endif
