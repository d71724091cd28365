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

#endif
