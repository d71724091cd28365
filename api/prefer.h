/* prefer.h: the Prefer header (RFC 7240): wait=N and respond-async. */
#ifndef SPECTRALD_PREFER_H
#define SPECTRALD_PREFER_H

#include "common/base.h"

/* Longest wait granted, seconds. */
#define PREFER_WAIT_MAX 60

struct prefer {
    bool async; /* respond-async: never wait */
    bool has_wait;
    unsigned wait_s; /* capped */
};

/* Merge one header value into *p, which starts as all zeros. Of a preference given twice the
 * first counts; unknown or malformed ones are ignored, as the RFC asks. */
void prefer_add(struct prefer *p, const char *value);

/* Seconds to wait: 0 without wait=N or with respond-async. */
unsigned prefer_wait(const struct prefer *p);

#endif
