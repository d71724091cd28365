/* plans.h: what the server keeps for plans, and a plan that was made before as an answer. On the
 * loop thread. */
#ifndef SPECTRALD_PLANS_H
#define SPECTRALD_PLANS_H

#include "api/request.h"
#include "daemon/plan.h"

/* Requests for plans that wait for another thread, all together: each may hold a model's rows. */
#define PLANS_AT_ONCE 32

struct plans {
    struct metric_rows_cache *rows;
    unsigned refs; /* the server's, and one for each that waits */
};

struct plans *plans_new(void);
void plans_unref(struct plans *p); /* NULL is fine */

/* Write down what was asked for, so that GET /v1/plans/{id} finds it. */
void plans_remember(struct service *svc, const char *id, const struct plan_ask *ask);

/* Answer `rq` with the plan; `job`: the one that has just made it, or NULL. Returns a refusal, or
 * reply_suspend(). */
struct reply *plans_fetch(struct request *rq, const char *id, const char *job);

#endif
