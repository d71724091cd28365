/* service.c: the one context: threads, store, workers, periodic checks. */
#include "daemon/service_main.h"

#include "daemon/artifacts_main.h"
#include "daemon/cache_trim.h"
#include "daemon/job.h"
#include "daemon/jobs.h"
#include "daemon/keys.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/uploads_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define TICK_NS       2000000000ll
#define TIDY_EVERY_MS 5000

/* --- the store thread ---------------------------------------------------------------------- */

/* What the store thread's messages get. The first member is found by job_store(). */
struct store_state {
    struct store *store;
    struct err begin_err;
    int64_t tidied_ms; /* when the write-ahead logs were last moved into the databases */
};

struct store *job_store(void *state)
{
    return ((struct store_state *)state)->store;
}

static void group_begin(void *state)
{
    struct store_state *s = state;

    /* Kept for group_commit(); until then the store refuses every verb. */
    s->begin_err.code = 0;
    (void)store_begin(s->store, &s->begin_err);
}

static int group_commit(void *state, struct err *err)
{
    struct store_state *s = state;
    int64_t now = wall_ms();
    int r;

    if (s->begin_err.code) {
        store_rollback(s->store);
        *err = s->begin_err;
        return err->code;
    }
    r = store_commit(s->store, err);
    if (r == 0 && now - s->tidied_ms > TIDY_EVERY_MS) {
        s->tidied_ms = now;
        (void)store_idle(s->store, NULL); /* next time, if it cannot be done now */
    }
    return r;
}

/* --- small accessors ----------------------------------------------------------------------- */

struct loop *service_loop(struct service *s)
{
    return s->loop;
}

struct metrics *service_metrics(struct service *s)
{
    return s->metrics;
}

const struct config *service_config(struct service *s)
{
    return s->config;
}

bool service_draining(const struct service *s)
{
    return s->draining;
}

void service_health(const struct service *s, struct health *out)
{
    *out = s->health;
    out->draining = s->draining;
}

/* --- reading for the outside --------------------------------------------------------------- */

struct outside_call {
    void (*run)(void *arg, struct store *st);
    void (*done)(void *arg);
    void *arg;
};

static void outside_run(void *arg, void *state)
{
    struct outside_call *c = arg;

    c->run(c->arg, job_store(state));
}

static void outside_done(void *arg, const struct err *err)
{
    struct outside_call *c = arg;

    (void)err; /* reads do not depend on the group's commit */
    c->done(c->arg);
    free(c);
}

void service_store_call(struct service *s, void (*run)(void *arg, struct store *st),
                        void (*done)(void *arg), void *arg)
{
    struct outside_call *c = xmalloc(sizeof *c);

    *c = (struct outside_call){run, done, arg};
    actor_send(s->store_actor, outside_run, outside_done, c);
}

/* --- periodic checks ----------------------------------------------------------------------- */

struct check {
    struct service *svc;
    uint64_t wal, cache, blobs;
    struct err store_err;
    uint64_t free_bytes;
    bool statvfs_ok;
    char dir[512];
};

static void check_run(void *arg, void *state)
{
    struct check *c = arg;
    struct store *st = job_store(state);
    struct statvfs vfs;

    (void)store_probe(st, &c->store_err);
    (void)store_key_expire(st, wall_ms() - STORE_KEY_TTL_MS, NULL); /* else in two seconds */
    (void)store_sizes(st, &c->wal, &c->cache, &c->blobs, NULL);
    c->statvfs_ok = statvfs(c->dir, &vfs) == 0;
    c->free_bytes = c->statvfs_ok ? (uint64_t)vfs.f_bavail * vfs.f_frsize : 0;
}

static void tick(void *arg);

static void check_done(void *arg, const struct err *group_err)
{
    struct check *c = arg;
    struct service *s = c->svc;
    struct health *h = &s->health;
    bool was_ok = h->store_ok;

    h->store_ok = !group_err && c->store_err.code == 0;
    snprintf(h->store_detail, sizeof h->store_detail, "%.120s",
             h->store_ok ? "writable"
             : group_err ? group_err->text
                         : c->store_err.text);
    if (was_ok && !h->store_ok)
        log_error("the store fails: %s", h->store_detail);
    h->disk_ok = c->statvfs_ok && c->free_bytes >= s->config->disk_low_bytes;
    snprintf(h->disk_detail, sizeof h->disk_detail, "%llu MB free, low-water mark %llu MB",
             (unsigned long long)(c->free_bytes >> 20),
             (unsigned long long)(s->config->disk_low_bytes >> 20));
    metric_set(s->m_store_bytes, "wal", (double)c->wal);
    metric_set(s->m_store_bytes, "cache", (double)c->cache);
    metric_set(s->m_store_bytes, "blobs", (double)c->blobs);
    free(c);
    if (h->store_ok)
        notify_watchdog();
    s->tick = loop_after(s->loop, TICK_NS, tick, s);
}

static void update_workers(struct service *s)
{
    unsigned ready = pool_ready(sched_pool(s->sched)), all = pool_size(sched_pool(s->sched));

    s->health.workers_ok = ready > 0;
    snprintf(s->health.workers_detail, sizeof s->health.workers_detail, "%u of %u ready", ready,
             all);
}

static void tick(void *arg)
{
    struct service *s = arg;
    struct check *c = xcalloc(1, sizeof *c);

    s->tick = NULL;
    update_workers(s);
    jobs_renew(s);
    uploads_tick(s->uploads);
    cache_trim_tick(s->trim);
    artifacts_tick(s->artifacts);
    metric_set(s->m_stall, "", loop_stall_max(s->loop, false));
    c->svc = s;
    snprintf(c->dir, sizeof c->dir, "%s", s->config->state_dir);
    actor_send(s->store_actor, check_run, check_done, c);
}

