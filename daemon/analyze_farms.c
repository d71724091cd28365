/* analyze_farms.c: the exponent of equally shaped windows of each row that has a spectrum.
 *
 * A row's runs are tasks of their own, so several workers share one matrix. Their values are
 * gathered in a memory file, the pool, as they arrive; the last one sends it to the cache and to a
 * worker for the fit. A pool that the cache has goes to the fit at once, and one that another job
 * computes is waited for (sched.h).
 */
#include "daemon/analyze_farms.h"

#include "common/fdio.h"
#include "daemon/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Runs of less than this are sent together: a message costs more. */
#define TASK_FLOPS 2e9
/* About 100 operations for each value and binary digit of the number of values, and the scan. */
#define FIT_COST_PER_VALUE 5e3
/* Pools from the cache that are in memory at a time. */
#define POOLS_LOADED 4

static void pool_unmap(struct row_farms *f)
{
    if (f->pool)
        (void)munmap(f->pool, farms_pool_bytes(&f->plan));
    f->pool = NULL;
}

static void pool_drop(struct row_farms *f)
{
    pool_unmap(f);
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

/* --- pools from the cache ------------------------------------------------------------------ */

static void load_more(struct analyze *a)
{
    struct farms_work *w = a->farms;

    for (; w->next < a->layers.count && w->n_loading < POOLS_LOADED; w->next++) {
        struct row_farms *f = &w->row[w->next];

        if (!f->cached)
            continue;
        f->cached = false;
        f->loading = true;
        w->n_loading++;
        analyze_farms_load(a, w->next);
    }
}

static void load_later(struct analyze *a, size_t row)
{
    a->farms->row[row].cached = true;
    if (row < a->farms->next)
        a->farms->next = row;
    load_more(a);
}

/* The row's pool is not needed any more: the next one may come. */
static void pool_release(struct analyze *a, size_t row)
{
    struct row_farms *f = &a->farms->row[row];

    pool_drop(f);
    if (!f->loading)
        return;
    f->loading = false;
    a->farms->n_loading--;
    load_more(a);
}

/* --- the end of a row ---------------------------------------------------------------------- */

static void row_failed(struct analyze *a, size_t row, const struct err *err)
{
    struct layer_farms *out = &a->lw[row].farms;

    out->outcome = FARMS_FAILED;
    out->reason = err_name(err->code);
    log_warn("job %s: windows of layer \"%.100s\": %s", a->job->rec.id, a->layers.l[row].longname,
             err->text);
    pool_release(a, row);
    analyze_row_finished(a);
}

/* Windows from the cache, or solved for this job. */
static void count_row(struct analyze *a, bool hit)
{
    struct service *svc = a->job->svc;

    if (!hit)
        a->job->rec.misses++;
    metric_inc(hit ? svc->m_hits : svc->m_misses, "farms", 1);
    job_changed(a->job);
}

/* --- tasks --------------------------------------------------------------------------------- */

static void fitted(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    size_t row = t->tag[0];
    struct layer_farms *out = &a->lw[row].farms;
    struct farms_result f;
    struct err bad = {0};

    a->job->flops_done += t->flops;
    if (!m || farms_result_parse(m->body.data, m->body.len, &f, &bad) < 0) {
        row_failed(a, row, m ? &bad : err);
        return;
    }
    out->outcome = FARMS_DONE;
    out->result = f;
    pool_release(a, row);
    analyze_farms_keep_result(a, row);
}

static double fit_flops(const struct row_farms *f)
{
    return (double)farms_values(&f->plan) * FIT_COST_PER_VALUE;
}

static void add_fit(struct analyze *a, size_t row)
{
    struct row_farms *f = &a->farms->row[row];
    struct task *t = task_new(WORKER_COMPUTE, WIRE_FARMS_FIT, fitted, a);

    t->tag[0] = row;
    t->label = a->layers.l[row].longname;
    t->flops = fit_flops(f);
    t->bytes = 5 * (double)farms_pool_bytes(&f->plan);
    t->fd[0] = f->pool_fd;
    t->n_fds = 1;
    farms_task_put(&t->body, &f->task);
    sched_add(a->job->lane, t);
}

/* Every value is there. */
static void pool_full(struct analyze *a, size_t row)
{
    struct row_farms *f = &a->farms->row[row];

    farms_pool_begin(&f->plan, f->bound, f->pool);
    pool_unmap(f);
    if (memfd_seal(f->pool_fd, &f->err) < 0) {
        sched_key_done(a->job->lane, &f->windows_key, false);
        row_failed(a, row, &f->err);
    } else {
        count_row(a, false);
        analyze_farms_keep_pool(a, row);
    }
}

void analyze_farms_pool_kept(struct analyze *a, size_t row, bool stored)
{
    sched_key_done(a->job->lane, &a->farms->row[row].windows_key, stored);
    add_fit(a, row);
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
        rc = memfd_new("pool", farms_pool_bytes(&f->plan), &f->pool_fd, &pool, err);
        f->pool = pool;
    }
    if (rc == 0)
        rc = memfd_map_sealed(m->fd[0], n * sizeof(double), &map, err);
    if (rc < 0)
        return rc;
    rc = farms_values_check(&f->plan, map, n, err);
    if (rc == 0)
        memcpy(farms_pool_values(f->pool) + farms_task_values(&f->plan, 0, first), map,
               n * sizeof(double));
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
    if (!m && !err)
        f->elsewhere = true;
    else if (!m)
        f->err = *err;
    else if (f->err.code == 0)
        (void)gather(f, m, t->tag[1] >> 32, t->tag[1] & UINT32_MAX, &f->err);
    job_changed(a->job);
    if (--f->left > 0)
        return;
    if (f->elsewhere) {
        pool_drop(f);
        f->err.code = 0;
        load_later(a, row);
    } else if (f->err.code) {
        sched_key_done(a->job->lane, &f->windows_key, false);
        row_failed(a, row, &f->err);
    } else {
        pool_full(a, row);
    }
}

