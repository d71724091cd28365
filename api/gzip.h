/* gzip.h: content coding gzip (RFC 1952), by zlib. */
#ifndef SPECTRALD_GZIP_H
#define SPECTRALD_GZIP_H

#include "common/buf.h"

/* Smaller bodies are sent as they are. */
#define GZIP_MIN 1024

/* Effort: for a body that is sent once, and for one that is kept; large ones would keep others
 * waiting for a quarter of a second. */
#define GZIP_ONCE  1
#define GZIP_KEPT  6
#define GZIP_LARGE (1u << 20)

/* Append the gzip form of `bytes` to *out. False, with *out untouched, when it would not be
 * smaller or memory is short. */
bool gzip_bytes(const void *bytes, size_t len, int effort, struct buf *out);

#endif
