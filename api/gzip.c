/* gzip.c: see gzip.h. */
#include "api/gzip.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#define WINDOW_GZIP (15 + 16) /* the largest window, in the gzip wrapper */
#define MEMORY      8         /* zlib's default */

bool gzip_bytes(const void *bytes, size_t len, int effort, struct buf *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)bytes, .avail_in = (uInt)len};
    AUTO(freep) Bytef *room = NULL;
    size_t n = 0;

    if (len > UINT_MAX ||
        deflateInit2(&z, effort, Z_DEFLATED, WINDOW_GZIP, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    room = malloc(len);
    if (room) {
        z.next_out = room;
        z.avail_out = (uInt)len; /* more would be no gain */
        if (deflate(&z, Z_FINISH) == Z_STREAM_END)
            n = z.total_out;
    }
    (void)deflateEnd(&z);
    if (n > 0)
        buf_put(out, room, n);
    return n > 0;
}
