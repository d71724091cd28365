/* blobs.h: cache values too large for a row, as files ROOT/blobs/<kind>/ab/<hex of key>.
 *
 * A file appears whole or not at all: it is written under another name, synced and renamed.
 * Private to storage/.
 */
#ifndef SPECTRALD_BLOBS_H
#define SPECTRALD_BLOBS_H

#include "common/buf.h"
#include "common/digest.h"

/* On disk, directory included, when it returns. Replaces an older one. */
int blob_write(const char *root, const char *kind, const struct digest *key, const void *bytes,
               size_t len, struct err *err);
/* Into *out, owned by the caller. ERR_NOT_FOUND when it is missing, unreadable or not `len` bytes
 * long; ERR_NOMEM. */
int blob_read(const char *root, const char *kind, const struct digest *key, uint64_t len,
              struct buf *out, struct err *err);
/* Remove every file of this kind that is not the blob of a key that `known` confirms: what a crash
 * or a failed transaction left behind. Returns how many. */
size_t blob_sweep(const char *root, const char *kind,
                  bool (*known)(void *arg, const struct digest *key), void *arg);
/* Nothing happens when there is none. */
void blob_remove(const char *root, const char *kind, const struct digest *key);

#endif
