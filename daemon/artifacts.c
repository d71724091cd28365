/* artifacts.c: removing artifacts, and their expiry.
 *
 * The record goes first, then the files: what a crash leaves in between has no record and is
 * removed at the next start.
 */
#include "daemon/artifacts_main.h"

#include "common/ident.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "storage/artifact_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIDY_NS    10000000000ll
#define TIDY_BATCH 64

struct pin {
    struct pin *next;
    char id[IDENT_MAX];
};

struct removal;

struct artifacts {
    struct service *svc;
    struct actor *remover; /* gigabytes take seconds: not on the file thread */
    uint64_t stored;       /* bytes of ours */
    int64_t tidied_ns;
    bool tidying;
    struct pin *pins;        /* several of one id, perhaps */
    struct removal *waiting; /* their files are pinned */
    struct metric *m_bytes, *m_ended;
};

int64_t artifacts_expiry(const struct config *c, int64_t created_ms)
{
    return c->artifact_ttl_s ? created_ms + (int64_t)c->artifact_ttl_s * 1000 : 0;
}

void artifact_id_of_job(const char *job, char id[IDENT_MAX])
{
    (void)snprintf(id, IDENT_MAX, "art_%s", job + strlen("job_"));
}

static void set_stored(struct artifacts *a, uint64_t bytes)
{
    a->stored = bytes;
    metric_set(a->m_bytes, "", (double)bytes);
}

void artifacts_made(struct artifacts *a, bool ours, uint64_t nbytes)
{
    metric_inc(a->m_ended, "made", 1);
    if (ours)
        set_stored(a, a->stored + nbytes);
}

/* --- removing ------------------------------------------------------------------------------- */

struct removal {
    struct removal *next;
    struct artifacts *all;
    char id[IDENT_MAX];
    const char *outcome; /* literal */
    struct artifact_record rec;
    struct err err;
    artifact_cb *cb;
    void *arg;
};

static void removal_free(struct removal *m)
{
    artifact_record_done(&m->rec);
    free(m);
}

static void drop_run(void *arg, void *state)
{
    struct removal *m = arg;

    (void)state;
    if (artifact_own_remove(m->all->svc->config->state_dir, m->id, &m->err) < 0)
        log_warn("artifact %s: %s", m->id, m->err.text);
}

static void drop_done(void *arg, const struct err *err)
{
    (void)err;
    removal_free(arg);
}

static bool is_pinned(const struct artifacts *a, const char *id)
{
    for (const struct pin *p = a->pins; p; p = p->next)
        if (strcmp(p->id, id) == 0)
            return true;
    return false;
}

static void drop_files(struct artifacts *a, struct removal *m)
{
    if (!is_pinned(a, m->id)) {
        actor_send(a->remover, drop_run, drop_done, m);
        return;
    }
    m->next = a->waiting;
    a->waiting = m;
}

void artifacts_pin(struct artifacts *a, const char *id)
{
    struct pin *p = xcalloc(1, sizeof *p);

    (void)snprintf(p->id, sizeof p->id, "%s", id);
    p->next = a->pins;
    a->pins = p;
}

void artifacts_unpin(struct artifacts *a, const char *id)
{
    struct removal *waiting = TAKE(a->waiting);

    for (struct pin **at = &a->pins; *at; at = &(*at)->next)
        if (strcmp((*at)->id, id) == 0) {
            struct pin *p = *at;

            *at = p->next;
            free(p);
            break;
        }
    while (waiting) {
        struct removal *m = waiting;

        waiting = m->next;
        drop_files(a, m);
    }
}

static void removal_run(void *arg, void *state)
{
    struct removal *m = arg;

    (void)store_artifact_remove(job_store(state), m->id, &m->rec, &m->err);
}

static void removal_done(void *arg, const struct err *group_err)
{
    struct removal *m = arg;
    struct artifacts *a = m->all;
    const struct err *err = group_err ? group_err : m->err.code ? &m->err : NULL;

    if (m->cb)
        m->cb(m->arg, err);
    if (!err)
        metric_inc(a->m_ended, m->outcome, 1);
    if (err || !m->rec.ours) {
        removal_free(m);
        return;
    }
    set_stored(a, a->stored - (m->rec.nbytes < a->stored ? m->rec.nbytes : a->stored));
    drop_files(a, m);
}

