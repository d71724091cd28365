/* analyze_reshape.c: see analyze_reshape.h. */
#include "daemon/analyze_reshape.h"

#include "common/fdio.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK (1u << 18)

struct reshape *analyze_reshape_new(void)
{
    struct reshape *r = xcalloc(1, sizeof *r);

    r->config = (struct buf)BUF_INIT;
    return r;
}

static void shard_done(struct reshape_shard *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->tensor[i].name);
    free(s->tensor);
    buf_done(&s->header);
}

void analyze_reshape_free(struct reshape *r)
{
    if (!r)
        return;
    for (size_t i = 0; r->shard && i < r->n_shards; i++)
        shard_done(&r->shard[i]);
    free(r->shard);
    for (size_t i = 0; i < r->n_tasks; i++)
        free(r->task[i].sum);
    free(r->task);
    for (size_t i = 0; i < r->n_parts; i++) {
        free(r->part[i].name);
        free(r->part[i].block);
        free(r->part[i].keep);
    }
    free(r->part);
    free(r->doubled);
    free(r->ff);
    moe_done(&r->moe);
    json_decref(r->config_json);
    buf_done(&r->config);
    free(r);
}

/* --- what goes ------------------------------------------------------------------------------ */

void analyze_reshape_parts(struct reshape *r, size_t n)
{
    r->part = xcalloc(n + 1, sizeof *r->part);
    r->n_parts = n;
    for (size_t i = 0; i < n; i++)
        r->part[i].keep = xcalloc((size_t)r->of + 1, 1);
}

void analyze_reshape_share(struct reshape *r, size_t i, const double *score)
{
    double all = 0, kept = 0;

    for (size_t j = 0; j < r->of; j++) {
        all += score[j];
        kept += r->part[i].keep[j] ? score[j] : 0;
    }
    r->part[i].kept_share = all > 0 ? kept / all : NAN;
}

int analyze_reshape_find(struct analyze *a, struct err *err)
{
    int r = analyze_reshape_config_read(a, err);

    if (r < 0)
        return r;
    return a->prune->params.reshape.method == RESHAPE_EXPERT_DROP ? analyze_reshape_experts(a, err)
                                                                  : analyze_reshape_width(a, err);
}

static int read_numbers(int fd, const struct tensor *t, double *out, struct err *err)
{
    AUTO(freep) uint8_t *chunk = xmalloc(CHUNK);
    size_t size = dtype_bits(t->dtype) / 8, n = (size_t)tensor_elements(t), most = CHUNK / size;

    for (size_t at = 0; at < n; at += most) {
        size_t count = n - at < most ? n - at : most;
        int r = fd_pread_all(fd, chunk, count * size, t->offset + at * size, err);

        if (r < 0)
            return r;
        if (dtype_decode_f64(t->dtype, chunk, count, 1, out + at))
            return err_set_at(err, ERR_INVALID, "/params/stats",
                              "\"%.100s\" has NaN or infinite elements", t->name);
    }
    return 0;
}

int analyze_reshape_vector(const struct analyze *a, const char *module, const char *kind, size_t n,
                           bool optional, double **out, struct err *err)
{
    const struct stats_file *f = &a->prune->stats;
    const struct tensor *t = f->loaded ? calibration_find(&f->calibration, module, kind) : NULL;
    AUTO(freep) double *v = NULL;
    int r;

    if (!t && optional)
        return ERR_NOT_FOUND;
    if (!t)
        return err_set_at(err, ERR_INVALID, "/params/stats",
                          "the statistics have no \"%s\" for \"%.100s\"", kind, module);
    if (!dtype_decodable(t->dtype) || tensor_elements(t) != n)
        return err_set_at(err, ERR_INVALID, "/params/stats",
                          "\"%.100s\" has %llu elements of dtype %s, expected %zu numbers", t->name,
                          (unsigned long long)tensor_elements(t), dtype_name(t->dtype), n);
    v = malloc((n + 1) * sizeof *v);
    if (!v)
        return err_set(err, ERR_NOMEM, "no memory for %zu numbers", n);
    r = read_numbers(f->source->file[0].fd, t, v, err);
    if (r < 0)
        return r;
    *out = TAKE(v);
    return 0;
}

/* --- scores --------------------------------------------------------------------------------- */

static void files_run(void *arg, void *state)
{
    struct analyze *a = arg;

    (void)state;
    a->err.code = 0;
    if (a->prune->params.reshape.method == RESHAPE_WIDTH && analyze_reshape_choose(a, &a->err) < 0)
        return;
    (void)analyze_reshape_files(a, &a->err);
}

static void files_done(void *arg, const struct err *group_err)
{
    (void)group_err;
    if (analyze_goes_on(arg, NULL))
        analyze_prune_write(arg);
}

static void make_files(struct analyze *a)
{
    job_call_file(a->job, files_run, files_done, a);
}

static const struct layer *layer_of(const struct analyze *a, const struct reshape_task *t)
{
    return &a->layers.l[a->prune->reshape->ff[t->part].part[t->which]];
}

static void squared(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;
    struct reshape_task *task = &w->reshape->task[t->tag[0]];
    struct err bad = {0};

    w->under_way--;
    a->job->flops_done += t->flops;
    if (!m)
        bad = *err;
    else
        (void)squares_parse(&task->task, m->body.data, m->body.len, m->n_fds ? m->fd[0] : -1,
                            &task->sum, &bad);
    if (bad.code == ERR_INVALID)
        (void)err_set_at(&bad, ERR_INVALID, "/source", "\"%.150s\" has NaN or infinite weights",
                         layer_of(a, task)->longname);
    if (bad.code) {
        job_fail_err(a->job, &bad);
        return;
    }
    a->job->rec.layers_done++;
    job_changed(a->job);
    if (w->under_way == 0)
        make_files(a);
}

static void add_task(struct analyze *a, size_t i)
{
    struct reshape_task *r = &a->prune->reshape->task[i];
    const struct layer *l = layer_of(a, r);
    struct task *t = task_new(WORKER_COMPUTE, WIRE_SQUARES, squared, a);

    t->tag[0] = i;
    t->label = l->longname;
    t->flops = 4.0 * (double)r->task.m.rows * (double)r->task.m.cols;
    t->bytes = 2e6 + 8 * (double)squares_count(&r->task);
    t->fd[t->n_fds++] = a->source->file[l->file].fd;
    squares_task_put(&t->body, &r->task);
    a->job->flops_total += t->flops;
    a->prune->under_way++;
    sched_add(a->job->lane, t);
}

void analyze_reshape_cut(struct analyze *a)
{
    const struct reshape *r = a->prune->reshape;

    if (r->n_tasks == 0) {
        make_files(a);
        return;
    }
    a->job->rec.layers_total = r->n_tasks;
    for (size_t i = 0; i < r->n_tasks; i++)
        add_task(a, i);
}
