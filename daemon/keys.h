/* keys.h: idempotency keys whose first request is under way. Private to daemon/; see service.h. */
#ifndef SPECTRALD_KEYS_H
#define SPECTRALD_KEYS_H

#include "daemon/service.h"

/* Forget all: the service ends. */
void keys_free(struct service *s);

#endif
