/* tar_stream.h: reader of a tar archive that arrives in pieces (POSIX ustar and pax, GNU long
 * names and large sizes).
 *
 * Strict, because what it names is created: plain files and directories only, relative names
 * without "." and ".." components, header checksums verified, a bounded number of files. Does no
 * I/O; files come out through a sink. A leading "./" is dropped.
 */
#ifndef SPECTRALD_TAR_STREAM_H
#define SPECTRALD_TAR_STREAM_H

#include "common/err.h"

#define TAR_FILES_MAX     4096
#define TAR_NAME_MAX      1024 /* bytes of a whole name */
#define TAR_COMPONENT_MAX 255
#define TAR_DEPTH_MAX     16

/* What is called for each plain file: begin, any number of data, end. A negative result ends the
 * reading and is returned. */
struct tar_sink {
    int (*begin)(void *arg, const char *name, uint64_t size, struct err *err);
    int (*data)(void *arg, const void *bytes, size_t len, struct err *err);
    int (*end)(void *arg, struct err *err);
    void *arg;
};

struct tar_stream;

/* `sink` is copied; its arg must outlive the stream. */
struct tar_stream *tar_stream_new(const struct tar_sink *sink);
void tar_stream_free(struct tar_stream *t);

/* Take the next piece of the archive. ERR_FORMAT, ERR_LIMIT, ERR_UNSUPPORTED (links, devices,
 * sparse files), or what the sink returned. After an error the stream must only be freed. */
int tar_stream_add(struct tar_stream *t, const void *bytes, size_t len, struct err *err);

/* The archive is over. ERR_FORMAT when it ends inside a file or without its end mark. */
int tar_stream_end(struct tar_stream *t, struct err *err);

#endif
