/* analyze_measures.c: what is measured of rows besides their default columns, if asked for.
 *
 * What the cache does not have comes from workers, which get the cached spectrum: a few spectra are
 * in memory at a time. A task that another job has under way is waited for (sched.h).
 */
#include "daemon/analyze_measures.h"

#include "common/fdio.h"
#include "daemon/log.h"
#include "daemon/traps_record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Spectra that are in memory at a time, for each worker. */
#define SPECTRA_LOADED 2

void analyze_measures_free(struct analyze *a)
{
    struct measuring *w = a->measuring;

    for (size_t i = 0; w && i < a->layers.count; i++) {
        free(w->row[i].result);
        fd_close(&w->row[i].fd);
        fd_close(&w->row[i].null_fd);
        free(w->row[i].key);
        buf_done(&w->row[i].traps);
    }
    if (w)
        free(w->row);
    free(w);
}

struct measure_result *measure_result_at(const struct measuring *w, size_t row, enum measure m)
{
    unsigned below = w->wanted & ((1u << m) - 1);

    return &w->row[row].result[__builtin_popcount(below)];
}

const struct measure_result *analyze_measured(const struct analyze *a, size_t row, enum measure m,
                                              const char **failed)
{
    const struct measuring *w = a->measuring;

    *failed = NULL;
    if (!w || !(w->wanted & 1u << m) || !w->row[row].result)
        return NULL;
    *failed = w->row[row].failed & 1u << m ? w->row[row].reason : NULL;
    return *failed ? NULL : measure_result_at(w, row, m);
}

/* --- one row ------------------------------------------------------------------------------- */

static void load_more(struct analyze *a);

static struct measure_cost cost_of(const struct analyze *a, size_t row, enum measure m)
{
    const struct layer *l = &a->layers.l[row];
    uint64_t n_long, n_short;

    layer_sides(l, false, &n_long, &n_short);
    return measure_cost(m, &a->params.measure, (size_t)n_long, (size_t)n_short,
                        (size_t)l->n_slices);
}

static void row_over(struct analyze *a, size_t row)
{
    struct row_measures *f = &a->measuring->row[row];
    const struct service *svc = a->job->svc;

    metric_inc(f->measured || f->failed ? svc->m_misses : svc->m_hits, "measure", 1);
    fd_close(&f->fd);
    fd_close(&f->null_fd);
    free(TAKE(f->key));
    buf_done(&f->traps);
    a->measuring->n_loaded--;
    job_changed(a->job);
    load_more(a);
    analyze_row_finished(a);
}

static void note_failure(struct analyze *a, size_t row, uint32_t measures, const struct err *err)
{
    struct row_measures *f = &a->measuring->row[row];

    f->failed |= measures;
    f->reason = err_name(err->code);
    log_warn("job %s: measures of layer \"%.100s\": %s", a->job->rec.id, a->layers.l[row].longname,
             err->text);
}

/* Eigenvalues that a worker sent: as many as the layer has, in order. */
static int take_null(struct analyze *a, size_t row, struct wire_message *m, struct err *err)
{
    const struct layer *l = &a->layers.l[row];
    size_t n = (size_t)((l->rows < l->cols ? l->rows : l->cols) * l->n_slices);
    const void *map = NULL;
    const double *x;
    bool good = true;
    int r = m->n_fds == 1 ? memfd_map_sealed(m->fd[0], n * sizeof *x, &map, err)
                          : err_set(err, ERR_CRASHED, "a worker sent no eigenvalues");

    if (r < 0)
        return r;
    x = map;
    for (size_t i = 0; i < n; i++)
        good = good && isfinite(x[i]) && x[i] >= (i > 0 ? x[i - 1] : 0);
    (void)munmap((void *)(uintptr_t)map, n * sizeof *x);
    if (!good)
        return err_set(err, ERR_CRASHED, "a worker sent malformed eigenvalues");
    a->measuring->row[row].null_fd = m->fd[0];
    m->fd[0] = -1;
    return 0;
}

/* Read, and written again to be kept. */
static bool take_traps(struct analyze *a, size_t row, struct reader *r)
{
    const struct layer *l = &a->layers.l[row];
    struct buf *b = &a->measuring->row[row].traps;
    struct trap trap[TRAPS_MAX];
    size_t n;

    if (!traps_record_get(r, l->rows, l->cols, trap, &n))
        return false;
    buf_reset(b);
    traps_record_put(b, trap, n);
    return true;
}

static int take_result(struct analyze *a, size_t row, enum measure m, struct wire_message *msg,
                       struct err *err)
{
    struct measure_result *out = measure_result_at(a->measuring, row, m);
    struct reader r;

