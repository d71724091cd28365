/* idempotency.h: the header Idempotency-Key.
 *
 * Our rules: a key has 1 to 255 visible ASCII characters, bare or as a quoted string, which mean
 * the same. It belongs to the client's owner and stays used for 24 hours.
 */
#ifndef SPECTRALD_IDEMPOTENCY_H
#define SPECTRALD_IDEMPOTENCY_H

#include "api/request.h"

#define IDEMPOTENCY_KEY_MAX 255

/* The request's key, or "" when it has none. ERR_INVALID naming the header. */
int idempotency_key(const struct request *rq, char out[IDEMPOTENCY_KEY_MAX + 1], struct err *err);

/* The same from a header's value. */
int idempotency_key_parse(const char *value, char out[IDEMPOTENCY_KEY_MAX + 1], struct err *err);

#endif
