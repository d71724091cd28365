/* job.h: an active job, as the parts of the daemon see it. Private to daemon/; loop thread only. */
#ifndef SPECTRALD_JOB_H
#define SPECTRALD_JOB_H

#include "daemon/actor.h"
#include "daemon/sched.h"
#include "daemon/service.h"
#include "daemon/source.h"

#define HASH_ACTORS_MAX 4

struct analyze;
struct artifacts;
struct cache_trim;
struct uploads;

struct job_watch {
    struct job_watch *next;
    char job[IDENT_MAX];
    job_cb *cb;
    void *arg;
};

struct job {
    struct job *next;
    struct service *svc;
    struct job_record rec;
    struct lane *lane;
    struct analyze *work;
    struct job_watch *watches;
    uint64_t change; /* raised by every visible change */
    double flops_total, flops_done;
    const char *stage; /* literal; shown while no layer is in work */
    unsigned refs;     /* the registry, and every message under way */
    bool ended;        /* finish under way or done: late results are dropped */
    job_cb *submit_cb; /* NULL once the submitter was told */
    void *submit_arg;
};

struct service {
    struct loop *loop;
    const struct config *config;
    struct metrics *metrics;
    struct store *store; /* touched by the store thread only */
    struct actor *store_actor, *file_actor;
    struct actor *output_actor;                /* writes artifacts */
    struct actor *hash_actor[HASH_ACTORS_MAX]; /* hash them meanwhile */
    size_t n_hash_actors;                      /* as many as workers, up to the most */
    struct sched *sched;
    struct uploads *uploads;
    struct cache_trim *trim;
    struct artifacts *artifacts;
    struct job *jobs; /* active ones */
    size_t n_jobs;
    struct key *keys;      /* idempotency keys whose request is under way */
    uint64_t n_unfinished; /* queued ones in the store included */
    bool draining, claiming;
    struct health health;
    struct loop_timer *tick;
    struct metric *m_finished, *m_hits, *m_misses, *m_layers, *m_run_s, *m_stall, *m_active,
        *m_nonfinite, *m_turn, *m_build, *m_store_bytes;
    void *store_state; /* of the store thread */
    int64_t renewed_ms;
};

struct job *job_ref(struct job *j);
void job_unref(struct job *j);

/* Something visible changed: watchers are told. */
void job_changed(struct job *j);

/* The job is durable and known to need work, or final: tell its submitter, once. */
void job_decided(struct job *j);

/* The job is over and stored: its record becomes `final`, which is emptied, but for the labels,
 * which may have changed since that was made. */
void job_finalize(struct job *j, struct job_record *final);

/* The job is over and stored; `j->rec` is final. Tells everybody and leaves the registry. */
void job_ended(struct job *j);

/* End the job without a result. `reason` is a literal of the closed list, or NULL for cancelled.
 * The state, reason and error are stored first. */
void job_fail(struct job *j, const char *reason, const struct err *err);
void job_fail_err(struct job *j, const struct err *err); /* reason chosen from err->code */

/* Begin work on a job of kind analyze or plan. `src` is taken; NULL = open it from the job's
 * source. */
void analyze_start(struct job *j, struct source *src);
/* Drop everything; messages under way end harmlessly. Called once, before the job is freed. */
void analyze_free(struct analyze *a);

/* The store behind the store thread's `state`. */
struct store *job_store(void *state);

/* Run `run` on the store or file thread, with the job kept alive until `done`. */
void job_call_store(struct job *j, void (*run)(void *arg, void *state), actor_done *done,
                    void *arg);
void job_call_file(struct job *j, void (*run)(void *arg, void *state), actor_done *done, void *arg);

#endif