static void on_turn(void *arg, double seconds)
{
    struct service *s = arg;

    metric_observe(s->m_turn, "", seconds);
    update_workers(s);
}

/* --- life cycle ---------------------------------------------------------------------------- */

static void add_metrics(struct service *s)
{
    struct metrics *m = s->metrics;

    s->m_build = metrics_add(m, METRIC_GAUGE, "spectrald_build_info", "version", "Always 1.");
    s->m_finished = metrics_add(m, METRIC_COUNTER, "spectrald_jobs_finished_total",
                                "kind,outcome,reason", "Jobs that ended.");
    s->m_active =
        metrics_add(m, METRIC_GAUGE, "spectrald_jobs_active", "", "Jobs being worked on.");
    s->m_hits = metrics_add(m, METRIC_COUNTER, "spectrald_cache_hits_total", "kind",
                            "Layers answered from the cache: a fit, or a spectrum with a new fit.");
    s->m_misses = metrics_add(m, METRIC_COUNTER, "spectrald_cache_misses_total", "kind",
                              "Eigen-solves done.");
    s->m_layers = metrics_add(m, METRIC_COUNTER, "spectrald_layers_analyzed_total", "dtype",
                              "Layers that a worker computed something for.");
    s->m_nonfinite = metrics_add(m, METRIC_COUNTER, "spectrald_nonfinite_inputs_total", "",
                                 "Layers with NaN or infinite weights.");
    s->m_run_s = metrics_add(m, METRIC_HISTOGRAM, "spectrald_job_run_seconds", "kind",
                             "Time from start to end of a job.");
    s->m_stall = metrics_add(m, METRIC_GAUGE, "spectrald_loop_stall_seconds", "",
                             "Longest time the event loop was busy without a pause, since start.");
    s->m_turn = metrics_add(m, METRIC_HISTOGRAM, "spectrald_loop_turn_seconds", "",
                            "Time between two pauses of the event loop.");
    s->m_store_bytes = metrics_add(m, METRIC_GAUGE, "spectrald_store_bytes", "part",
                                   "Size of the write-ahead logs, the cache and its blob files.");
    metric_set(s->m_build, SPECTRALD_VERSION, 1);
    metric_set(s->m_active, "", 0);
}

int service_new(struct service **out, const struct config *config, struct err *err)
{
    static const struct actor_group groups = {group_begin, group_commit};
    static const struct actor_group plain = {NULL, NULL};
    struct service *s = xcalloc(1, sizeof *s);
    struct store_options opt = {.dir = config->state_dir};
    struct store_state *state;
    int r;

    s->config = config;
    s->metrics = metrics_new();
    add_metrics(s);
    r = loop_new(&s->loop, err);
    if (r == 0)
        r = store_open_sqlite(&opt, &s->store, err);
    if (r == 0)
        r = sched_new(&s->sched, s->loop, config, s->metrics, err);
    if (r == 0)
        r = uploads_new(&s->uploads, s, s->store, err);
    if (r == 0)
        r = artifacts_new(&s->artifacts, s, s->store, err);
    if (r < 0) {
        service_free(s);
        return r;
    }
    if (*store_warning(s->store))
        log_warn("%s", store_warning(s->store));
    state = xcalloc(1, sizeof *state);
    state->store = s->store;
    s->store_state = state;
    s->store_actor = actor_new(s->loop, "store", state, &groups);
    s->file_actor = actor_new(s->loop, "file", NULL, &plain);
    s->output_actor = actor_new(s->loop, "output", NULL, &plain);
    s->n_hash_actors = pool_size(sched_pool(s->sched));
    if (s->n_hash_actors > HASH_ACTORS_MAX)
        s->n_hash_actors = HASH_ACTORS_MAX;
    for (size_t i = 0; i < s->n_hash_actors; i++)
        s->hash_actor[i] = actor_new(s->loop, "hash", NULL, &plain);
    s->health.store_ok = s->health.disk_ok = true;
    s->trim = cache_trim_new(s);
    loop_set_turn_hook(s->loop, on_turn, s);
    jobs_recover(s);
    tick(s);
    *out = s;
    return 0;
}

void service_free(struct service *s)
{
    if (!s)
        return;
    if (s->sched)
        jobs_abandon(s);
    keys_free(s);
    uploads_free(s->uploads);
    actor_stop(s->store_actor);
    actor_stop(s->output_actor);
    for (size_t i = 0; i < s->n_hash_actors; i++)
        actor_stop(s->hash_actor[i]);
    actor_stop(s->file_actor);
    artifacts_free(s->artifacts); /* what those threads had still to do may look at it */
    cache_trim_free(s->trim);
    sched_free(s->sched);
    store_close(s->store);
    loop_free(s->loop);
    metrics_free(s->metrics);
    free(s->store_state);
    free(s);
}

struct drain {
    struct service *svc;
    int64_t until_ns;
    void (*done)(void *arg);
    void *arg;
};

static void drain_step(void *arg)
{
    struct drain *d = arg;

    if (d->svc->n_jobs > 0 && mono_ns() < d->until_ns) {
        (void)loop_after(d->svc->loop, 20000000, drain_step, d);
        return;
    }
    d->done(d->arg);
    free(d);
}

void service_drain(struct service *s, double limit_s, void (*done)(void *arg), void *arg)
{
    struct drain *d = xcalloc(1, sizeof *d);

    *d = (struct drain){s, mono_ns() + (int64_t)(limit_s * 1e9), done, arg};
    s->draining = true;
    notify_state("STOPPING=1");
    log_info("draining: %zu jobs in work", s->n_jobs);
    drain_step(d);
}