static void remove_one(struct artifacts *a, const char *id, const char *outcome, artifact_cb *cb,
                       void *arg)
{
    struct removal *m = xcalloc(1, sizeof *m);

    *m = (struct removal){.all = a, .outcome = outcome, .cb = cb, .arg = arg};
    (void)snprintf(m->id, sizeof m->id, "%s", id);
    actor_send(a->svc->store_actor, removal_run, removal_done, m);
}

void service_artifact_remove(struct service *s, const char *id, artifact_cb *cb, void *arg)
{
    remove_one(s->artifacts, id, "deleted", cb, arg);
}

/* --- expiry --------------------------------------------------------------------------------- */

struct tidy {
    struct artifacts *all;
    int64_t now_ms;
    struct artifact_list list;
    struct err err;
};

static void tidy_run(void *arg, void *state)
{
    struct tidy *t = arg;

    (void)store_artifact_expired(job_store(state), t->now_ms, t->all->svc->config->artifact_quota,
                                 TIDY_BATCH, &t->list, &t->err);
}

static void tidy_done(void *arg, const struct err *group_err)
{
    struct tidy *t = arg;

    (void)group_err;
    t->all->tidying = false;
    for (size_t i = 0; i < t->list.count; i++) {
        const struct artifact_record *rec = &t->list.artifact[i];
        bool old = rec->expires_ms > 0 && rec->expires_ms < t->now_ms;

        log_info("artifact %s %s", rec->id, old ? "expired" : "makes room: --artifact-quota");
        remove_one(t->all, rec->id, old ? "expired" : "evicted", NULL, NULL);
    }
    artifact_list_done(&t->list);
    free(t);
}

void artifacts_tick(struct artifacts *a)
{
    struct tidy *t;

    if (a->tidying || mono_ns() - a->tidied_ns < TIDY_NS)
        return;
    a->tidying = true;
    a->tidied_ns = mono_ns();
    t = xcalloc(1, sizeof *t);
    t->all = a;
    t->now_ms = wall_ms();
    actor_send(a->svc->store_actor, tidy_run, tidy_done, t);
}

/* --- life cycle ----------------------------------------------------------------------------- */

/* When the store cannot tell, the files stay. */
static bool is_unfinished(void *arg, const char *id)
{
    struct job_record rec = {0};
    int r = store_job_get(arg, id, &rec, NULL);
    bool unfinished = r == 0 ? !job_state_final(rec.state) : r != ERR_NOT_FOUND;

    job_record_done(&rec);
    return unfinished;
}

/* It has a record, or its job died between giving it its name and storing that, and goes on. */
static bool is_known(void *arg, const char *id)
{
    struct artifact_record rec = {0};
    int r = store_artifact_get(arg, id, &rec, NULL);
    AUTO(freep) char *job = xasprintf("job_%s", id + strlen("art_"));

    artifact_record_done(&rec);
    return r != ERR_NOT_FOUND || is_unfinished(arg, job);
}

static void add_metrics(struct artifacts *a)
{
    struct metrics *m = a->svc->metrics;

    a->m_bytes = metrics_add(m, METRIC_GAUGE, "spectrald_artifact_bytes", "",
                             "Bytes of artifacts in the state directory.");
    a->m_ended = metrics_add(m, METRIC_COUNTER, "spectrald_artifacts_total", "outcome",
                             "Artifacts that were made, deleted by a client, expired, or evicted "
                             "to make room.");
}

int artifacts_new(struct artifacts **out, struct service *s, struct store *st, struct err *err)
{
    static const struct actor_group plain = {NULL, NULL};
    const struct artifact_keep keep = {is_known, is_unfinished, st};
    struct artifacts *a;
    uint64_t stored = 0;
    size_t swept;
    int r = store_artifact_bytes(st, &stored, err);

    if (r < 0)
        return r;
    a = xcalloc(1, sizeof *a);
    a->svc = s;
    add_metrics(a);
    set_stored(a, stored);
    swept = artifact_own_sweep(s->config->state_dir, &keep);
    if (swept)
        log_info("%zu directories of artifacts that nobody has any more are removed", swept);
    a->remover = actor_new(s->loop, "artifact", NULL, &plain);
    *out = a;
    return 0;
}

void artifacts_free(struct artifacts *a)
{
    if (!a)
        return;
    actor_stop(a->remover);
    while (a->waiting) { /* the next start sweeps their files */
        struct removal *m = a->waiting;

        a->waiting = m->next;
        removal_free(m);
    }
    while (a->pins) {
        struct pin *p = a->pins;

        a->pins = p->next;
        free(p);
    }
    free(a);
}
