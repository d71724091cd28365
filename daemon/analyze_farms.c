/* analyze_farms.c: the exponent of equally shaped windows of each row that has a spectrum.
 *
 *   key = H(version, unit digest, layout, window parameters, precision)
 *
 * A row's runs are tasks of their own, so several workers share one matrix. Their values are
 * gathered in a memory file as they arrive; the last one sends it to a worker for the fit. The key
 * does not know the spectrum: either may be in the cache without the other.
 */
#include "daemon/analyze.h"

#include "common/fdio.h"
#include "daemon/farms_task.h"
#include "daemon/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Runs of less than this are sent together: a message costs more. */
#define TASK_FLOPS 2e9
/* About 100 operations for each value and binary digit of the number of values, and the scan. */
#define FIT_COST_PER_VALUE 5e3

struct row_farms {
    struct farms_task task;
    struct farms_plan plan;
    struct digest key;
    size_t left;  /* tasks under way */
    int pool_fd;  /* values of all runs, once the first is there */
    double *pool; /* mapped; NULL after sealing */
    double bound;
    struct err err;
};

struct farms_work {
    struct row_farms *row; /* one for each layer */
};

static size_t pool_bytes(const struct row_farms *f)
{
    return farms_values(&f->plan) * sizeof(double);
}

static void pool_drop(struct row_farms *f)
{
    if (f->pool)
        (void)munmap(f->pool, pool_bytes(f));
    f->pool = NULL;
    fd_close(&f->pool_fd);
}

void analyze_farms_free(struct analyze *a)
{
    for (size_t i = 0; a->farms && i < a->layers.count; i++)
        pool_drop(&a->farms->row[i]);
    if (a->farms)
        free(a->farms->row);
    free(a->farms);
}

/* --- the end of a row ---------------------------------------------------------------------- */

static void row_failed(struct analyze *a, size_t row, const char *reason, const struct err *err)
{
    struct layer_farms *out = &a->lw[row].farms;

    out->outcome = FARMS_FAILED;
    out->reason = reason ? reason : err_name(err->code);
    log_warn("job %s: windows of layer \"%.100s\": %s", a->job->rec.id, a->layers.l[row].longname,
             err->text);
    pool_drop(&a->farms->row[row]);
    analyze_row_finished(a);
}

struct keeping {
    struct analyze *a;
    size_t row;
    struct buf bytes;
};

static void keep_run(void *arg, void *state)
{
    struct keeping *k = arg;

    (void)store_cache_put(job_store(state), CACHE_FIT, &k->a->farms->row[k->row].key, k->bytes.data,
                          k->bytes.len, NULL);
}

static void keep_done(void *arg, const struct err *group_err)
{
    struct keeping *k = arg;
    struct analyze *a = k->a;

    if (group_err)
        log_warn("results could not be cached: %s", group_err->text);
    buf_done(&k->bytes);
    free(k);
    if (!a->job->ended)
        analyze_row_finished(a);
}

static void row_done(struct analyze *a, size_t row, const struct farms_result *f)
{
    struct keeping *k = xcalloc(1, sizeof *k);

    a->lw[row].farms.outcome = FARMS_DONE;
    a->lw[row].farms.result = *f;
    *k = (struct keeping){.a = a, .row = row};
    farms_result_write(f, &k->bytes);
    a->job->rec.misses++;
    metric_inc(a->job->svc->m_misses, "farms", 1);
    job_changed(a->job);
    job_call_store(a->job, keep_run, keep_done, k);
}

/* --- tasks --------------------------------------------------------------------------------- */

static void fitted(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    size_t row = t->tag[0];
    struct farms_result f;
    struct err bad = {0};

    a->job->flops_done += t->flops;
    pool_drop(&a->farms->row[row]);
    if (!m)
        row_failed(a, row, NULL, err);
    else if (farms_result_parse(m->body.data, m->body.len, &f, &bad) < 0)
        row_failed(a, row, NULL, &bad);
    else
        row_done(a, row, &f);
}

static double fit_flops(const struct row_farms *f)
{
    return (double)farms_values(&f->plan) * FIT_COST_PER_VALUE;
}