    reader_init(&r, msg->body.data, msg->body.len);
    if (!measure_result_get(&r, m, out) || (m == MEASURE_TRAPS && !take_traps(a, row, &r)) ||
        !reader_ok(&r))
        return err_set(err, ERR_CRASHED, "a worker sent malformed measures");
    return m == MEASURE_RANDOM && out->reason == MEASURED ? take_null(a, row, msg, err) : 0;
}

static void add_task(struct analyze *a, size_t row, enum measure m);

static void task_over(struct analyze *a, size_t row, enum measure m)
{
    struct row_measures *f = &a->measuring->row[row];

    if (m == MEASURE_RANDOM && f->phase_next)
        add_task(a, row, MEASURE_PHASE);
    if (--f->left == 0)
        row_over(a, row);
}

/* Then the result is not what its key promises. */
static bool lacks_evidence(const struct analyze *a, size_t row, enum measure m)
{
    return m == MEASURE_PHASE && a->measuring->row[row].failed & 1u << MEASURE_RANDOM;
}

static bool is_shared(const struct analyze *a, size_t row, enum measure m)
{
    return !(a->measuring->row[row].unshared & 1u << m) && !lacks_evidence(a, row, m);
}

void analyze_measures_kept(struct analyze *a, size_t row, enum measure m, bool stored)
{
    if (is_shared(a, row, m))
        sched_key_done(a->job->lane, &a->measuring->row[row].key[m], stored);
    task_over(a, row, m);
}

void analyze_measures_found(struct analyze *a, size_t row, enum measure m, bool found)
{
    if (found) {
        task_over(a, row, m);
        return;
    }
    a->measuring->row[row].unshared |= 1u << m;
    a->job->flops_total += cost_of(a, row, m).flops;
    add_task(a, row, m);
}

static void measured(void *arg, struct task *t, struct wire_message *msg, const struct err *err)
{
    struct analyze *a = arg;
    size_t row = t->tag[0];
    enum measure m = (enum measure)t->tag[1];
    struct err bad;

    a->job->flops_done += t->flops;
    if (!msg && !err) {
        analyze_measures_find(a, row, m);
        return;
    }
    if (msg && take_result(a, row, m, msg, &bad) == 0) {
        a->measuring->row[row].measured = true;
        if (lacks_evidence(a, row, m))
            task_over(a, row, m);
        else
            analyze_measures_keep(a, row, m);
        return;
    }
    note_failure(a, row, 1u << m, msg ? &bad : err);
    analyze_measures_kept(a, row, m, false);
}

static uint64_t seed_of(const struct layer_work *w)
{
    uint64_t seed;

    memcpy(&seed, w->content.b, sizeof seed);
    return seed;
}

/* The largest eigenvalue of shuffled weights, where it was asked for. */
static double null_largest(const struct analyze *a, size_t row)
{
    const struct measuring *w = a->measuring;

    if (!(w->wanted & 1u << MEASURE_RANDOM) || w->row[row].failed & 1u << MEASURE_RANDOM)
        return NAN;
    return measure_result_at(w, row, MEASURE_RANDOM)->v[MEASURE_RANDOM_SOFTRANK] *
           a->lw[row].values.v[COL_LAMBDA_MAX];
}

/* A square matrix has two Gram matrices; upstream takes eigenvectors of WW'. */
static struct weights weights_for(const struct layer *l, enum measure m)
{
    struct weights w;

    weights_of_layer(l, &w);
    if (m == MEASURE_VECTORS && w.rows == w.cols)
        weights_transpose(&w);
    return w;
}

static void add_task(struct analyze *a, size_t row, enum measure m)
{
    const struct layer *l = &a->layers.l[row];
    struct row_measures *f = &a->measuring->row[row];
    struct measure_task mt = {.measure = m,
                              .opt = a->params.measure,
                              .scale = analyze_scale(l),
                              .null_largest = null_largest(a, row),
                              .w = weights_for(l, m),
                              .seed = seed_of(&a->lw[row]),
                              .precision = a->params.precision,
                              .fit = a->lw[row].values};
    struct measure_cost cost = cost_of(a, row, m);
    struct task *t = task_new(WORKER_COMPUTE, WIRE_MEASURE, measured, a);

    analyze_measures_key(a, row, m, &f->key[m]);
    t->tag[0] = row;
    t->tag[1] = m;
    t->label = l->longname;
    t->key = is_shared(a, row, m) ? &f->key[m] : NULL;
    t->flops = cost.flops;
    t->bytes = cost.bytes;
    t->fd[t->n_fds++] = f->fd;
    if (measure_info(m)->weights)
        analyze_add_files(a, l, t);
    measure_task_put(&t->body, &mt);
    sched_add(a->job->lane, t);
}

