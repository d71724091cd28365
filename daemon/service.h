/* service.h: what the outside (api/) may ask of the daemon.
 *
 * One `struct service` is the program's only context. Everything here runs on the loop thread and
 * returns at once; results come by callback, also on the loop thread, never before the call
 * returns. Callback arguments are borrowed for the duration of the callback.
 */
#ifndef SPECTRALD_SERVICE_H
#define SPECTRALD_SERVICE_H

#include <jansson.h>

#include "common/err.h"
#include "daemon/config.h"
#include "daemon/loop.h"
#include "daemon/metrics.h"
#include "storage/store.h"

struct service;

struct loop *service_loop(struct service *s);
struct metrics *service_metrics(struct service *s);
const struct config *service_config(struct service *s);

/* True from the moment SIGTERM arrived: new jobs are refused with ERR_BUSY. */
bool service_draining(const struct service *s);

/* --- jobs ---------------------------------------------------------------------------------- */

/* A job as clients see it: the stored record, and what is known only while it runs. */
struct job_view {
    const struct job_record *job;
    double fraction;     /* 0 … 1, by estimated floating-point operations */
    double eta_s;        /* seconds left, or < 0 when unknown */
    const char *message; /* longname of the layer in work, a stage ("reading"), or "" */
    uint64_t change;     /* raised by every visible change since the record was loaded */
    bool replayed;       /* answer to a submit: an earlier one with the same key made the job */
};

/* `err` set: the request failed and view is NULL. */
typedef void job_cb(void *arg, const struct err *err, const struct job_view *view);

struct job_request {
    const char *kind;     /* required */
    const char *owner;    /* required */
    const json_t *source; /* required, object */
    const json_t *params; /* object or NULL */
    const json_t *labels; /* object of strings or NULL */
    const char *key;      /* idempotency key or NULL */
    const char *trace_id; /* 32 hex digits or NULL */
};

/* Validate, store, start. The callback comes once the job is durable and either finished (all
 * cached: "born finished") or known to need work. Errors: ERR_INVALID with the pointer of the
 * field, ERR_BUSY when draining or the queue is full.
 * With a key that made a job before, that job is the answer. ERR_KEY_REUSED when it was for
 * another request, ERR_IN_FLIGHT while the first is not stored yet, ERR_NOT_FOUND when its job was
 * deleted. A submit that fails leaves its key unused. */
void service_job_submit(struct service *s, const struct job_request *rq, job_cb *cb, void *arg);
void service_job_get(struct service *s, const char *id, job_cb *cb, void *arg);
/* Idempotent. */
void service_job_cancel(struct service *s, const char *id, job_cb *cb, void *arg);
void service_job_delete(struct service *s, const char *id, job_cb *cb, void *arg);

/* Change labels by a merge patch (checked with labels_check_patch()). `match` says whether the
 * resource as it is fits `if_match`; called on any thread, also again when it has changed.
 * ERR_STALE when it does not, ERR_INVALID when the result has too many labels, ERR_NOT_FOUND. */
typedef bool job_match(const char *if_match, const struct job_view *view);
void service_job_label(struct service *s, const char *id, const json_t *patch, const char *if_match,
                       job_match *match, job_cb *cb, void *arg);

typedef bool analysis_match(const char *if_match, const struct analysis_record *a);
/* As job_cb. */
typedef void analysis_cb(void *arg, const struct err *err, const struct analysis_record *a);
void service_analysis_label(struct service *s, const char *id, const json_t *patch,
                            const char *if_match, analysis_match *match, analysis_cb *cb,
                            void *arg);

/* Live view of an active job, or NULL when it is not active (then ask the store). */
const struct job_view *service_job_live(struct service *s, const char *id, struct job_view *buf);

/* Call `cb` on every visible change of an active job, until unwatched or the job is final (then
 * once more with the final view, after which the watch is gone). NULL when the job is not active.
 * A watch dies with its last callback; otherwise end it with service_job_unwatch(). */
struct job_watch;
struct job_watch *service_job_watch(struct service *s, const char *id, job_cb *cb, void *arg);
void service_job_unwatch(struct service *s, struct job_watch *w);

/* --- idempotency keys ---------------------------------------------------------------------- */

/* Mark a key as under way, from the arrival of a request to the moment its result is stored
 * (store_key_put()) or has failed; then service_key_end(). ERR_IN_FLIGHT when it is already. */
int service_key_begin(struct service *s, const char *owner, const char *key, struct err *err);
void service_key_end(struct service *s, const char *owner, const char *key);

/* --- reading ------------------------------------------------------------------------------- */

/* Run `run` on the store thread, then `done` on the loop thread. `arg` belongs to run until done
 * is called. */
void service_store_call(struct service *s, void (*run)(void *arg, struct store *st),
                        void (*done)(void *arg), void *arg);

/* --- health -------------------------------------------------------------------------------- */

struct health {
    bool store_ok, workers_ok, disk_ok, draining;
    char store_detail[128], workers_detail[128], disk_detail[128];
};
/* What the periodic checks last saw. */
void service_health(const struct service *s, struct health *out);

#endif
