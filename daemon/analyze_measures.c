/* analyze_measures.c: what is measured of rows besides their default columns, if asked for.
 *
 *   key = H(version, measure, fit key, its options)
 *
 * What the cache does not have comes from workers, which get the cached spectrum: a few spectra are
 * in memory at a time.
 */
#include "daemon/analyze.h"

#include "common/fdio.h"
#include "daemon/log.h"
#include "daemon/measure_task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Spectra that are in memory at a time, for each worker. */
#define SPECTRA_LOADED 2

struct row_measures {
    struct measure_result *result; /* of those that are wanted, in order; NULL: none */
    uint32_t missing;              /* not in the cache */
    uint32_t failed;               /* and cannot be had */
    const char *reason;            /* of that; a literal */
    size_t left;                   /* tasks under way */
    int fd;                        /* the spectrum, on its way to workers */
    int null_fd;                   /* eigenvalues of shuffled weights, on their way to the cache */
};

struct measuring {
    uint32_t wanted;
    size_t n_wanted;
    struct row_measures *row; /* one for each layer */
    size_t next, n_loaded;
};

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

/* Where the result of a measure that is wanted lies. */
static struct measure_result *result_at(const struct measuring *w, size_t row, enum measure m)
{
    unsigned below = w->wanted & ((1u << m) - 1);

    return &w->row[row].result[__builtin_popcount(below)];
}

const struct measure_result *analyze_measured(const struct analyze *a, size_t row, enum measure m,
                                              const char **failed)
{
    const struct measuring *w = a->measuring;

    *failed = NULL;
    if (!w || !w->row[row].result)
        return NULL;
    *failed = w->row[row].failed & 1u << m ? w->row[row].reason : NULL;
    return *failed ? NULL : result_at(w, row, m);
}

/* --- the cache ----------------------------------------------------------------------------- */

static void make_key(struct hasher *h, const struct analyze *a, size_t row, enum measure m,
                     struct digest *out)
{
    hasher_add_str(h, "spectrald-measure");
    hasher_add_str(h, measure_info(m)->name);
    hasher_add_u64(h, measure_info(m)->version);
    hasher_add(h, a->lw[row].fit_key.b, DIGEST_LEN);
    if (m == MEASURE_MP || m == MEASURE_RANDOM)
        hasher_add_u64(h, a->params.measure.mp);
    if (m == MEASURE_RANDOM)
        hasher_add_u64(h, a->params.measure.replicas);
    hasher_finish(h, out);
}

static bool find_result(struct store *st, const struct digest *key, enum measure m,
                        struct measure_result *out)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct reader r;

    if (store_cache_find(st, CACHE_FIT, key, &b, NULL) < 0)
        return false;
    reader_init(&r, b.data, b.len);
    return measure_result_get(&r, m, out) && reader_ok(&r);
}

static void lookup_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct measuring *w = a->measuring;
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    struct digest key;

    for (size_t i = 0; i < a->layers.count; i++)
        for (unsigned m = 0; w->row[i].result && m < MEASURE_COUNT; m++) {
            if (!(w->wanted & 1u << m))
                continue;
            make_key(h, a, i, (enum measure)m, &key);
            if (!find_result(job_store(state), &key, (enum measure)m,
                             result_at(w, i, (enum measure)m)))
                w->row[i].missing |= 1u << m;
        }
}

/* --- one row ------------------------------------------------------------------------------- */

struct row_message {
    struct analyze *a;
    size_t row;
};

static void call_store(struct analyze *a, size_t row, void (*run)(void *arg, void *state),
                       actor_done *done)
{
    struct row_message *k = xmalloc(sizeof *k);

    *k = (struct row_message){a, row};
    job_call_store(a->job, run, done, k);
}

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

static void keep_null(const struct analyze *a, size_t row, struct store *st)
{
    const int fd = a->measuring->row[row].null_fd;
    const struct layer_work *w = &a->lw[row];
    const void *map = NULL;
    struct digest key;
    size_t len;

    if (fd < 0 || memfd_sealed_size(fd, &len, NULL) < 0 ||
        memfd_map_sealed(fd, len, &map, NULL) < 0)
        return;
    measure_null_key(&w->spectrum_key, analyze_scale(&a->layers.l[row]), &key);
    (void)store_cache_put(st, CACHE_SPECTRUM, &key, map, len, NULL);
    (void)munmap((void *)(uintptr_t)map, len);
}

