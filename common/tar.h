/* tar.h: headers of a tar archive (POSIX ustar, with pax records where ustar is too small). */
#ifndef SPECTRALD_TAR_H
#define SPECTRALD_TAR_H

#include "common/buf.h"

#define TAR_BLOCK ((size_t)512)

/* Append the header of a plain file, mode 0644, modified at `mtime` (seconds, 0 … 2^33-1); its
 * contents, padded to TAR_BLOCK, follow. */
void tar_header(struct buf *out, const char *name, uint64_t nbytes, uint64_t mtime);

/* Bytes to add to `nbytes` to fill the last block. */
size_t tar_padding(uint64_t nbytes);

/* Append what ends an archive. */
void tar_end(struct buf *out);

#endif
