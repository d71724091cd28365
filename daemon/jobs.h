/* jobs.h: the registry of active jobs. Private to daemon/; loop thread only. */
#ifndef SPECTRALD_JOBS_H
#define SPECTRALD_JOBS_H

#include "daemon/job.h"

#define JOBS_NODE       "local"
#define JOBS_ACTIVE_MAX 64 /* worked on at once; others wait in the store */
#define JOBS_LEASE_MS   60000

/* At start: put back what an earlier run left, and claim up to JOBS_ACTIVE_MAX jobs. */
void jobs_recover(struct service *s);
/* Extend the leases of active jobs, at most every third of a lease. */
void jobs_renew(struct service *s);
/* At the end: kill what runs and forget all jobs; the store keeps them for the next start. */
void jobs_abandon(struct service *s);

/* --- for jobs_submit.c and jobs_verbs.c ------------------------------------------------------ */

/* An active job, or NULL. */
struct job *jobs_find(struct service *s, const char *id);
/* What clients see of an active job, and of a record that is only stored. */
struct job_view jobs_view(const struct job *j);
struct job_view jobs_view_record(const struct job_record *rec);
/* A claimed job enters the registry; takes the contents of `rec`. */
struct job *jobs_activate(struct service *s, struct job_record *rec);
/* Claim a stored job when there is room for it. */
void jobs_claim_more(struct service *s);
/* Store the end of a job, then job_ended(). `reason` and `err` as in job_fail(). */
void jobs_end(struct job *j, enum job_state state, const char *reason, const struct err *err);

#endif
