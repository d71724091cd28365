/* body.h: JSON request bodies. */
#ifndef SPECTRALD_BODY_H
#define SPECTRALD_BODY_H

#include <jansson.h>

#include "common/buf.h"
#include "common/err.h"

/* Deepest nesting of arrays and objects that is parsed at all. */
#define BODY_DEPTH_MAX 64

/* Parse an object without repeated keys; the caller owns *out. The depth is checked before
 * parsing. ERR_INVALID saying where; the text repeats nothing of the body. */
int body_parse(const struct buf *body, json_t **out, struct err *err);

#endif
