/* wait.h: waiting for a job to change: long polls and Prefer: wait=N. */
#ifndef SPECTRALD_WAIT_H
#define SPECTRALD_WAIT_H

#include "api/request.h"

/* Make a job's reply to this request; or start something that will, and return reply_suspend(). */
typedef struct reply *wait_reply_fn(struct request *rq, const struct job_view *view);

/* Is there nothing (more) to wait for? Waits end when the job is final, or, unless `until_final`,
 * as soon as it differs from what If-None-Match names. */
bool wait_is_over(const struct request *rq, const struct job_view *view, bool until_final);

/* Finish `rq` with make(rq, view) once wait_is_over(), or after `seconds` with the view as it then
 * is. To be called when nothing known of the job ends the wait at once; the request must be
 * suspended, or become so on return. */
void wait_job(struct request *rq, const char *id, unsigned seconds, bool until_final,
              wait_reply_fn *make);

/* Call a wait off, without an answer. NULL is fine. */
void wait_cancel(struct job_wait *w);

/* Ask for a job as it is now, and finish with make(). */
void wait_fetch(struct request *rq, const char *id, wait_reply_fn *make);

#endif
