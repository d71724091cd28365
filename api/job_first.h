/* job_first.h: calls with a source that nobody has read yet: their answer needs a job.
 *
 * The job is made as POST /v1/jobs makes it, with the request's Idempotency-Key. Until it is over
 * the answer is 202 with the job, at the end of the client's patience or at once.
 */
#ifndef SPECTRALD_JOB_FIRST_H
#define SPECTRALD_JOB_FIRST_H

#include "api/request.h"

/* Make the job that `body` (source, labels) and `params` ask for, wait up to `wait_s` seconds
 * unless the client says otherwise, and answer with then(rq, view) once it is over, however it
 * ended. ERR_INVALID before there is a job, naming the member. Otherwise the request is, or becomes
 * on return, suspended. */
typedef struct reply *job_then_fn(struct request *rq, const struct job_view *view);
int job_first(struct request *rq, const char *kind, const json_t *body, const json_t *params,
              unsigned wait_s, job_then_fn *then, struct err *err);

/* A field that the job complains about, as one of the body: where the body's own members are the
 * parameters, nothing is above them. */
void job_first_fault(const struct request *rq, struct err *err);

/* Say in a reply made after the job which wishes were granted: waiting, and no second job. */
struct reply *job_first_headers(const struct request *rq, struct reply *r);

#endif
