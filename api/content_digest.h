/* content_digest.h: the Content-Digest and Repr-Digest fields (RFC 9530). */
#ifndef SPECTRALD_CONTENT_DIGEST_H
#define SPECTRALD_CONTENT_DIGEST_H

#include "common/digest.h"

/* Find "sha-256=:BASE64:" in the value of such a field (or NULL). Returns 1 with the digest, 0 when
 * there is none (other algorithms are not checked), or ERR_INVALID when it is malformed. */
int content_digest_parse(const char *value, struct digest *out, struct err *err);

#endif
