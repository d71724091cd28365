/* analyze_prune.c: the life of a prune job, and its steps between the plan and the writing: the
 * statistics, the matrices. */
#include "daemon/analyze_reshape.h"

#include "common/dirs.h"
#include "common/fdio.h"
#include "daemon/artifacts_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- life cycle ----------------------------------------------------------------------------- */

int analyze_prune_start(struct analyze *a, const json_t *params, struct err *err)
{
    struct prune_params p;
    struct prune_work *w;
    int r = prune_params_parse(params, &p, err);

    if (r < 0)
        return r;
    if (p.has_job)
        r = analyze_plan_start(a, json_object_get(p.body, "plan"), err);
    if (r < 0) {
        prune_params_done(&p);
        return r;
    }
    w = xcalloc(1, sizeof *w);
    w->params = p;
    w->reshape = p.reshape.method ? analyze_reshape_new() : NULL;
    artifact_id_of_job(a->job->rec.id, w->artifact_id);
    a->prune = w;
    return 0;
}

struct discard {
    char *path;
    char job[IDENT_MAX];
    struct artifact_writer *writer;
    int *fd;
    size_t n_fds;
    bool remove, unpublish;
};

static void discard_run(void *arg, void *state)
{
    struct discard *d = arg;

    (void)state;
    for (size_t i = 0; i < d->n_fds; i++)
        fd_close(&d->fd[i]);
    artifact_writer_free(d->writer);
    if (d->remove)
        (void)artifact_discard(d->path, d->job, NULL);
    if (d->unpublish)
        (void)dir_remove(d->path, NULL);
}

static void discard_done(void *arg, const struct err *err)
{
    struct discard *d = arg;

    (void)err;
    free(d->path);
    free(d->fd);
    free(d);
}

/* Files are closed by the thread that writes them, after what it has still to write. What a job has
 * written and not published is removed at its end; it stays while the job will be begun again. */
static void drop_output(struct analyze *a)
{
    struct prune_work *w = a->prune;
    const struct job_record *j = &a->job->rec;
    struct discard *d = xcalloc(1, sizeof *d);

    d->fd = xcalloc(a->source ? a->source->n_files + 1 : 1, sizeof *d->fd);
    for (size_t i = 0; w->shard && i < a->source->n_files; i++)
        d->fd[d->n_fds++] = w->shard[i].fd;
    d->path = TAKE(w->path);
    d->writer = TAKE(w->writer);
    d->remove = d->writer && job_state_final(j->state);
    d->unpublish = d->remove && w->ours && j->state != JOB_SUCCEEDED; /* nobody could ask for it */
    memcpy(d->job, j->id, sizeof d->job);
    actor_send(a->job->svc->output_actor, discard_run, discard_done, d);
}

void analyze_prune_free(struct analyze *a)
{
    struct prune_work *w = a->prune;

    if (!w)
        return;
    drop_output(a);
    prune_params_done(&w->params);
    analyze_reshape_free(w->reshape);
    buf_done(&w->plan_text);
    if (w->have_ask)
        plan_ask_done(&w->ask);
    metric_rows_unref(w->rows);
    plan_weights_free(w->weights);
    free(w->plan_id);
    stats_file_done(&w->stats);
    for (size_t i = 0; w->shard && i < a->source->n_files; i++) {
        hasher_free(w->shard[i].hasher);
        analyze_prune_layout_free(&w->shard[i]);
    }
    for (size_t i = 0; i < w->n_rows; i++)
        fd_close(&w->row[i].fd);
    free(w->shard);
    free(w->row);
    free(w->decode);
    for (size_t i = 0; i < w->n_side; i++)
        free(w->side[i].name);
    free(w->side);
    free(w->path);
    buf_done(&w->manifest);
    free(w);
}

/* --- statistics, matrices ------------------------------------------------------------------- */

/* The output is as large as the model: what the quota would remove at once is not written. */
static int check_quota(const struct analyze *a, struct err *err)
{
    uint64_t quota = a->job->svc->config->artifact_quota, nbytes = 0;

    for (size_t i = 0; i < a->source->n_files; i++)
        nbytes += a->prune->decode ? a->prune->shard[i].nbytes : a->source->file[i].id.size;
    if (quota == 0 || nbytes <= quota)
        return 0;
    return err_set_at(err, ERR_QUOTA, "/params/output",
                      "the output has %llu bytes, the server keeps %llu of artifacts "
                      "(--artifact-quota): name a path under its output root",
                      (unsigned long long)nbytes, (unsigned long long)quota);
}

static int set_path(struct analyze *a, struct err *err)
{
    struct prune_work *w = a->prune;
    const struct config *c = a->job->svc->config;
    int r = prune_output_path(&w->params, c, &w->path, err);

    if (r < 0 || w->path)
        return r;
    w->ours = true;
    r = check_quota(a, err);
    return r < 0 ? r : artifact_own_path(c->state_dir, w->artifact_id, &w->path, err);
}

static void rows_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;
    int r;

    (void)state;
    a->err.code = 0;
    r = w->reshape            ? analyze_reshape_find(a, &a->err)
        : w->params.decode    ? analyze_decode_rows(a, &a->err)
        : w->params.smooth.on ? analyze_smooth_rows(a, &a->err)
                              : analyze_prune_rows(a, &a->err);
    if (r == 0)
        r = analyze_prune_config_check(a, &a->err);
    if (r == 0 && set_path(a, &a->err) == 0 &&
        artifact_writer_open(w->path, a->job->rec.id, &w->writer, &a->err) == ERR_CONFLICT)
        (void)err_set_at(&a->err, ERR_CONFLICT, "/params/output/path",
                         "there is something of that name already");
}

static void rows_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (!analyze_goes_on(a, NULL))
        return;
    if (a->prune->reshape)
        analyze_reshape_cut(a);
    else
        analyze_prune_write(a);
}

static void make_rows(struct analyze *a)
{
    job_call_file(a->job, rows_run, rows_done, a);
}

void analyze_prune_stats(struct analyze *a)
{
    struct prune_work *w = a->prune;

    if (w->params.has_stats)
        analyze_stats_load(a, &w->params.stats, "/params/stats", &w->stats, make_rows);
    else
        make_rows(a);
}

/* --- the end -------------------------------------------------------------------------------- */

const char *analyze_prune_id(const struct analyze *a)
{
    return a->prune->artifact_id;
}

int analyze_prune_put(struct analyze *a, struct store *st)
{
    const struct prune_work *w = a->prune;
    int64_t now = wall_ms();
    struct artifact_record rec = {.owner = a->final.owner,
                                  .name = a->source->name,
                                  .path = w->path,
                                  .ours = w->ours,
                                  .manifest = (char *)w->manifest.data,
                                  .nbytes = w->nbytes,
                                  .n_files = w->n_files,
                                  .created_ms = now,
                                  .expires_ms =
                                      w->ours ? artifacts_expiry(a->job->svc->config, now) : 0};

    memcpy(rec.id, w->artifact_id, sizeof rec.id);
    memcpy(rec.job, a->final.id, sizeof rec.job);
    return store_artifact_put(st, &rec, &a->err);
}

void analyze_prune_made(const struct analyze *a)
{
    artifacts_made(a->job->svc->artifacts, a->prune->ours, a->prune->nbytes);
}
