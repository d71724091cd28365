/* pool.h: worker processes: start, check-in, one task at a time, death, restart.
 *
 * Loop thread only. A worker is started by fork+exec of this very binary with a role, its socket
 * on fd 3, and an environment chosen before exec (one BLAS thread, the BLAS kernel). Workers die
 * at any time; the pool reaps them, counts why, starts another, and tells its owner what became
 * of the task.
 */
#ifndef SPECTRALD_POOL_H
#define SPECTRALD_POOL_H

#include "daemon/config.h"
#include "daemon/loop.h"
#include "daemon/metrics.h"
#include "daemon/wire.h"

struct pool;
struct worker;

enum worker_role { WORKER_READER = 0, WORKER_COMPUTE, WORKER_ROLE_COUNT };

/* Why a worker died. */
enum worker_cause {
    CAUSE_NONE = 0,
    CAUSE_EXIT,     /* ended by itself after its task, as readers do */
    CAUSE_CRASH,    /* signal or non-zero status */
    CAUSE_OOM,      /* SIGKILL that was not ours: the kernel's OOM killer */
    CAUSE_DEADLINE, /* we killed it: its task took too long */
    CAUSE_CANCEL,   /* we killed it: its job was cancelled */
    CAUSE_PROTOCOL, /* we killed it: it sent nonsense */
    CAUSE_SHUTDOWN, /* we killed it: the daemon ends */
    CAUSE_COUNT
};

struct pool_owner {
    void *arg;
    /* A worker of this role has become free. */
    void (*idle)(void *arg, enum worker_role role);
    /* The task of a worker was answered; `m` is borrowed (take fds by setting m->fd[i] = -1). */
    void (*reply)(void *arg, void *task, struct wire_message *m);
    /* The worker died before it answered. */
    void (*died)(void *arg, void *task, enum worker_cause cause);
};

int pool_new(struct pool **out, struct loop *loop, const struct config *config,
             struct metrics *metrics, const struct pool_owner *owner, struct err *err);

/* Kill all workers and wait for them. */
void pool_free(struct pool *p);

/* A worker of this role that can take a task now, or NULL. Readers are started on demand, up to a
 * limit; one is always kept in reserve. */
struct worker *pool_idle(struct pool *p, enum worker_role role);

/* Give `w` a task: a message, and a deadline in seconds after which it is killed. `task` (not
 * NULL) comes back in reply or died. ERR_LIMIT: the message is too long, nothing was started.
 * ERR_CRASHED: the worker is gone; `died` is not called for this task. */
int pool_start(struct pool *p, struct worker *w, void *task, enum wire_type type,
               const struct buf *body, const int *fds, size_t n_fds, double deadline_s,
               struct err *err);

/* Kill the worker that has `task`, for this cause; `died` follows from the loop. */
void pool_kill(struct pool *p, const void *task, enum worker_cause cause);

/* Number of compute workers that have checked in, and configured. */
unsigned pool_ready(const struct pool *p);
unsigned pool_size(const struct pool *p);
/* BLAS kernel of the workers, "" before the first check-in. */
const char *pool_blas_core(const struct pool *p);
const char *pool_blas_config(const struct pool *p);

#endif