static void start_measure(struct analyze *a, size_t row, enum measure m)
{
    struct row_measures *f = &a->measuring->row[row];
    double bytes = cost_of(a, row, m).bytes, budget = sched_budget(a->job->svc->sched);
    struct err err;

    f->left++;
    if (measure_info(m)->weights && bytes > budget) {
        err_set(&err, ERR_LIMIT, "about %.0f MB are needed, all workers may have %.0f MB",
                bytes / 1e6, budget / 1e6);
        note_failure(a, row, 1u << m, &err);
        task_over(a, row, m);
        return;
    }
    if (m == MEASURE_PHASE && f->missing & ~f->failed & 1u << MEASURE_RANDOM)
        f->phase_next = true;
    else
        add_task(a, row, m);
}

/* A task for each measure, so that jobs which want some in common share those; the phase when the
 * weights have been shuffled, where that is evidence. Results are kept task by task: what another
 * job waits for must not wait in turn for what that job measures. */
static void start_row(struct analyze *a, size_t row)
{
    struct row_measures *f = &a->measuring->row[row];

    f->left = 1; /* until all are there */
    f->key = xcalloc(MEASURE_COUNT, sizeof *f->key);
    for (unsigned m = 0; m < MEASURE_COUNT; m++)
        if (f->missing & 1u << m)
            start_measure(a, row, (enum measure)m);
    task_over(a, row, MEASURE_COUNT);
}

/* --- spectra --------------------------------------------------------------------------------- */

void analyze_measures_loaded(struct analyze *a, size_t row)
{
    const struct row_measures *f = &a->measuring->row[row];
    struct err gone;

    if (f->fd >= 0) {
        start_row(a, row);
        return;
    }
    (void)err_set(&gone, ERR_GONE, "its spectrum is not in the cache any more");
    note_failure(a, row, f->missing, &gone);
    row_over(a, row);
}

static void load_more(struct analyze *a)
{
    struct measuring *w = a->measuring;
    size_t most = SPECTRA_LOADED * pool_size(sched_pool(a->job->svc->sched));

    for (; w->next < a->layers.count && w->n_loaded < most; w->next++)
        if (w->row[w->next].missing) {
            w->n_loaded++;
            analyze_measures_load(a, w->next);
        }
}

/* --- the stage ----------------------------------------------------------------------------- */

void analyze_measures_looked_up(struct analyze *a)
{
    const struct measuring *w = a->measuring;

    a->waiting = 1; /* keeps the stage open until every row has been looked at */
    for (size_t i = 0; i < a->layers.count; i++) {
        bool hit = w->row[i].result && !w->row[i].missing;

        if (!w->row[i].result)
            continue;
        if (hit) {
            metric_inc(a->job->svc->m_hits, "measure", 1);
            continue;
        }
        for (unsigned m = 0; m < MEASURE_COUNT; m++)
            if (w->row[i].missing & 1u << m)
                a->job->flops_total += cost_of(a, i, (enum measure)m).flops;
        a->waiting++;
    }
    if (a->waiting > 1)
        analyze_needs_work(a);
    load_more(a);
    analyze_row_finished(a);
}

/* The law of noise is one of matrices, not of their products; and where only the spectrum is had,
 * there are no weights to read. */
static void refuse_products(struct analyze *a, size_t row)
{
    struct row_measures *f = &a->measuring->row[row];

    if (!layer_is_product(&a->layers.l[row]))
        return;
    f->failed =
        a->measuring->wanted & (1u << MEASURE_MP | 1u << MEASURE_SNR | 1u << MEASURE_RANDOM |
                                1u << MEASURE_VECTORS | 1u << MEASURE_PHASE | 1u << MEASURE_TRAPS);
    f->reason = "product";
}

void analyze_measures(struct analyze *a)
{
    struct measuring *w;

    if (!a->params.measures) {
        analyze_next(a);
        return;
    }
    w = a->measuring = xcalloc(1, sizeof *w);
    w->wanted = a->params.measures;
    w->n_wanted = (size_t)__builtin_popcount(w->wanted);
    w->row = xcalloc(a->layers.count, sizeof *w->row);
    for (size_t i = 0; i < a->layers.count; i++) {
        w->row[i].fd = w->row[i].null_fd = -1;
        if (a->lw[i].leader < 0 && a->lw[i].outcome == OUT_DONE)
            w->row[i].result = xcalloc(w->n_wanted, sizeof *w->row[i].result);
        refuse_products(a, i);
    }
    analyze_measures_lookup(a);
}
