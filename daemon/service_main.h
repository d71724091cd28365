/* service_main.h: starting and stopping the service; for the composition root. */
#ifndef SPECTRALD_SERVICE_MAIN_H
#define SPECTRALD_SERVICE_MAIN_H

#include "daemon/service.h"

/* Open the store, start threads and workers, and take up the jobs an earlier run left. `config`
 * must outlive the service. ERR_CONFLICT when another process has the state directory open. */
int service_new(struct service **out, const struct config *config, struct err *err);

/* Refuse new jobs; call `done(arg)` once no task runs any more or at the latest after `limit_s`.
 * Jobs that are not finished stay in the queue for the next start. */
void service_drain(struct service *s, double limit_s, void (*done)(void *arg), void *arg);

/* Kill the workers, stop the threads, close the store. */
void service_free(struct service *s);

#endif
