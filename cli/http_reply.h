/* http_reply.h: from headers and bytes to a reply. Private to http.c. */
#ifndef SPECTRALCTL_HTTP_REPLY_H
#define SPECTRALCTL_HTTP_REPLY_H

#include "cli/http.h"

/* Take note of one header line, which is not NUL-terminated: ETag and Link. */
void http_reply_header(struct http_reply *r, const char *line, size_t len);

/* Finish a reply of `status` from the `bytes` that came. `as_bytes`: a success is not JSON.
 * `server` is named in messages. On failure *r is left empty. */
int http_reply_finish(struct http_reply *r, long status, struct buf *bytes, bool as_bytes,
                      const char *server, struct err *err);

#endif
