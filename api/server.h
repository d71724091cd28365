/* server.h: the HTTP side as the composition root sees it: start, stop, address. */
#ifndef SPECTRALD_SERVER_H
#define SPECTRALD_SERVER_H

#include "common/err.h"

struct api;
struct service;

/* Listen as the service's configuration says and serve on its loop. The service must outlive the
 * server. SIGPIPE must be ignored. ERR_CONFLICT: the address is taken; ERR_INVALID: it is none. */
int api_start(struct api **out, struct service *svc, struct err *err);

/* Where it serves: "http://127.0.0.1:8437" with the real port, or "unix:/path". Borrowed. */
const char *api_address(const struct api *api);

/* Stop: no new connections; waiting requests are answered with 503; replies under way get two
 * seconds. Callbacks of the service or the store that come later find nobody and do nothing, so
 * this may be called before or after the loop has ended, on its thread. NULL is fine. */
void api_stop(struct api *api);

#endif
