/* artifacts.h: checkpoints that jobs wrote: their files, removing them.
 *
 * As with service.h: loop thread only, results by callback, never before the call returns. Files
 * are opened and read on the file thread.
 */
#ifndef SPECTRALD_ARTIFACTS_H
#define SPECTRALD_ARTIFACTS_H

#include "daemon/service.h"

/* Remove an artifact: its record, and its files when they are ours. ERR_NOT_FOUND. `cb` may be
 * NULL. */
typedef void artifact_cb(void *arg, const struct err *err);
void service_artifact_remove(struct service *s, const char *id, artifact_cb *cb, void *arg);

/* --- one file -------------------------------------------------------------------------------- */

struct artifact_open_file {
    int fd; /* the callback may take it and leave -1 */
    uint64_t nbytes;
    struct digest blake2b; /* of what the job wrote */
    int64_t touched_ns;    /* 0, or when somebody wrote to the file after that */
};

/* Open a file by its name in the manifest. ERR_NOT_FOUND: no such artifact, or no such file in it;
 * ERR_GONE: its owner removed it; ERR_CHANGED: it has another size now. */
typedef void artifact_file_cb(void *arg, const struct err *err, struct artifact_open_file *f);
void service_artifact_file(struct service *s, const char *id, const char *name,
                           artifact_file_cb *cb, void *arg);

/* --- all files as a tar archive ---------------------------------------------------------------
 *
 * One directory, named by the artifact's id. The same artifact always gives the same bytes. Its
 * files stay while it is read, also when it is removed meanwhile.
 */

struct artifact_tar;

/* Errors as above. On success the callback owns the archive. */
typedef void artifact_tar_cb(void *arg, const struct err *err, struct artifact_tar *tar);
void service_artifact_tar(struct service *s, const char *id, artifact_tar_cb *cb, void *arg);

/* Its length in bytes. */
uint64_t artifact_tar_size(const struct artifact_tar *t);

/* Read the next piece: `cb` gets its bytes, borrowed until the next call, or NULL and 0 when they
 * cannot be had. Not while one is being read. */
typedef void artifact_piece_cb(void *arg, const uint8_t *bytes, size_t len);
void artifact_tar_next(struct artifact_tar *t, artifact_piece_cb *cb, void *arg);

/* At any time; a piece that is being read is dropped. */
void artifact_tar_close(struct artifact_tar *t);

#endif
