/* loop.h: the event loop of the control process: one thread, epoll, timers, messages from the
 * store and file threads. Nothing called from it may block for more than 5 ms.
 */
#ifndef SPECTRALD_LOOP_H
#define SPECTRALD_LOOP_H

#include <stdint.h>

#include "common/err.h"

struct loop;

int loop_new(struct loop **out, struct err *err);
void loop_free(struct loop *l);

/* Call `cb(arg, events)` when fd has `events` (EPOLLIN …). One watch per fd. */
typedef void loop_fd_cb(void *arg, uint32_t events);
int loop_watch(struct loop *l, int fd, uint32_t events, loop_fd_cb *cb, void *arg, struct err *err);
void loop_unwatch(struct loop *l, int fd);

/* One-shot timers. The handle is owned by the loop and invalid once fired or cancelled. */
struct loop_timer;
struct loop_timer *loop_after(struct loop *l, int64_t delay_ns, void (*cb)(void *arg), void *arg);
void loop_cancel(struct loop *l, struct loop_timer *t);

/* Call `cb(arg)` from the loop soon, once; from any thread. */
void loop_post(struct loop *l, void (*cb)(void *arg), void *arg);

/* Called before every sleep, once: may do work; returns the longest time to sleep in ns, or -1
 * for no limit. (libmicrohttpd wants to be run and asked.) */
void loop_set_idle(struct loop *l, int64_t (*cb)(void *arg), void *arg);

/* Run until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* How long the present turn has lasted: what can be done elsewhere should be, when it is old. */
int64_t loop_turn_ns(const struct loop *l);

/* Longest and latest time between two sleeps, in seconds, since the last call with reset. */
double loop_stall_max(struct loop *l, bool reset);

/* Called after every turn with its length in seconds. */
void loop_set_turn_hook(struct loop *l, void (*cb)(void *arg, double seconds), void *arg);

#endif