static void add_fit(struct analyze *a, size_t row)
{
    struct row_farms *f = &a->farms->row[row];
    struct task *t;
    int r;

    (void)munmap(f->pool, pool_bytes(f));
    f->pool = NULL;
    r = memfd_seal(f->pool_fd, &f->err);
    if (r < 0) {
        row_failed(a, row, NULL, &f->err);
        return;
    }
    t = task_new(WORKER_COMPUTE, WIRE_FARMS_FIT, fitted, a);
    t->tag[0] = row;
    t->label = a->layers.l[row].longname;
    t->flops = fit_flops(f);
    t->bytes = 5 * (double)pool_bytes(f);
    t->fd[0] = f->pool_fd;
    t->n_fds = 1;
    farms_task_put(&t->body, &f->task);
    buf_put_f64(&t->body, f->bound);
    sched_add(a->job->lane, t);
}

/* The values of runs [first, first + count), from a worker, to where they belong. */
static int gather(struct row_farms *f, const struct wire_message *m, size_t first, size_t count,
                  struct err *err)
{
    size_t n = farms_task_values(&f->plan, first, count);
    uint64_t n_nonfinite;
    struct reader r;
    const void *map = NULL;
    void *pool = NULL;
    double bound;
    int rc = 0;

    reader_init(&r, m->body.data, m->body.len);
    bound = reader_f64(&r);
    n_nonfinite = reader_u64(&r);
    if (!reader_ok(&r) || m->n_fds != 1 || !isfinite(bound) || bound < 0)
        return err_set(err, ERR_CRASHED, "a worker sent malformed eigenvalues of windows");
    if (n_nonfinite) /* the spectrum met none: the file has changed since */
        return err_set(err, ERR_CHANGED, "weights became NaN or infinite");
    if (!f->pool) {
        rc = memfd_new("pool", pool_bytes(f), &f->pool_fd, &pool, err);
        f->pool = pool;
    }
    if (rc == 0)
        rc = memfd_map_sealed(m->fd[0], n * sizeof(double), &map, err);
    if (rc < 0)
        return rc;
    rc = farms_values_check(&f->plan, map, n, err);
    if (rc == 0)
        memcpy(f->pool + farms_task_values(&f->plan, 0, first), map, n * sizeof(double));
    (void)munmap((void *)(uintptr_t)map, n * sizeof(double));
    f->bound = fmax(f->bound, bound);
    return rc;
}

static void solved(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    size_t row = t->tag[0];
    struct row_farms *f = &a->farms->row[row];

    a->job->flops_done += t->flops;
    if (!m)
        f->err = *err;
    else if (f->err.code == 0)
        (void)gather(f, m, t->tag[1] >> 32, t->tag[1] & UINT32_MAX, &f->err);
    job_changed(a->job);
    if (--f->left > 0)
        return;
    if (f->err.code)
        row_failed(a, row, NULL, &f->err);
    else
        add_fit(a, row);
}

static void add_runs(struct analyze *a, size_t row, size_t first, size_t count)
{
    const struct layer *l = &a->layers.l[row];
    struct row_farms *f = &a->farms->row[row];
    struct task *t = task_new(WORKER_COMPUTE, WIRE_FARMS, solved, a);

    t->tag[0] = row;
    t->tag[1] = (uint64_t)first << 32 | count;
    t->label = l->longname;
    for (size_t i = first; i < first + count; i++)
        t->flops += farms_run_flops(&f->plan, i);
    t->bytes = farms_run_bytes(&f->plan, 0) +
               8 * (double)farms_task_values(&f->plan, first, count) +
               (f->task.conv ? (double)l->nbytes : 1e6);
    t->fd[0] = a->source->file[l->file].fd;
    t->n_fds = 1;
    farms_task_put(&t->body, &f->task);
    buf_put_u32(&t->body, (uint32_t)first);
    buf_put_u32(&t->body, (uint32_t)count);
    sched_add(a->job->lane, t);
}

static void start_row(struct analyze *a, size_t row)
{
    struct row_farms *f = &a->farms->row[row];
    size_t runs = f->plan.n_runs;
    size_t each = (size_t)(TASK_FLOPS / farms_run_flops(&f->plan, 0)) + 1;
    double bytes = farms_run_bytes(&f->plan, 0), budget = sched_budget(a->job->svc->sched);
    struct err err;

    a->waiting++;
    if (bytes > budget) {
        err_set(&err, ERR_LIMIT, "windows need about %.0f MB, the limit for all workers is %.0f MB",
                bytes / 1e6, budget / 1e6);
        row_failed(a, row, NULL, &err);
        return;
    }
    f->left = (runs + each - 1) / each;
    for (size_t i = 0; i < runs; i += each)
        add_runs(a, row, i, runs - i < each ? runs - i : each);
}