static void add_runs(struct analyze *a, size_t row, size_t first, size_t count)
{
    const struct layer *l = &a->layers.l[row];
    struct row_farms *f = &a->farms->row[row];
    struct task *t = task_new(WORKER_COMPUTE, WIRE_FARMS, solved, a);

    t->tag[0] = row;
    t->tag[1] = (uint64_t)first << 32 | count;
    t->label = l->longname;
    t->key = f->unshared ? NULL : &f->windows_key;
    for (size_t i = first; i < first + count; i++)
        t->flops += farms_run_flops(&f->plan, i);
    t->bytes = farms_run_bytes(&f->plan, 0) +
               8 * (double)farms_task_values(&f->plan, first, count) + weights_bytes(&f->task.w) +
               1e6;
    analyze_add_files(a, l, t);
    farms_task_put(&t->body, &f->task);
    buf_put_u32(&t->body, (uint32_t)first);
    buf_put_u32(&t->body, (uint32_t)count);
    sched_add(a->job->lane, t);
}

/* Solve the windows. */
static void start_row(struct analyze *a, size_t row)
{
    struct row_farms *f = &a->farms->row[row];
    size_t runs = f->plan.n_runs;
    size_t each = (size_t)(TASK_FLOPS / farms_run_flops(&f->plan, 0)) + 1;
    double bytes = farms_run_bytes(&f->plan, 0), budget = sched_budget(a->job->svc->sched);
    struct err err;

    if (bytes > budget) {
        err_set(&err, ERR_LIMIT, "windows need about %.0f MB, the limit for all workers is %.0f MB",
                bytes / 1e6, budget / 1e6);
        row_failed(a, row, &err);
        return;
    }
    for (size_t i = 0; i < runs; i++)
        a->job->flops_total += farms_run_flops(&f->plan, i);
    f->elsewhere = false;
    f->left = (runs + each - 1) / each;
    for (size_t i = 0; i < runs; i += each)
        add_runs(a, row, i, runs - i < each ? runs - i : each);
}

/* --- the stage ----------------------------------------------------------------------------- */

/* What is to be computed for a row, or why nothing is. */
static void prepare(struct analyze *a, size_t row)
{
    const struct layer *l = &a->layers.l[row];
    struct layer_farms *out = &a->lw[row].farms;
    struct row_farms *f = &a->farms->row[row];

    f->pool_fd = -1;
    if (a->lw[row].leader >= 0 || a->lw[row].outcome != OUT_DONE)
        return;
    f->task = (struct farms_task){.conv = l->type == TYPE_CONV2D, .params = a->params.farms};
    weights_of_layer(l, &f->task.w);
    if (layer_is_product(l)) {
        out->outcome = FARMS_FAILED;
        out->reason = "product";
    } else if (!f->task.conv && l->n_slices != 1) {
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

/* The cache has the exponent, or the pool for another fit, or (a file was lost) nothing. */
void analyze_farms_loaded(struct analyze *a, size_t row)
{
    struct row_farms *f = &a->farms->row[row];
    bool done = a->lw[row].farms.outcome == FARMS_DONE;

    if (done || f->pool_fd >= 0)
        count_row(a, true);
    if (done) {
        a->job->flops_done += fit_flops(f);
        pool_release(a, row);
        analyze_row_finished(a);
    } else if (f->pool_fd >= 0) {
        add_fit(a, row);
    } else {
        f->unshared = true;
        pool_release(a, row);
        start_row(a, row);
    }
}

void analyze_farms_looked_up(struct analyze *a)
{
    struct job *j = a->job;
    bool any = false;

    a->waiting = 1; /* keeps the stage open until every row has been started */
    for (size_t i = 0; i < a->layers.count; i++) {
        if (a->lw[i].farms.outcome == FARMS_DONE)
            count_row(a, true);
        if (a->lw[i].farms.outcome != FARMS_WANTED)
            continue;
        j->flops_total += fit_flops(&a->farms->row[i]);
        a->waiting++;
        any = true;
    }
    if (any)
        analyze_needs_work(a);
    for (size_t i = 0; i < a->layers.count && !j->ended; i++)
        if (a->lw[i].farms.outcome == FARMS_WANTED && !a->farms->row[i].cached)
            start_row(a, i);
    load_more(a);
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
    analyze_farms_lookup(a);
}
