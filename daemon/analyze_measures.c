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

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Spectra that are in memory at a time, for each worker. */
#define SPECTRA_LOADED 2

struct row_measures {
    struct measure_result *result; /* of those that are wanted, in order; NULL: none */
    uint32_t missing;              /* not in the cache */
    const char *failed;            /* why they stay so; a literal */
    int fd;                        /* the spectrum, on its way to a worker */
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
    *failed = w->row[row].missing & 1u << m ? w->row[row].failed : NULL;
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
    if (m == MEASURE_MP)
        hasher_add_u64(h, a->params.measure.mp);
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

static double flops_of(const struct analyze *a, size_t row)
{
    const struct layer *l = &a->layers.l[row];
    uint64_t n = (l->rows < l->cols ? l->rows : l->cols) * l->n_slices;
    double flops = 0;

    for (unsigned m = 0; m < MEASURE_COUNT; m++)
        if (a->measuring->row[row].missing & 1u << m)
            flops += measure_flops((enum measure)m, (size_t)n);
    return flops;
}

static void row_over(struct analyze *a, size_t row)
{
    fd_close(&a->measuring->row[row].fd);
    a->measuring->n_loaded--;
    job_changed(a->job);
    load_more(a);
    analyze_row_finished(a);
}

static void row_failed(struct analyze *a, size_t row, const struct err *err)
{
    a->measuring->row[row].failed = err_name(err->code);
    log_warn("job %s: measures of layer \"%.100s\": %s", a->job->rec.id, a->layers.l[row].longname,
             err->text);
    row_over(a, row);
}

static void keep_run(void *arg, void *state)
{
    const struct row_message *k = arg;
    const struct measuring *w = k->a->measuring;
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        AUTO(buf_done) struct buf b = BUF_INIT;
        struct digest key;

        if (!(w->row[k->row].missing & 1u << m))
            continue;
        make_key(h, k->a, k->row, (enum measure)m, &key);
        measure_result_put(&b, (enum measure)m, result_at(w, k->row, (enum measure)m));
        (void)store_cache_put(job_store(state), CACHE_FIT, &key, b.data, b.len, NULL);
    }
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

static void measured(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    size_t row = t->tag[0];
    struct measuring *w = a->measuring;
    struct reader r;
    struct err bad;
    bool good = true;

    a->job->flops_done += t->flops;
    if (!m) {
        row_failed(a, row, err);
        return;
    }
    reader_init(&r, m->body.data, m->body.len);
    for (unsigned i = 0; good && i < MEASURE_COUNT; i++)
        if (w->row[row].missing & 1u << i)
            good = measure_result_get(&r, (enum measure)i, result_at(w, row, (enum measure)i));
    if (!good || !reader_ok(&r)) {
        (void)err_set(&bad, ERR_CRASHED, "a worker sent malformed measures");
        row_failed(a, row, &bad);
        return;
    }
    call_store(a, row, keep_run, keep_done);
}

static void add_task(struct analyze *a, size_t row)
{
    struct row_measures *f = &a->measuring->row[row];
    struct measure_task mt = {.wanted = f->missing,
                              .opt = a->params.measure,
                              .scale = analyze_scale(&a->layers.l[row]),
                              .fit = a->lw[row].values};
    struct task *t = task_new(WORKER_COMPUTE, WIRE_MEASURE, measured, a);
    const struct layer *l = &a->layers.l[row];

    t->tag[0] = row;
    t->label = l->longname;
    t->flops = flops_of(a, row);
    t->bytes = 64.0 * (double)(l->rows < l->cols ? l->rows : l->cols) * (double)l->n_slices + 1e6;
    t->fd[0] = f->fd;
    t->n_fds = 1;
    measure_task_put(&t->body, &mt);
    sched_add(a->job->lane, t);
}

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
    struct err gone;

    (void)group_err;
    if (!k->a->job->ended && k->a->measuring->row[k->row].fd >= 0) {
        add_task(k->a, k->row);
    } else if (!k->a->job->ended) {
        (void)err_set(&gone, ERR_GONE, "its spectrum is not in the cache any more");
        row_failed(k->a, k->row, &gone);
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
        a->job->flops_total += flops_of(a, i);
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
        w->row[i].fd = -1;
        if (a->lw[i].leader < 0 && a->lw[i].outcome == OUT_DONE)
            w->row[i].result = xcalloc(w->n_wanted, sizeof *w->row[i].result);
    }
    job_call_store(a->job, lookup_run, lookup_done, a);
}