static void keep_run(void *arg, void *state)
{
    const struct row_message *k = arg;
    const struct measuring *w = k->a->measuring;
    const struct row_measures *f = &w->row[k->row];
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        AUTO(buf_done) struct buf b = BUF_INIT;
        struct digest key;

        if (!((f->missing & ~f->failed) >> m & 1))
            continue;
        make_key(h, k->a, k->row, (enum measure)m, &key);
        measure_result_put(&b, (enum measure)m, result_at(w, k->row, (enum measure)m));
        (void)store_cache_put(job_store(state), CACHE_FIT, &key, b.data, b.len, NULL);
    }
    keep_null(k->a, k->row, job_store(state));
}

static void keep_done(void *arg, const struct err *group_err)
{
    struct row_message *k = arg;

    if (group_err)
        log_warn("results could not be cached: %s", group_err->text);
    if (!k->a->job->ended)
        row_over(k->a, k->row);
    free(k);
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
    bool good = true, weights = measure_info((enum measure)__builtin_ctz(wanted))->weights;

    reader_init(&r, m->body.data, m->body.len);
    for (unsigned i = 0; good && i < MEASURE_COUNT; i++)
        if (wanted & 1u << i)
            good = measure_result_get(&r, (enum measure)i, result_at(w, row, (enum measure)i));
    if (!good || !reader_ok(&r))
        return err_set(err, ERR_CRASHED, "a worker sent malformed measures");
    return weights ? take_null(a, row, m, err) : 0;
}

static void task_over(struct analyze *a, size_t row)
{
    struct row_measures *f = &a->measuring->row[row];

    if (--f->left > 0)
        return;
    if (f->missing & ~f->failed)
        call_store(a, row, keep_run, keep_done);
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

static void add_task(struct analyze *a, size_t row, uint32_t wanted)
{
    const struct layer *l = &a->layers.l[row];
    bool weights = measure_info((enum measure)__builtin_ctz(wanted))->weights;
    struct measure_task mt = {.wanted = wanted,
                              .opt = a->params.measure,
                              .scale = analyze_scale(l),
                              .weights = weights,
                              .m = analyze_matrix_of(l),
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

/* One task for all that the spectrum tells, one for each that takes the weights. */
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
    if (cheap) {
        f->left++;
        add_task(a, row, cheap);
    }
    task_over(a, row);
}

/* --- spectra --------------------------------------------------------------------------------- */

static int to_memfd(const struct buf *b, int *out)
{
    void *map = NULL;
    int r = memfd_new("spectrum", b->len, out, &map, NULL);

    if (r < 0)
        return r;
    memcpy(map, b->data, b->len);
    (void)munmap(map, b->len);
    return memfd_seal(*out, NULL);
}

static void load_run(void *arg, void *state)
{
    const struct row_message *k = arg;
    AUTO(buf_done) struct buf b = BUF_INIT;
    int *fd = &k->a->measuring->row[k->row].fd;

    if (store_cache_find(job_store(state), CACHE_SPECTRUM, &k->a->lw[k->row].spectrum_key, &b,
                         NULL) == 0 &&
        to_memfd(&b, fd) < 0)
        fd_close(fd);
}

static void load_done(void *arg, const struct err *group_err)
{
    struct row_message *k = arg;
    struct measuring *w = k->a->measuring;
    struct err gone;

    (void)group_err;
    if (!k->a->job->ended && w->row[k->row].fd >= 0) {
        start_row(k->a, k->row);
    } else if (!k->a->job->ended) {
        (void)err_set(&gone, ERR_GONE, "its spectrum is not in the cache any more");
        note_failure(k->a, k->row, w->row[k->row].missing, &gone);
        row_over(k->a, k->row);
    }
    free(k);
}

static void load_more(struct analyze *a)
{
    struct measuring *w = a->measuring;
    size_t most = SPECTRA_LOADED * pool_size(sched_pool(a->job->svc->sched));

    for (; w->next < a->layers.count && w->n_loaded < most; w->next++)
        if (w->row[w->next].missing) {
            w->n_loaded++;
            call_store(a, w->next, load_run, load_done);
        }
}

/* --- the stage ----------------------------------------------------------------------------- */

static void lookup_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;
    const struct measuring *w = a->measuring;

    (void)group_err; /* a full cache costs time, not results */
    if (a->job->ended)
        return;
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
    job_call_store(a->job, lookup_run, lookup_done, a);
}
