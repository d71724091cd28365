/* sched.c: virtual time per owner and per lane, a heap of tasks per lane.
 *
 * Starting a task advances the virtual time of its lane and owner by its estimated operations;
 * whoever has the smallest goes next. A newcomer starts at the smallest present value, so neither
 * waits for the past of others nor is owed for its own absence.
 */
#include "daemon/sched.h"

#include "common/ident.h"
#include "daemon/flights.h"
#include "daemon/log.h"

#include <stdlib.h>
#include <string.h>

#define RATE_START      8e9 /* operations per second and worker, before anything is measured */
#define RATE_WEIGHT     0.2 /* of a new measurement */
#define RATE_FLOPS_MIN  2e8 /* shorter tasks say little about speed */
#define COST_MIN        1e6 /* what handing out any task costs, in operations */
#define DEADLINE_FACTOR 20.0

struct owner {
    struct owner *next;
    char *name;
    double vtime;
    unsigned lanes;
};

struct lane {
    struct lane *next;
    struct sched *sched;
    struct owner *owner;
    double vtime;
    struct task **heap; /* compute tasks; longest first */
    size_t n, cap;
    struct task *readers, **readers_tail; /* first come, first served */
    struct task *held;                    /* another lane computes the same */
};

struct sched {
    struct loop *loop;
    const struct config *config;
    struct pool *pool;
    struct owner *owners;
    struct lane *lanes;
    struct flights *flights; /* keys of tasks, by lane */
    struct task *running;
    double running_bytes;
    unsigned running_compute;
    bool running_alone;
    double rate;
    uint64_t sequence;
    bool dispatch_posted;
    struct metric *m_tasks, *m_retries, *m_seconds;
};

static const char *const type_name[] = {
    [WIRE_INSPECT] = "inspect", [WIRE_DIGEST] = "digest",       [WIRE_MAGNITUDE] = "magnitude",
    [WIRE_GRAM] = "gram",       [WIRE_SPECTRUM] = "spectrum",   [WIRE_FIT] = "fit",
    [WIRE_FARMS] = "farms",     [WIRE_FARMS_FIT] = "farms_fit", [WIRE_PRUNE] = "prune",
    [WIRE_DECODE] = "decode",   [WIRE_ACTIVITY] = "activity",   [WIRE_MEASURE] = "measure",
    [WIRE_SQUARES] = "squares", [WIRE_SMOOTH] = "smooth",       [WIRE_DISTANCE] = "distance"};
_Static_assert(ARRAY_LEN(type_name) == WIRE_DONE, "every task has a name");

struct task *task_new(enum worker_role role, enum wire_type type, task_done *done, void *arg)
{
    struct task *t = xcalloc(1, sizeof *t);

    *t = (struct task){.role = role, .type = type, .done = done, .arg = arg};
    return t;
}

static void task_free(struct task *t)
{
    if (!t)
        return;
    buf_done(&t->body);
    free(t);
}

/* --- the heap ------------------------------------------------------------------------------ */

static bool before(const struct task *a, const struct task *b)
{
    return a->flops > b->flops || (a->flops == b->flops && a->sequence < b->sequence);
}

static void heap_swap(struct lane *l, size_t i, size_t j)
{
    struct task *t = l->heap[i];

    l->heap[i] = l->heap[j];
    l->heap[j] = t;
}

