/* analyze_prune.c: the steps of a prune job after the model is known: the plan, the statistics, the
 * matrices; then analyze_prune_write.c. */
#include "daemon/analyze_prune.h"

#include "common/fdio.h"
#include "daemon/artifacts_main.h"
#include "daemon/plan_memo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* --- life cycle ----------------------------------------------------------------------------- */

int analyze_prune_start(struct analyze *a, const json_t *params, struct err *err)
{
    struct prune_work *w = xcalloc(1, sizeof *w);
    int r = prune_params_parse(params, &w->params, err);

    if (r == 0 && !*w->params.plan)
        r = analyze_plan_start(a, json_object_get(w->params.body, "plan"), err);
    if (r < 0) {
        free(w);
        return r;
    }
    w->stats_fd = -1;
    w->calibration.tt = (struct tensor_table)TENSOR_TABLE_INIT;
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
    bool remove;
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
    buf_done(&w->plan_text);
    if (w->have_ask)
        plan_ask_done(&w->ask);
    metric_rows_unref(w->rows);
    plan_weights_free(w->weights);
    free(w->plan_id);
    source_free(w->stats);
    calibration_done(&w->calibration);
    buf_done(&w->stats_bytes);
    fd_close(&w->stats_fd);
    for (size_t i = 0; w->shard && i < a->source->n_files; i++)
        free(w->shard[i].note);
    free(w->shard);
    free(w->row);
    for (size_t i = 0; i < w->n_side; i++)
        free(w->side[i].name);
    free(w->side);
    free(w->path);
    buf_done(&w->manifest);
    free(w);
}

/* --- matrices ------------------------------------------------------------------------------- */

static int set_path(struct analyze *a, struct err *err)
{
    struct prune_work *w = a->prune;
    const struct config *c = a->job->svc->config;
    int r = prune_output_path(&w->params, c, &w->path, err);

    if (r < 0 || w->path)
        return r;
    w->ours = true;
    return artifact_own_path(c->state_dir, w->artifact_id, &w->path, err);
}

static void rows_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;

    (void)state;
    a->err.code = 0;
    if (w->have_stats && calibration_parse(w->stats_bytes.data, w->stats_bytes.len,
                                           w->stats->file[0].id.size, &w->calibration, &a->err) < 0)
        return;
    if (analyze_prune_rows(a, &a->err) == 0 && set_path(a, &a->err) == 0 &&
        artifact_writer_open(w->path, a->job->rec.id, &w->writer, &a->err) == ERR_CONFLICT)
        (void)err_set_at(&a->err, ERR_CONFLICT, "/params/output/path",
                         "there is something of that name already");
}

static void rows_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (a->job->ended)
        return;
    if (a->err.code)
        job_fail_err(a->job, &a->err);
    else
        analyze_prune_write(a);
}

static void make_rows(struct analyze *a)
{
    job_call_file(a->job, rows_run, rows_done, a);
}

/* --- statistics ----------------------------------------------------------------------------- */

static void absorb_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;
    size_t size = w->stats_len ? w->stats_len : 1;
    const void *map = NULL;

    (void)state;
    a->err.code = 0;
    if (memfd_map_sealed(w->stats_fd, size, &map, &a->err) == 0) {
        buf_put(&w->stats_bytes, map, w->stats_len);
        (void)munmap((void *)(uintptr_t)map, size);
    }
    fd_close(&w->stats_fd);
}

static void absorb_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (a->job->ended)
        return;
    if (a->err.code) {
        job_fail_err(a->job, &a->err);
        return;
    }
    a->prune->have_stats = true;
    make_rows(a);
}

static void stats_fail(struct analyze *a, const struct err *why)
{
    struct err err = *why;

    snprintf(err.pointer, sizeof err.pointer, "/params/stats");
    job_fail_err(a->job, &err);
}

static void inspected(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;
    struct reader r;
    struct err bad;

    (void)t;
    if (!m) {
        stats_fail(a, err);
        return;
    }
    reader_init(&r, m->body.data, m->body.len);
    w->stats_len = reader_u64(&r);
    if (!reader_ok(&r) || m->n_fds != 1) {
        (void)err_set(&bad, ERR_CRASHED, "a reader sent a malformed answer");
        stats_fail(a, &bad);
        return;
    }
    w->stats_fd = m->fd[0];
    m->fd[0] = -1;
    job_call_file(a->job, absorb_run, absorb_done, a);
}

