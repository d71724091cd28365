/* locate.h: from the `source` member of a job to open files. Private to daemon/. */
#ifndef SPECTRALD_LOCATE_H
#define SPECTRALD_LOCATE_H

#include <jansson.h>

#include "daemon/service.h"
#include "daemon/source.h"

/* What a job reads; exactly one is set. */
struct source_ref {
    char *path;             /* owned, or NULL */
    char upload[IDENT_MAX]; /* or "" */
};
void source_ref_done(struct source_ref *r);

/* From {"path": …} or {"upload": …}. ERR_INVALID naming the member. Any thread. */
int source_ref_parse(const json_t *source, struct source_ref *out, struct err *err);

/* Is there what a path names? Better asked before a job begins than met in its middle; an upload is
 * left to the job. ERR_NOT_FOUND, ERR_FORBIDDEN, … at `pointer`. File thread. */
int source_ref_check(const struct source_ref *r, const struct config *c, const char *pointer,
                     struct err *err);

/* Open it. An upload is kept for another full term from now. `cb` is called on the loop thread,
 * never before this returns: with an error, or with the source, which is then its. ERR_NOT_FOUND
 * also when the upload is gone. */
typedef void locate_cb(void *arg, const struct err *err, struct source *src);
void locate_source(struct service *s, const struct source_ref *ref, locate_cb *cb, void *arg);

#endif