static void heap_push(struct lane *l, struct task *t)
{
    size_t i = l->n++;

    if (l->n > l->cap) {
        l->cap = l->cap ? 2 * l->cap : 16;
        l->heap = xrealloc(l->heap, l->cap * sizeof *l->heap);
    }
    l->heap[i] = t;
    for (; i > 0 && before(l->heap[i], l->heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap_swap(l, i, (i - 1) / 2);
}

static struct task *heap_pop(struct lane *l)
{
    struct task *top = l->heap[0];
    size_t i = 0;

    l->heap[0] = l->heap[--l->n];
    for (;;) {
        size_t best = i;

        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < l->n; c++)
            if (before(l->heap[c], l->heap[best]))
                best = c;
        if (best == i)
            return top;
        heap_swap(l, i, best);
        i = best;
    }
}

/* --- owners and lanes ---------------------------------------------------------------------- */

static struct owner *owner_get(struct sched *s, const char *name)
{
    struct owner *o;
    double start = 0;
    bool any = false;

    for (o = s->owners; o; o = o->next) {
        if (strcmp(o->name, name) == 0)
            return o;
        if (!any || o->vtime < start)
            start = o->vtime;
        any = true;
    }
    o = xcalloc(1, sizeof *o);
    *o = (struct owner){.next = s->owners, .name = xstrdup(name), .vtime = start};
    s->owners = o;
    return o;
}

static void owner_put(struct sched *s, struct owner *o)
{
    if (--o->lanes > 0)
        return;
    for (struct owner **p = &s->owners; *p; p = &(*p)->next)
        if (*p == o) {
            *p = o->next;
            break;
        }
    free(o->name);
    free(o);
}

struct lane *lane_open(struct sched *s, const char *owner)
{
    struct lane *l = xcalloc(1, sizeof *l);
    bool any = false;

    l->sched = s;
    l->owner = owner_get(s, owner);
    l->owner->lanes++;
    l->readers_tail = &l->readers;
    for (const struct lane *k = s->lanes; k; k = k->next)
        if (k->owner == l->owner && (!any || k->vtime < l->vtime)) {
            l->vtime = k->vtime;
            any = true;
        }
    l->next = s->lanes;
    s->lanes = l;
    return l;
}

static void free_list(struct task **list)
{
    while (*list) {
        struct task *t = *list;

        *list = t->next;
        task_free(t);
    }
}

static void release_held(struct sched *s);

void lane_close(struct lane *l)
{
    struct sched *s;

    if (!l)
        return;
    s = l->sched;
    for (struct task *t = s->running; t; t = t->next)
        if (t->lane == l) {
            t->lane = NULL;
            t->label = NULL;
            t->key = NULL;
            pool_kill(s->pool, t, CAUSE_CANCEL);
        }
    while (l->n > 0)
        task_free(heap_pop(l));
    free_list(&l->readers);
    free_list(&l->held);
    for (struct lane **p = &s->lanes; *p; p = &(*p)->next)
        if (*p == l) {
            *p = l->next;
            break;
        }
    if (flights_leave(s->flights, l))
        release_held(s);
    if (!s->lanes || !s->lanes->next)
        flights_clear_landed(s->flights);
    owner_put(s, l->owner);
    free(l->heap);
    free(l);
}

/* --- choosing and starting ----------------------------------------------------------------- */

/* The lane whose turn it is among those with waiting compute tasks, or NULL. */
static struct lane *next_lane(struct sched *s)
{
    struct lane *best = NULL;

    for (struct lane *l = s->lanes; l; l = l->next) {
        if (l->n == 0)
            continue;
        if (!best || l->owner->vtime < best->owner->vtime ||
            (l->owner == best->owner && l->vtime < best->vtime))
            best = l;
    }
    return best;
}

static bool fits(const struct sched *s, const struct task *t)
{
    if (s->running_compute == 0)
        return true;
    if (t->alone || s->running_alone)
        return false;
    return s->running_bytes + t->bytes <= (double)s->config->memory_limit;
}

static double deadline_s(const struct sched *s, const struct task *t)
{
    return s->config->deadline_base_s + DEADLINE_FACTOR * t->flops / s->rate;
}

static void add_running(struct sched *s, struct task *t)
{
    t->next = s->running;
    s->running = t;
    t->started_ns = mono_ns();
    t->attempts++;
    if (t->role != WORKER_COMPUTE)
        return;
    s->running_compute++;
    s->running_bytes += t->bytes;
    s->running_alone = s->running_alone || t->alone;
}

static void remove_running(struct sched *s, struct task *t)
{
    for (struct task **p = &s->running; *p; p = &(*p)->next)
        if (*p == t) {
            *p = t->next;
            break;
        }
    t->next = NULL;
    if (t->role != WORKER_COMPUTE)
        return;
    s->running_compute--;
    s->running_bytes -= t->bytes;
    if (t->alone)
        s->running_alone = false;
}

static void finish(struct task *t, struct wire_message *m, const struct err *err)
{
    if (t->lane)
        t->done(t->arg, t, m, err);
    task_free(t);
}

static void requeue(struct sched *s, struct task *t);

/* False when the worker turned out to be dead and the task must wait for another. */
static bool start(struct sched *s, struct worker *w, struct task *t)
{
    struct err err = {0};
    int r;

    add_running(s, t);
    r = pool_start(s->pool, w, t, t->type, &t->body, t->fd, t->n_fds, deadline_s(s, t), &err);
    if (r == 0)
        return true;
    remove_running(s, t);
    t->attempts--;
    if (r == ERR_CRASHED) {
        requeue(s, t);
        return false;
    }
    finish(t, NULL, &err);
    return true;
}

/* Whether the lane's first task need not start: another lane computes it, or has. */
static bool done_elsewhere(struct sched *s, struct lane *l)
{
    const struct digest *key = l->heap[0]->key;
    struct task *t;

    if (!key)
        return false;
    if (flights_busy(s->flights, key, l)) {
        t = heap_pop(l);
        t->next = l->held;
        l->held = t;
        return true;
    }
    if (!flights_landed(s->flights, key))
        return false;
    finish(heap_pop(l), NULL, NULL);
    return true;
}

static void dispatch_compute(struct sched *s)
{
    struct worker *w;
    struct lane *l;

    while ((w = pool_idle(s->pool, WORKER_COMPUTE)) && (l = next_lane(s))) {
        struct task *t;
        double cost;

        if (done_elsewhere(s, l))
            continue;
        if (!fits(s, l->heap[0]))
            return;
        t = heap_pop(l);
        cost = t->flops > COST_MIN ? t->flops : COST_MIN;
        l->vtime += cost;
        l->owner->vtime += cost;
        if (t->key)
            flights_begin(s->flights, t->key, l);
        (void)start(s, w, t);
    }
}

static void dispatch_readers(struct sched *s)
{
    struct worker *w;

    for (struct lane *l = s->lanes; l; l = l->next)
        while (l->readers && (w = pool_idle(s->pool, WORKER_READER))) {
            struct task *t = l->readers;

            l->readers = t->next;
            if (!l->readers)
                l->readers_tail = &l->readers;
            t->next = NULL;
            if (!start(s, w, t))
                return;
        }
}

static void dispatch(void *arg)
{
    struct sched *s = arg;

    s->dispatch_posted = false;
    dispatch_readers(s);
    dispatch_compute(s);
}

/* From the loop, so that `done` callbacks never run inside sched_add(). */
static void dispatch_soon(struct sched *s)
{
    if (!s->dispatch_posted)
        loop_post(s->loop, dispatch, s);
    s->dispatch_posted = true;
}

static void requeue(struct sched *s, struct task *t)
{
    if (!t->lane) {
        task_free(t);
        return;
    }
    if (t->role == WORKER_READER) {
        *t->lane->readers_tail = t;
        t->lane->readers_tail = &t->next;
    } else {
        heap_push(t->lane, t);
    }
    dispatch_soon(s);
}

void sched_add(struct lane *l, struct task *t)
{
    t->lane = l;
    t->sequence = l->sched->sequence++;
    t->next = NULL;
    requeue(l->sched, t);
}

static void release_held(struct sched *s)
{
    for (struct lane *l = s->lanes; l; l = l->next)
        while (l->held) {
            struct task *t = l->held;

            l->held = t->next;
            t->next = NULL;
            heap_push(l, t);
        }
    dispatch_soon(s);
}

void sched_key_done(struct lane *l, const struct digest *key, bool stored)
{
    struct sched *s = l->sched;

    /* Alone: whoever comes later finds it in the cache. */
    if (stored && s->lanes->next)
        flights_land(s->flights, key);
    if (flights_end(s->flights, key, l))
        release_held(s);
}

/* --- what the pool reports ----------------------------------------------------------------- */

static void on_idle(void *arg, enum worker_role role)
{
    (void)role;
    dispatch_soon(arg);
}

static void measure(struct sched *s, const struct task *t)
{
    double seconds = (double)(mono_ns() - t->started_ns) * 1e-9;

    metric_observe(s->m_seconds, type_name[t->type], seconds);
    if ((t->type == WIRE_SPECTRUM || t->type == WIRE_GRAM) && t->flops > RATE_FLOPS_MIN)
        s->rate += RATE_WEIGHT * (t->flops / seconds - s->rate);
}

/* A failed attempt: once more, or the end. */
static void failed(struct sched *s, struct task *t, const struct err *err)
{
    bool again = err->code == ERR_CRASHED || err->code == ERR_NOMEM || err->code == ERR_DEADLINE;

    if (again && t->attempts < 2 && t->lane) {
        metric_inc(s->m_retries, err_name(err->code), 1);
        t->alone = t->alone || err->code == ERR_NOMEM;
        requeue(s, t);
        return;
    }
    finish(t, NULL, err);
}

static void read_failure(const struct wire_message *m, struct err *err)
{
    struct reader r;
    uint32_t code;
    size_t len;
    const char *text;

    reader_init(&r, m->body.data, m->body.len);
    code = reader_u32(&r);
    text = reader_str(&r, ERR_TEXT_MAX, &len);
    if (!reader_ok(&r) || code == 0 || code > (uint32_t)-ERR_INTERNAL)
        err_set(err, ERR_CRASHED, "a worker sent a malformed failure");
    else
        err_set(err, -(int)code, "%.*s", (int)len, text);
}

static void on_reply(void *arg, void *task, struct wire_message *m)
{
    struct sched *s = arg;
    struct task *t = task;
    struct err err = {0};

    remove_running(s, t);
    metric_inc(s->m_tasks, type_name[t->type], 1);
    if (m->type == WIRE_FAILED) {
        read_failure(m, &err);
        failed(s, t, &err);
        return;
    }
    measure(s, t);
    finish(t, m, NULL);
}

static void on_died(void *arg, void *task, enum worker_cause cause)
{
    struct sched *s = arg;
    struct task *t = task;
    struct err err = {0};

    remove_running(s, t);
    if (cause == CAUSE_DEADLINE)
        err_set(&err, ERR_DEADLINE, "took longer than its deadline of %.0f s", deadline_s(s, t));
    else if (cause == CAUSE_OOM)
        err_set(&err, ERR_NOMEM, "the worker was killed, most likely for using too much memory");
    else
        err_set(&err, ERR_CRASHED, "the worker process died while it computed this");
    failed(s, t, &err);
    dispatch_soon(s);
}

/* --- life cycle ---------------------------------------------------------------------------- */

int sched_new(struct sched **out, struct loop *loop, const struct config *config,
              struct metrics *metrics, struct err *err)
{
    struct sched *s = xcalloc(1, sizeof *s);
    struct pool_owner owner = {.arg = s, .idle = on_idle, .reply = on_reply, .died = on_died};
    int r;

    s->loop = loop;
    s->config = config;
    s->flights = flights_new();
    s->rate = RATE_START;
    s->m_tasks = metrics_add(metrics, METRIC_COUNTER, "spectrald_tasks_total", "type",
                             "Tasks that workers answered, by type.");
    s->m_retries = metrics_add(metrics, METRIC_COUNTER, "spectrald_task_retries_total", "cause",
                               "Tasks started again after a failure, by cause.");
    s->m_seconds = metrics_add(metrics, METRIC_HISTOGRAM, "spectrald_task_seconds", "type",
                               "Time from start to answer of a task.");
    r = pool_new(&s->pool, loop, config, metrics, &owner, err);
    if (r < 0) {
        flights_free(s->flights);
        free(s);
        return r;
    }
    *out = s;
    return 0;
}

void sched_free(struct sched *s)
{
    if (!s)
        return;
    while (s->lanes)
        lane_close(s->lanes);
    pool_free(s->pool);
    while (s->running) {
        struct task *t = s->running;

        s->running = t->next;
        task_free(t);
    }
    flights_free(s->flights);
    free(s);
}

struct pool *sched_pool(struct sched *s)
{
    return s->pool;
}

const char *lane_label(const struct lane *l)
{
    const struct task *oldest = NULL;

    for (const struct task *t = l->sched->running; t; t = t->next)
        if (t->lane == l && t->label && (!oldest || t->started_ns < oldest->started_ns))
            oldest = t;
    return oldest ? oldest->label : NULL;
}

double sched_eta_s(const struct sched *s, double flops)
{
    return flops / (s->rate * s->config->workers);
}

double sched_budget(const struct sched *s)
{
    return (double)s->config->memory_limit;
}