static void stats_opened(void *arg, const struct err *err, struct source *src)
{
    struct analyze *a = arg;
    struct job *j = a->job;
    struct err bad;

    if (j->ended) {
        source_free(src);
    } else if (err) {
        stats_fail(a, err);
    } else if (src->n_files != 1) {
        (void)err_set(&bad, ERR_INVALID, "the statistics must be one safetensors file");
        source_free(src);
        stats_fail(a, &bad);
    } else {
        struct task *t = task_new(WORKER_READER, WIRE_INSPECT, inspected, a);

        a->prune->stats = src;
        buf_put_u8(&t->body, INSPECT_CALIBRATION);
        buf_put_u64(&t->body, src->file[0].id.size);
        t->fd[0] = src->file[0].fd;
        t->n_fds = 1;
        sched_add(j->lane, t);
    }
    job_unref(j);
}

static void load_stats(struct analyze *a)
{
    if (!a->prune->params.has_stats) {
        make_rows(a);
        return;
    }
    (void)job_ref(a->job);
    locate_source(a->job->svc, &a->prune->params.stats, stats_opened, a);
}

/* --- the plan ------------------------------------------------------------------------------- */

static void plan_fail(struct analyze *a)
{
    struct err err = a->err;

    snprintf(err.pointer, sizeof err.pointer, "/params/plan");
    job_fail_err(a->job, &err);
}

static void make_plan(struct analyze *a);

static void make_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;
    struct plan p;

    (void)state;
    a->err.code = 0;
    if (w->ask.tensors && !w->rows &&
        metric_rows_sent(w->ask.tensors, plan_ask_column(&w->ask), "/metrics", &w->rows, &a->err) <
            0)
        return;
    if (!w->weights && plan_ask_weighs(&w->ask))
        w->weights = plan_weights_new(w->rows);
    w->more = plan_make_weighed(&w->ask, w->rows, w->weights, &p, &a->err);
    if (w->more != 0)
        return;
    plan_write(&p, &w->plan_text);
    plan_done(&p);
}

static void weights_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;

    a->err.code = 0;
    w->more = plan_weights_load_some(w->weights, job_store(state));
    if (w->more == 0 && w->weights->n_missing > 0)
        (void)err_set(&a->err, ERR_NOT_FOUND,
                      "what the plan knows of the weights is not cached any more: give the plan as "
                      "an object");
}

static void weights_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (a->job->ended)
        return;
    if (a->err.code)
        plan_fail(a);
    else if (a->prune->more > 0)
        job_call_store(a->job, weights_run, weights_done, a);
    else
        make_plan(a);
}

static void made(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (a->job->ended)
        return;
    if (a->err.code)
        plan_fail(a);
    else if (a->prune->more > 0)
        job_call_store(a->job, weights_run, weights_done, a);
    else
        load_stats(a);
}

static void make_plan(struct analyze *a)
{
    job_call_file(a->job, make_run, made, a);
}

static void read_some_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;

    a->err.code = 0;
    w->more = metric_rows_read_some(job_store(state), w->ask.analysis, plan_ask_column(&w->ask),
                                    &w->rows, &a->err);
}

static void read_some_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (a->job->ended)
        return;
    if (a->err.code)
        plan_fail(a);
    else if (a->prune->more > 0)
        job_call_store(a->job, read_some_run, read_some_done, a);
    else
        make_plan(a);
}

static int parse_ask(struct prune_work *w, const struct buf *text, struct err *err)
{
    json_auto_t *body = json_loadb((const char *)text->data, text->len, 0, NULL);
    int r = body ? plan_ask_parse(body, &w->ask, err)
                 : err_set(err, ERR_INTERNAL, "a remembered plan cannot be read");

    w->have_ask = r == 0;
    return r;
}

static void find_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;
    AUTO(buf_done) struct buf text = BUF_INIT;
    enum plan_memo what;

    a->err.code = 0;
    if (plan_memo_find(job_store(state), w->params.plan, &what, &text, &a->err) < 0)
        return;
    if (what == PLAN_MEMO_TEXT)
        buf_put(&w->plan_text, text.data, text.len);
    else
        (void)parse_ask(w, &text, &a->err);
}

static void find_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;
    const struct prune_work *w = a->prune;

    (void)group_err;
    if (a->job->ended)
        return;
    if (a->err.code)
        plan_fail(a);
    else if (!w->have_ask)
        load_stats(a);
    else if (w->ask.tensors)
        make_plan(a);
    else
        job_call_store(a->job, read_some_run, read_some_done, a);
}

void analyze_prune(struct analyze *a)
{
    struct prune_work *w = a->prune;

    analyze_needs_work(a);
    if (a->plan) {
        const struct buf *text = analyze_plan_text(a);

        buf_put(&w->plan_text, text->data, text->len);
        load_stats(a);
    } else {
        job_call_store(a->job, find_run, find_done, a);
    }
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
