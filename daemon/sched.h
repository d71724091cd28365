/* sched.h: which task runs next, and where.
 *
 * Loop thread only. Tasks belong to a lane (one job); lanes belong to an owner. Owners share the
 * workers fairly by estimated floating-point operations, an owner's lanes share its part the same
 * way, and within a lane the longest task goes first. A task starts only when the memory of all
 * running tasks together stays within the budget; the one whose turn it is is never overtaken, so
 * a large task cannot starve.
 *
 * A task whose worker dies is tried once more (after running out of memory: alone), then fails.
 *
 * Tasks with the same key in different lanes compute the same thing: the second waits until the
 * first lane says sched_key_done(), and is then answered "elsewhere" when the result is there.
 */
#ifndef SPECTRALD_SCHED_H
#define SPECTRALD_SCHED_H

#include "common/digest.h"
#include "daemon/pool.h"

struct sched;
struct lane;
struct task;

/* The task's end, once: `m` is the answer (borrowed; take a descriptor by setting it to -1), or
 * NULL and `err` says why not: ERR_CRASHED, ERR_NOMEM, ERR_DEADLINE or the worker's own error.
 * Both NULL: t->key was computed for another lane meanwhile. */
typedef void task_done(void *arg, struct task *t, struct wire_message *m, const struct err *err);

struct task {
    enum worker_role role;
    enum wire_type type;
    struct buf body;      /* owned by the task */
    int fd[WIRE_FDS_MAX]; /* borrowed: open until done, or until the lane is closed */
    size_t n_fds;
    double flops, bytes;      /* estimates */
    const char *label;        /* for people, borrowed like the descriptors; or NULL */
    const struct digest *key; /* what it computes, borrowed likewise; NULL = nobody else's affair */
    task_done *done;
    void *arg;
    uint64_t tag[2]; /* the caller's */
    /* private to the scheduler */
    struct lane *lane; /* NULL once the lane is closed: nobody waits for the task */
    struct task *next;
    uint64_t sequence;
    unsigned attempts;
    bool alone;
    int64_t started_ns;
};

/* A zeroed task; the caller fills it and gives it to sched_add(). */
struct task *task_new(enum worker_role role, enum wire_type type, task_done *done, void *arg);

int sched_new(struct sched **out, struct loop *loop, const struct config *config,
              struct metrics *metrics, struct err *err);
void sched_free(struct sched *s);
struct pool *sched_pool(struct sched *s);

struct lane *lane_open(struct sched *s, const char *owner);
/* Forget waiting tasks and kill running ones; no `done` is called any more. NULL is fine. */
void lane_close(struct lane *l);

/* Queue a task; the scheduler owns it from now on. `done` is never called before this returns. */
void sched_add(struct lane *l, struct task *t);

/* The result of a key that a task of this lane had is stored, or (`stored` false) will not be. Must
 * follow the `done` of such a task, unless the lane is closed before. */
void sched_key_done(struct lane *l, const struct digest *key, bool stored);

/* Label of the longest-running task of the lane, or NULL. */
const char *lane_label(const struct lane *l);

/* Estimated seconds for `flops` of work on all workers together, from what was measured. */
double sched_eta_s(const struct sched *s, double flops);

/* The memory budget of all workers together, in bytes. */
double sched_budget(const struct sched *s);

#endif
