/* parse.h: large bodies are parsed, and their documents freed, on a thread of their own: a
 * megabyte takes up to 80 ms, and the loop must not stand still for more than 5.
 */
#ifndef SPECTRALD_PARSE_H
#define SPECTRALD_PARSE_H

#include "api/request.h"

/* Bodies up to this size are parsed where they are: about 1 ms at worst. */
#define PARSE_INLINE_MAX 16384

/* Parse rq->body, which is emptied, and call `then` on the loop thread, with rq->json set or with
 * an error. The request must be suspended. */
void parse_later(struct request *rq, void (*then)(struct request *rq, const struct err *err));

/* Free a document that parse_later() made. */
void parse_free(struct api *api, json_t *json);

#endif
