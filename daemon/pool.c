/* pool.c: one slot per worker, a state each.
 *
 *   STARTING --hello--> IDLE --task--> BUSY --reply--> IDLE (compute) or LEAVING (reader)
 *       any --pidfd readable--> dead: reaped, slot freed, compute workers started again
 *
 * A worker that dies before its hello is restarted with a growing delay, so that a broken
 * installation does not spin.
 */
#include "daemon/pool.h"

#include "common/fdio.h"
#include "common/ident.h"
#include "daemon/log.h"
#include "daemon/spawn.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#define START_DELAY_MAX_NS 30000000000
#define RESERVE_READERS    1

enum worker_state { STARTING, IDLE, BUSY, LEAVING };

struct worker {
    struct worker *next;
    struct pool *pool;
    enum worker_role role;
    enum worker_state state;
    pid_t pid;
    int pid_fd, sock;
    void *task; /* NULL unless BUSY */
    uint64_t task_id;
    struct loop_timer *deadline;
    enum worker_cause kill_cause; /* why we killed it, or CAUSE_NONE */
    bool checked_in;
};

struct pool {
    struct loop *loop;
    const struct config *config;
    struct pool_owner owner;
    struct worker *workers;
    char **env;
    uint64_t next_task_id;
    int64_t start_delay_ns; /* 0 while starts succeed */
    struct loop_timer *restart;
    bool stopping;
    char core[32], blas_config[128];
    struct metric *m_exits, *m_workers;
};

static const char *const role_name[] = {"reader", "compute"};
static const char *const cause_name[] = {"none",     "exit",   "crash",    "oom",
                                         "deadline", "cancel", "protocol", "shutdown"};
_Static_assert(ARRAY_LEN(cause_name) == CAUSE_COUNT, "a name for every cause");

static unsigned count_role(const struct pool *p, enum worker_role role)
{
    unsigned n = 0;

    for (const struct worker *w = p->workers; w; w = w->next)
        n += w->role == role;
    return n;
}

static void update_gauges(struct pool *p)
{
    unsigned n[WORKER_ROLE_COUNT][4] = {0};
    static const char *const state_name[] = {"starting", "idle", "busy", "leaving"};
    char values[64];

    for (const struct worker *w = p->workers; w; w = w->next)
        n[w->role][w->state]++;
    for (size_t r = 0; r < WORKER_ROLE_COUNT; r++)
        for (size_t s = 0; s < ARRAY_LEN(state_name); s++) {
            snprintf(values, sizeof values, "%s,%s", role_name[r], state_name[s]);
            metric_set(p->m_workers, values, n[r][s]);
        }
}

static void kill_worker(struct worker *w, enum worker_cause cause)
{
    if (w->kill_cause == CAUSE_NONE)
        w->kill_cause = cause;
    (void)kill(w->pid, SIGKILL);
}

static void on_deadline(void *arg)
{
    struct worker *w = arg;

    w->deadline = NULL;
    log_warn("worker %d passed its task's deadline and is killed", (int)w->pid);
    kill_worker(w, CAUSE_DEADLINE);
}

static void clear_task(struct worker *w)
{
    if (w->deadline)
        loop_cancel(w->pool->loop, w->deadline);
    w->deadline = NULL;
    w->task = NULL;
}

static void on_hello(struct worker *w, const struct wire_message *m)
{
    struct pool *p = w->pool;
    struct reader r;
    size_t n_core, n_config;
    const char *core, *config;

    reader_init(&r, m->body.data, m->body.len);
    if (w->role == WORKER_COMPUTE) {
        core = reader_str(&r, sizeof p->core - 1, &n_core);
        config = reader_str(&r, sizeof p->blas_config - 1, &n_config);
        if (reader_ok(&r)) {
            snprintf(p->core, sizeof p->core, "%.*s", (int)n_core, core);
            snprintf(p->blas_config, sizeof p->blas_config, "%.*s", (int)n_config, config);
        }
    }
    w->checked_in = true;
    w->state = IDLE;
    p->start_delay_ns = 0;
    update_gauges(p);
    p->owner.idle(p->owner.arg, w->role);
}

static void on_answer(struct worker *w, struct wire_message *m)
{
    struct pool *p = w->pool;
    void *task = w->task;

    clear_task(w);
    w->state = w->role == WORKER_READER ? LEAVING : IDLE;
    update_gauges(p);
    p->owner.reply(p->owner.arg, task, m);
    if (w->state == IDLE)
        p->owner.idle(p->owner.arg, w->role);
}

