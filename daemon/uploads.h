/* uploads.h: model files that clients send: receiving, finding, removing, expiring.
 *
 * As with service.h: loop thread only, results by callback, never before the call returns. Bytes
 * are hashed by one thread and written by another, both only for this, so that syncing one
 * client's gigabytes holds up nobody else's files.
 */
#ifndef SPECTRALD_UPLOADS_H
#define SPECTRALD_UPLOADS_H

#include "daemon/service.h"

#define UPLOAD_NAME_MAX 255
#define UPLOADS_AT_ONCE 32 /* being received */

struct upload_in; /* a body being received */

struct upload_request {
    const char *owner;
    const char *name; /* a file name, for people: no slash, at most UPLOAD_NAME_MAX bytes */
    enum upload_kind kind;
    uint64_t length;           /* announced, or UINT64_MAX */
    const struct digest *want; /* announced SHA-256, or NULL */
    const char *key;           /* idempotency key, or NULL */
};

/* Begin to receive. ERR_BUSY: draining, or too many at once; ERR_IN_FLIGHT: of its key; ERR_LIMIT:
 * larger than one upload may be; ERR_FULL: quota or disk. The caller ends it with
 * service_upload_end() or _abort(). `ready` is called when writing may go on after
 * service_upload_write() said no, and once more if the upload fails meanwhile. */
int service_upload_begin(struct service *s, const struct upload_request *rq,
                         void (*ready)(void *arg), void *arg, struct upload_in **out,
                         struct err *err);

/* Take bytes (copied). False: take no more before `ready` was called. After a failure the bytes
 * are dropped. */
bool service_upload_write(struct upload_in *u, const void *bytes, size_t len);

/* The error that ended it early, or NULL. Borrowed. */
const struct err *service_upload_failure(const struct upload_in *u);

/* Borrowed during the callback; NULL with an error. */
struct upload_view {
    const struct upload_record *upload;
    bool shared;   /* the same content was there already */
    bool replayed; /* made by an earlier request with the same idempotency key */
};
typedef void upload_cb(void *arg, const struct err *err, const struct upload_view *view);

/* The body is complete: durable and known to the store before `cb` is told. Not after a failure.
 * ERR_KEY_REUSED: its key was used for another body. Ends `u`. */
void service_upload_end(struct upload_in *u, upload_cb *cb, void *arg);

/* The client left or was refused: nothing remains. Ends `u`; NULL is fine. */
void service_upload_abort(struct upload_in *u);

/* Remove a complete upload. ERR_NOT_FOUND; ERR_CONFLICT while an unfinished job uses it. */
void service_upload_remove(struct service *s, const char *id, upload_cb *cb, void *arg);

#endif