/* --- the stage ----------------------------------------------------------------------------- */

static void make_key(struct hasher *h, const struct analyze *a, size_t row)
{
    const struct layer *l = &a->layers.l[row];
    const struct row_farms *f = &a->farms->row[row];
    const struct farms_params *p = &f->task.params;

    hasher_add_str(h, "spectrald-farms");
    hasher_add_u64(h, FARMS_VERSION);
    hasher_add(h, analyze_unit_of(a, l)->digest.b, DIGEST_LEN);
    hasher_add_u64(h, f->task.conv);
    hasher_add_u64(h, l->rows);
    hasher_add_u64(h, l->cols);
    hasher_add_u64(h, l->n_slices);
    hasher_add_u64(h, l->row_stride);
    hasher_add_u64(h, l->col_stride);
    hasher_add_u64(h, l->slice_stride);
    hasher_add_u64(h, p->rows);
    hasher_add(h, &p->q, sizeof p->q);
    hasher_add_u64(h, p->windows);
    hasher_add_u64(h, p->fit);
    hasher_add_u64(h, p->mode);
    hasher_add_u64(h, p->precision);
    hasher_finish(h, &a->farms->row[row].key);
}

/* What is to be computed for a row, or why nothing is. */
static void prepare(struct analyze *a, size_t row)
{
    const struct layer *l = &a->layers.l[row];
    struct layer_farms *out = &a->lw[row].farms;
    struct row_farms *f = &a->farms->row[row];

    f->pool_fd = -1;
    if (a->lw[row].leader >= 0 || a->lw[row].outcome != OUT_DONE)
        return;
    f->task = (struct farms_task){
        .m = analyze_matrix_of(l), .conv = l->type == TYPE_CONV2D, .params = a->params.farms};
    if (!f->task.conv && l->n_slices != 1) {
        out->outcome = FARMS_FAILED;
        out->reason = "not_a_matrix";
    } else if (farms_task_plan(&f->task, &f->plan, &f->err) < 0) {
        out->outcome = FARMS_FAILED;
        out->reason = f->err.code == ERR_INVALID ? "window_does_not_fit" : err_name(f->err.code);
        f->err.code = 0;
    } else {
        out->outcome = FARMS_WANTED;
    }
}

static void lookup_run(void *arg, void *state)
{
    struct analyze *a = arg;
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    for (size_t i = 0; i < a->layers.count; i++) {
        struct layer_farms *out = &a->lw[i].farms;
        struct buf b = BUF_INIT;

        if (out->outcome != FARMS_WANTED)
            continue;
        make_key(h, a, i);
        if (store_cache_find(job_store(state), CACHE_FIT, &a->farms->row[i].key, &b, NULL) == 0 &&
            farms_result_parse(b.data, b.len, &out->result, NULL) == 0)
            out->outcome = FARMS_DONE;
        buf_done(&b);
    }
}

static void lookup_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;
    struct job *j = a->job;
    bool any = false;

    (void)group_err; /* a full cache costs time, not results */
    if (j->ended)
        return;
    a->waiting = 1;
    for (size_t i = 0; i < a->layers.count; i++) {
        const struct row_farms *f = &a->farms->row[i];

        if (a->lw[i].farms.outcome != FARMS_WANTED)
            continue;
        for (size_t run = 0; run < f->plan.n_runs; run++)
            j->flops_total += farms_run_flops(&f->plan, run);
        j->flops_total += fit_flops(f);
        any = true;
    }
    if (any)
        analyze_needs_work(a);
    for (size_t i = 0; i < a->layers.count && !j->ended; i++)
        if (a->lw[i].farms.outcome == FARMS_WANTED)
            start_row(a, i);
    if (!j->ended)
        analyze_row_finished(a);
}

void analyze_farms(struct analyze *a)
{
    if (!a->params.want_farms) {
        analyze_next(a);
        return;
    }
    a->farms = xcalloc(1, sizeof *a->farms);
    a->farms->row = xcalloc(a->layers.count, sizeof *a->farms->row);
    for (size_t i = 0; i < a->layers.count; i++)
        prepare(a, i);
    job_call_store(a->job, lookup_run, lookup_done, a);
}
