/* artifacts_main.h: what the rest of the daemon needs of artifacts. Private to daemon/. */
#ifndef SPECTRALD_ARTIFACTS_MAIN_H
#define SPECTRALD_ARTIFACTS_MAIN_H

#include "daemon/actor.h"
#include "daemon/artifacts.h"
#include "common/ident.h"

struct artifacts;

/* Remove files without a record and start the thread that removes. Reads the store directly: call
 * it before the store thread starts. */
int artifacts_new(struct artifacts **out, struct service *s, struct store *st, struct err *err);
void artifacts_free(struct artifacts *a);

/* Now and then: remove what is too old, or too much. */
void artifacts_tick(struct artifacts *a);

/* While an artifact is pinned, its files stay; its record may go. */
void artifacts_pin(struct artifacts *a, const char *id);
void artifacts_unpin(struct artifacts *a, const char *id);

/* When an artifact of ours made at `created_ms` expires, in Unix milliseconds; 0 = never. On any
 * thread. */
int64_t artifacts_expiry(const struct config *c, int64_t created_ms);

/* A job's artifact is in the store. */
void artifacts_made(struct artifacts *a, bool ours, uint64_t nbytes);

/* The id of what a job writes. */
void artifact_id_of_job(const char *job, char id[IDENT_MAX]);

#endif
