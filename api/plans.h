/* plans.h: what the server keeps for plans. On the loop thread. */
#ifndef SPECTRALD_PLANS_H
#define SPECTRALD_PLANS_H

#include "daemon/plan.h"

struct service;

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

#endif
