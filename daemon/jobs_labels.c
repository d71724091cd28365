/* jobs_labels.c: labels of jobs and analyses change at any time, also while a job runs.
 *
 * The store merges, so that two changes at once cannot lose one another. An active job's record
 * here follows when the store has it; its analysis takes the labels that the store then has.
 */
#include "daemon/jobs.h"

#include "daemon/labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int stale(struct err *err)
{
    return err_set(err, ERR_STALE, "it has changed since the ETag in If-Match was read");
}

/* --- jobs ---------------------------------------------------------------------------------- */

struct job_labelling {
    struct service *svc;
    char id[IDENT_MAX];
    json_t *patch;
    char *if_match;
    job_match *match;
    uint64_t version; /* fits, by what is known here; 0 = ask the store's record */
    struct job_record rec;
    struct err err;
    job_cb *cb;
    void *arg;
};

static int label_stored_job(struct job_labelling *l, struct store *st)
{
    struct job_record before = {0};
    AUTO(freep) char *labels = NULL;
    struct job_view view;
    int r = store_job_get(st, l->id, &before, &l->err);

    if (r < 0)
        return r;
    view = jobs_view_record(&before);
    if (before.version != l->version && !l->match(l->if_match, &view))
        r = stale(&l->err);
    if (r == 0)
        r = labels_merge(before.labels, l->patch, &labels, &l->err);
    if (r == 0)
        r = store_job_label(st, l->id, labels, &l->rec, &l->err);
    job_record_done(&before);
    return r;
}

static void label_job_run(void *arg, void *state)
{
    struct job_labelling *l = arg;

    if (l->err.code == 0)
        (void)label_stored_job(l, job_store(state));
}

static void follow(struct job *j, const struct job_record *stored)
{
    free(j->rec.labels);
    j->rec.labels = xstrdup(stored->labels);
    j->rec.version = stored->version;
    job_changed(j);
}

static void label_job_done(void *arg, const struct err *group_err)
{
    struct job_labelling *l = arg;
    const struct err *err = group_err ? group_err : l->err.code ? &l->err : NULL;
    struct job *j = jobs_find(l->svc, l->id);
    struct job_view v;

    if (!err && j)
        follow(j, &l->rec);
    v = j ? jobs_view(j) : jobs_view_record(&l->rec);
    l->cb(l->arg, err, err ? NULL : &v);
    json_decref(l->patch);
    job_record_done(&l->rec);
    free(l->if_match);
    free(l);
}

void service_job_label(struct service *s, const char *id, const json_t *patch, const char *if_match,
                       job_match *match, job_cb *cb, void *arg)
{
    struct job_labelling *l = xcalloc(1, sizeof *l);
    const struct job *j = jobs_find(s, id);

    *l = (struct job_labelling){.svc = s,
                                .patch = json_incref((json_t *)(uintptr_t)patch),
                                .if_match = xstrdup(if_match),
                                .match = match,
                                .cb = cb,
                                .arg = arg};
    snprintf(l->id, sizeof l->id, "%s", id);
    if (j) { /* what clients saw of it is known here only */
        struct job_view view = jobs_view(j);

        if (match(if_match, &view))
            l->version = j->rec.version;
        else
            (void)stale(&l->err);
    }
    actor_send(s->store_actor, label_job_run, label_job_done, l);
}

/* --- analyses ------------------------------------------------------------------------------ */

struct analysis_labelling {
    char id[IDENT_MAX];
    json_t *patch;
    char *if_match;
    analysis_match *match;
    struct analysis_record rec;
    struct err err;
    analysis_cb *cb;
    void *arg;
};

static void label_analysis_run(void *arg, void *state)
{
    struct analysis_labelling *l = arg;
    struct store *st = job_store(state);
    struct analysis_record before = {0};
    AUTO(freep) char *labels = NULL;
    int r = store_analysis_get(st, l->id, &before, &l->err);

    if (r < 0)
        return;
    if (!l->match(l->if_match, &before))
        r = stale(&l->err);
    if (r == 0)
        r = labels_merge(before.labels, l->patch, &labels, &l->err);
    if (r == 0)
        (void)store_analysis_label(st, l->id, labels, &l->rec, &l->err);
    analysis_record_done(&before);
}

static void label_analysis_done(void *arg, const struct err *group_err)
{
    struct analysis_labelling *l = arg;
    const struct err *err = group_err ? group_err : l->err.code ? &l->err : NULL;

    l->cb(l->arg, err, err ? NULL : &l->rec);
    json_decref(l->patch);
    analysis_record_done(&l->rec);
    free(l->if_match);
    free(l);
}

void service_analysis_label(struct service *s, const char *id, const json_t *patch,
                            const char *if_match, analysis_match *match, analysis_cb *cb, void *arg)
{
    struct analysis_labelling *l = xcalloc(1, sizeof *l);

    *l = (struct analysis_labelling){.patch = json_incref((json_t *)(uintptr_t)patch),
                                     .if_match = xstrdup(if_match),
                                     .match = match,
                                     .cb = cb,
                                     .arg = arg};
    snprintf(l->id, sizeof l->id, "%s", id);
    actor_send(s->store_actor, label_analysis_run, label_analysis_done, l);
}