static void on_socket(void *arg, uint32_t events)
{
    struct worker *w = arg;
    struct wire_message m;
    struct err err;
    int r = wire_receive(w->sock, &m, &err);

    (void)events;
    if (r == ERR_BUSY)
        return;
    if (r == ERR_NOT_FOUND) { /* end of file: the pidfd tells the rest */
        loop_unwatch(w->pool->loop, w->sock);
        return;
    }
    if (r < 0) {
        log_warn("worker %d: %s", (int)w->pid, err.text);
        kill_worker(w, CAUSE_PROTOCOL);
        loop_unwatch(w->pool->loop, w->sock);
        return;
    }
    if (m.type == WIRE_HELLO && w->state == STARTING) {
        on_hello(w, &m);
    } else if (w->state == BUSY && m.task == w->task_id &&
               (m.type == WIRE_DONE || m.type == WIRE_FAILED)) {
        on_answer(w, &m);
    } else {
        log_warn("worker %d sent a message out of turn", (int)w->pid);
        kill_worker(w, CAUSE_PROTOCOL);
    }
    wire_message_done(&m);
}

static enum worker_cause cause_of(const struct worker *w, int status)
{
    if (w->kill_cause != CAUSE_NONE)
        return w->kill_cause;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return CAUSE_OOM;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return CAUSE_EXIT;
    return CAUSE_CRASH;
}

static void forget(struct worker *w)
{
    struct pool *p = w->pool;

    for (struct worker **q = &p->workers; *q; q = &(*q)->next)
        if (*q == w) {
            *q = w->next;
            break;
        }
    clear_task(w);
    loop_unwatch(p->loop, w->sock);
    loop_unwatch(p->loop, w->pid_fd);
    fd_close(&w->sock);
    fd_close(&w->pid_fd);
    free(w);
}

static void keep_full(struct pool *p);

static void on_death(void *arg, uint32_t events)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    void *task = w->task;
    enum worker_role role = w->role;
    enum worker_cause cause;
    char values[64];
    int status = 0;

    (void)events;
    /* A reply may still lie in the socket: a reader answers and exits at once. */
    if (w->state == BUSY && w->kill_cause == CAUSE_NONE) {
        on_socket(w, 0);
        task = w->task;
    }
    if (waitpid(w->pid, &status, 0) != w->pid)
        return;
    cause = cause_of(w, status);
    snprintf(values, sizeof values, "%s,%s", role_name[role], cause_name[cause]);
    metric_inc(p->m_exits, values, 1);
    if (cause == CAUSE_CRASH || cause == CAUSE_OOM)
        log_warn("%s worker %d died: %s %d", role_name[role], (int)w->pid,
                 WIFSIGNALED(status) ? "signal" : "exit status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    if (!w->checked_in)
        p->start_delay_ns = p->start_delay_ns ? p->start_delay_ns * 2 : 100000000;
    forget(w);
    if (task)
        p->owner.died(p->owner.arg, task, cause == CAUSE_EXIT ? CAUSE_CRASH : cause);
    if (!p->stopping)
        keep_full(p);
    update_gauges(p);
}

static int add_worker(struct pool *p, enum worker_role role, struct err *err)
{
    struct worker *w = xcalloc(1, sizeof *w);
    int r;

    *w = (struct worker){.pool = p, .role = role, .state = STARTING};
    r = spawn_role(role_name[role], p->env, &w->pid, &w->pid_fd, &w->sock, err);
    if (r < 0) {
        free(w);
        return r;
    }
    w->next = p->workers;
    p->workers = w;
    r = loop_watch(p->loop, w->sock, EPOLLIN, on_socket, w, err);
    if (r == 0)
        r = loop_watch(p->loop, w->pid_fd, EPOLLIN, on_death, w, err);
    if (r < 0) {
        (void)kill(w->pid, SIGKILL);
        (void)waitpid(w->pid, NULL, 0);
        forget(w);
    }
    return r;
}

static void on_restart(void *arg);

static void restart_later(struct pool *p)
{
    if (p->start_delay_ns > START_DELAY_MAX_NS)
        p->start_delay_ns = START_DELAY_MAX_NS;
    if (p->start_delay_ns >= 1000000000)
        log_error("workers cannot be started; next try in %lld s",
                  (long long)(p->start_delay_ns / 1000000000));
    p->restart = loop_after(p->loop, p->start_delay_ns, on_restart, p);
}

