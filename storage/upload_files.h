/* upload_files.h: the bytes of uploads on disk.
 *
 *   STATE/uploads/incoming/UPLOAD-ID/   being received; removed at start
 *   STATE/uploads/content/SHA256.file/data       one file, as sent
 *   STATE/uploads/content/SHA256.tar/…           an archive's files, by their names
 *
 * A body appears under content/ whole and synced, by one rename, or not at all. Equal bodies share
 * one content directory. Every function blocks on the disk: call them from one thread, never from
 * the loop.
 */
#ifndef SPECTRALD_UPLOAD_FILES_H
#define SPECTRALD_UPLOAD_FILES_H

#include "common/digest.h"
#include "storage/store.h"

struct upload_writer;

/* Begin to receive a body. Owned by the caller; end with upload_writer_free(). */
int upload_writer_open(const char *state_dir, const char *id, enum upload_kind kind,
                       struct upload_writer **out, struct err *err);

/* Take the next bytes of the body: write, unpack. ERR_FULL, ERR_IO, or what tar_stream.h
 * says of an archive. After an error the writer must only be freed. */
int upload_writer_add(struct upload_writer *w, const void *bytes, size_t len, struct err *err);

/* The body is complete: make it durable under `sha256`, its digest. */
struct upload_content {
    uint64_t nbytes; /* of the body */
    uint64_t n_files;
    bool shared; /* this content was there already */
};
int upload_writer_finish(struct upload_writer *w, const struct digest *sha256,
                         struct upload_content *out, struct err *err);

/* Release the writer; what was not finished is removed. */
void upload_writer_free(struct upload_writer *w);

/* The directory of a content. The caller frees it. */
char *upload_content_dir(const char *state_dir, enum upload_kind kind, const struct digest *sha256);

/* Name of the one file of an UPLOAD_FILE content. */
#define UPLOAD_DATA_NAME "data"

int upload_content_remove(const char *state_dir, enum upload_kind kind, const struct digest *sha256,
                          struct err *err);

/* At start: remove what was being received, and every content for which `known` is false.
 * Returns how many were removed. */
size_t upload_sweep(const char *state_dir,
                    bool (*known)(void *arg, enum upload_kind kind, const struct digest *sha256),
                    void *arg);

#endif
