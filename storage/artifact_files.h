/* artifact_files.h: the files of an artifact, a checkpoint that a job writes.
 *
 *   DIR/.NAME.JOB.tmp/…      being written
 *   DIR/NAME/…               complete
 *
 * All appear under their name together, synced, by one rename. What is being written stays when
 * the process dies: a file that was finished is not written again by the job's next attempt. Every
 * function blocks on the disk: not for the loop thread.
 */
#ifndef SPECTRALD_ARTIFACT_FILES_H
#define SPECTRALD_ARTIFACT_FILES_H

#include "common/digest.h"
#include "common/err.h"

struct artifact_writer;

/* Begin, or go on, to write the directory `path` (absolute; its parent exists) for `job`. What this
 * job has published is unpublished again. ERR_CONFLICT when there is something else of that name.
 */
int artifact_writer_open(const char *path, const char *job, struct artifact_writer **out,
                         struct err *err);
void artifact_writer_free(struct artifact_writer *w); /* what was written stays */

/* Remove what was written and not published, and what was noted. For the end of the job, whatever
 * became of it. Fine when there is nothing. */
int artifact_discard(const char *path, const char *job, struct err *err);

/* --- one file at a time ---------------------------------------------------------------------- */

/* Was this file finished, for the same `key`? Then 0 and what was noted of it (to be freed) in
 * *note. ERR_NOT_FOUND. */
int artifact_file_known(const struct artifact_writer *w, const char *name, const struct digest *key,
                        char **note, struct err *err);

/* Create the file; *fd is open for reading and writing, the caller's. */
int artifact_file_create(const struct artifact_writer *w, const char *name, uint64_t size, int *fd,
                         struct err *err);

/* Copy `len` bytes at `in` of another file to `out`. */
int artifact_copy(int from, int to, uint64_t in, uint64_t out, uint64_t len, struct err *err);

/* Write `len` bytes at `in` of a memory file at `offset`. */
int artifact_put(int memfd, uint64_t in, int to, uint64_t offset, uint64_t len, struct err *err);

/* Write bytes at `offset`. */
int artifact_put_bytes(int to, const void *bytes, size_t len, uint64_t offset, struct err *err);

/* The file turned out to have `size` bytes, fewer than it was created with. */
int artifact_file_cut(int fd, uint64_t size, struct err *err);

/* The file is complete: sync it, give it its name and remember `note` for `key`. */
int artifact_file_finish(const struct artifact_writer *w, const char *name, int fd,
                         const struct digest *key, const char *note, struct err *err);

/* A small file in one step. */
int artifact_file_write(const struct artifact_writer *w, const char *name, const void *bytes,
                        size_t len, struct err *err);

/* All files are there: the directory gets its name. */
int artifact_publish(const struct artifact_writer *w, struct err *err);

/* --- those in the state directory: STATE/artifacts/ID ---------------------------------------- */

/* The path of one, for artifact_writer_open(); its parent is made. The caller frees it. */
int artifact_own_path(const char *state_dir, const char *id, char **path, struct err *err);

/* Remove one, when its record is gone: what a crash leaves of it is swept. */
int artifact_own_remove(const char *state_dir, const char *id, struct err *err);

/* At start: remove every one without a record (`known` false), and what jobs that have ended
 * (`unfinished` false) were writing. Returns how many names were removed. */
struct artifact_keep {
    bool (*known)(void *arg, const char *id);
    bool (*unfinished)(void *arg, const char *job);
    void *arg;
};
size_t artifact_own_sweep(const char *state_dir, const struct artifact_keep *keep);

#endif