/* Start what is missing: all compute workers, and readers in reserve. */
static void start_missing(struct pool *p)
{
    struct err err = {0};
    unsigned spare = 0;
    int r = 0;

    while (r == 0 && count_role(p, WORKER_COMPUTE) < p->config->workers)
        r = add_worker(p, WORKER_COMPUTE, &err);
    for (const struct worker *w = p->workers; w; w = w->next)
        spare += w->role == WORKER_READER && (w->state == STARTING || w->state == IDLE);
    if (r == 0 && spare < RESERVE_READERS && count_role(p, WORKER_READER) <= p->config->workers)
        r = add_worker(p, WORKER_READER, &err);
    if (r < 0) {
        log_error("%s", err.text);
        p->start_delay_ns = 1000000000;
        restart_later(p);
    }
}

static void on_restart(void *arg)
{
    struct pool *p = arg;

    p->restart = NULL;
    start_missing(p);
}

static void keep_full(struct pool *p)
{
    if (p->restart)
        return;
    if (p->start_delay_ns > 0)
        restart_later(p);
    else
        start_missing(p);
}

int pool_new(struct pool **out, struct loop *loop, const struct config *config,
             struct metrics *metrics, const struct pool_owner *owner, struct err *err)
{
    struct pool *p = xcalloc(1, sizeof *p);
    int r = 0;

    *p = (struct pool){.loop = loop, .config = config, .owner = *owner, .next_task_id = 1};
    p->env = spawn_environment(config->blas_core);
    p->m_exits = metrics_add(metrics, METRIC_COUNTER, "spectrald_worker_exits_total", "role,cause",
                             "Worker processes that ended, by cause.");
    p->m_workers = metrics_add(metrics, METRIC_GAUGE, "spectrald_workers", "role,state",
                               "Worker processes by state.");
    for (unsigned i = 0; r == 0 && i < config->workers; i++)
        r = add_worker(p, WORKER_COMPUTE, err);
    if (r == 0)
        r = add_worker(p, WORKER_READER, err);
    if (r < 0) {
        pool_free(p);
        return r;
    }
    *out = p;
    return 0;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    p->stopping = true;
    if (p->restart)
        loop_cancel(p->loop, p->restart);
    for (struct worker *w = p->workers; w; w = w->next)
        kill_worker(w, CAUSE_SHUTDOWN);
    while (p->workers) {
        (void)waitpid(p->workers->pid, NULL, 0);
        forget(p->workers);
    }
    spawn_environment_free(p->env);
    free(p);
}

struct worker *pool_idle(struct pool *p, enum worker_role role)
{
    for (struct worker *w = p->workers; w; w = w->next)
        if (w->role == role && w->state == IDLE && w->kill_cause == CAUSE_NONE)
            return w;
    return NULL;
}

int pool_start(struct pool *p, struct worker *w, void *task, enum wire_type type,
               const struct buf *body, const int *fds, size_t n_fds, double deadline_s,
               struct err *err)
{
    int r;

    ASSERT(w->state == IDLE && task != NULL);
    w->task_id = p->next_task_id++;
    r = wire_send(w->sock, type, w->task_id, body->data, body->len, fds, n_fds, err);
    if (r == ERR_LIMIT)
        return r;
    if (r < 0) {
        kill_worker(w, CAUSE_PROTOCOL);
        return err_set(err, ERR_CRASHED, "the worker is gone");
    }
    w->task = task;
    w->state = BUSY;
    w->deadline = loop_after(p->loop, (int64_t)(deadline_s * 1e9), on_deadline, w);
    if (w->role == WORKER_READER)
        keep_full(p);
    update_gauges(p);
    return 0;
}

void pool_kill(struct pool *p, const void *task, enum worker_cause cause)
{
    for (struct worker *w = p->workers; w; w = w->next)
        if (w->task == task)
            kill_worker(w, cause);
}

unsigned pool_ready(const struct pool *p)
{
    unsigned n = 0;

    for (const struct worker *w = p->workers; w; w = w->next)
        n += w->role == WORKER_COMPUTE && w->checked_in;
    return n;
}

unsigned pool_size(const struct pool *p)
{
    return p->config->workers;
}

const char *pool_blas_core(const struct pool *p)
{
    return p->core;
}

const char *pool_blas_config(const struct pool *p)
{
    return p->blas_config;
}
