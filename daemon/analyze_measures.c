/* analyze_measures.c: what is measured of rows besides their default columns, if asked for.
 *
 * What the cache does not have comes from workers, which get the cached spectrum: a few spectra are
 * in memory at a time.
 */
#include "daemon/analyze_measures.h"

#include "common/fdio.h"
#include "daemon/log.h"

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

static struct measure_cost cost_of(const struct analyze *a, size_t row, uint32_t wanted)
{
    const struct layer *l = &a->layers.l[row];
    uint64_t n, m;
    struct measure_cost all = {0, 0};

    layer_sides(l, false, &n, &m);
    for (unsigned k = 0; k < MEASURE_COUNT; k++) {
        struct measure_cost c;

        if (!(wanted & 1u << k))
            continue;
        c = measure_cost((enum measure)k, &a->params.measure, (size_t)n, (size_t)m,
                         (size_t)l->n_slices);
        all.flops += c.flops;
        all.bytes = c.bytes > all.bytes ? c.bytes : all.bytes;
    }
    return all;
}

static void row_over(struct analyze *a, size_t row)
{
    fd_close(&a->measuring->row[row].fd);
    fd_close(&a->measuring->row[row].null_fd);
    a->measuring->n_loaded--;
    job_changed(a->job);
    load_more(a);
    analyze_row_finished(a);
}

static void note_failure(struct analyze *a, size_t row, uint32_t wanted, const struct err *err)
{
    struct row_measures *f = &a->measuring->row[row];

    f->failed |= wanted;
    f->reason = err_name(err->code);
    log_warn("job %s: measures of layer \"%.100s\": %s", a->job->rec.id, a->layers.l[row].longname,
             err->text);
}

void analyze_measures_kept(struct analyze *a, size_t row)
{
    row_over(a, row);
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

static int take_results(struct analyze *a, size_t row, uint32_t wanted, struct wire_message *m,
                        struct err *err)
{
    struct measuring *w = a->measuring;
    struct reader r;
    bool good = true;

    reader_init(&r, m->body.data, m->body.len);
    for (unsigned i = 0; good && i < MEASURE_COUNT; i++)
        if (wanted & 1u << i)
            good =
                measure_result_get(&r, (enum measure)i, measure_result_at(w, row, (enum measure)i));
    if (!good || !reader_ok(&r))
        return err_set(err, ERR_CRASHED, "a worker sent malformed measures");
    return wanted == 1u << MEASURE_RANDOM &&
                   measure_result_at(w, row, MEASURE_RANDOM)->reason == MEASURED
               ? take_null(a, row, m, err)
               : 0;
}

static void add_task(struct analyze *a, size_t row, uint32_t wanted);

static void task_over(struct analyze *a, size_t row)
{
    struct row_measures *f = &a->measuring->row[row];

    if (--f->left > 0)
        return;
    if (f->phase_next) {
        f->phase_next = false;
        f->left = 1;
        add_task(a, row, 1u << MEASURE_PHASE);
        return;
    }
    if (f->missing & ~f->failed)
        analyze_measures_keep(a, row);
    else
        row_over(a, row);
}

static void measured(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    size_t row = t->tag[0];
    uint32_t wanted = (uint32_t)t->tag[1];
    struct err bad;

    a->job->flops_done += t->flops;
    if (!m)
        note_failure(a, row, wanted, err);
    else if (take_results(a, row, wanted, m, &bad) < 0)
        note_failure(a, row, wanted, &bad);
    task_over(a, row);
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
static struct wire_matrix matrix_for(const struct layer *l, uint32_t wanted)
{
    struct wire_matrix m = analyze_matrix_of(l);

    if (wanted == 1u << MEASURE_VECTORS && m.rows == m.cols) {
        m.row_stride = l->col_stride;
        m.col_stride = l->row_stride;
    }
    return m;
}

static void add_task(struct analyze *a, size_t row, uint32_t wanted)
{
    const struct layer *l = &a->layers.l[row];
    bool weights = measure_info((enum measure)__builtin_ctz(wanted))->weights;
    struct measure_task mt = {.wanted = wanted,
                              .opt = a->params.measure,
                              .scale = analyze_scale(l),
                              .null_largest = null_largest(a, row),
                              .weights = weights,
                              .m = matrix_for(l, wanted),
                              .seed = seed_of(&a->lw[row]),
                              .precision = a->params.precision,
                              .fit = a->lw[row].values};
    struct measure_cost cost = cost_of(a, row, wanted);
    struct task *t = task_new(WORKER_COMPUTE, WIRE_MEASURE, measured, a);

    t->tag[0] = row;
    t->tag[1] = wanted;
    t->label = l->longname;
    t->flops = cost.flops;
    t->bytes = cost.bytes;
    t->fd[t->n_fds++] = a->measuring->row[row].fd;
    if (weights)
        t->fd[t->n_fds++] = a->source->file[l->file].fd;
    measure_task_put(&t->body, &mt);
    sched_add(a->job->lane, t);
}

/* One task for all that the spectrum tells, one for each that takes the weights; the phase last,
 * where shuffled weights are evidence. */
static void start_row(struct analyze *a, size_t row)
{
    struct row_measures *f = &a->measuring->row[row];
    double budget = sched_budget(a->job->svc->sched);
    uint32_t cheap = 0;
    struct err err;

    f->left = 1; /* until all are there */
    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        uint32_t bit = f->missing & 1u << m;
        double bytes = cost_of(a, row, bit).bytes;

        if (!bit || !measure_info((enum measure)m)->weights) {
            cheap |= bit;
        } else if (bytes > budget) {
            err_set(&err, ERR_LIMIT, "about %.0f MB are needed, all workers may have %.0f MB",
                    bytes / 1e6, budget / 1e6);
            note_failure(a, row, bit, &err);
        } else {
            f->left++;
            add_task(a, row, bit);
        }
    }
    f->phase_next = f->missing & cheap & 1u << MEASURE_PHASE && f->left > 1 &&
                    f->missing & 1u << MEASURE_RANDOM;
    if (f->phase_next)
        cheap &= ~(1u << MEASURE_PHASE);
    if (cheap) {
        f->left++;
        add_task(a, row, cheap);
    }
    task_over(a, row);
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
        metric_inc(hit ? a->job->svc->m_hits : a->job->svc->m_misses, "measure", 1);
        if (hit)
            continue;
        a->job->flops_total += cost_of(a, i, w->row[i].missing).flops;
        a->waiting++;
    }
    if (a->waiting > 1)
        analyze_needs_work(a);
    load_more(a);
    analyze_row_finished(a);
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
    }
    analyze_measures_lookup(a);
}
