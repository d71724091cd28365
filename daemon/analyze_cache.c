/* analyze_cache.c: what an analyze job takes from the cache and puts into it.
 *
 *   spectrum key = H(version, content, layout, precision)
 *   fit key      = H(fit versions, spectrum key, scale, compat, how it is fitted)
 *
 * Rows with the same fit key (tied embeddings) are computed once. Every result goes into the
 * cache as it arrives, so a job that is interrupted goes on where it was.
 */
#include "daemon/analyze.h"

#include "common/fdio.h"
#include "compute/powerlaw.h"
#include "daemon/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

double analyze_scale(const struct layer *l)
{
    return l->type == TYPE_CONV2D ? 0.5 : 1.0;
}

/* --- keys ---------------------------------------------------------------------------------- */

static void add_fit_options(struct hasher *h, const struct layer_fit_options *o)
{
    AUTO(buf_done) struct buf b = BUF_INIT;

    if (layer_fit_is_default(o))
        return;
    hasher_add_u64(h, LAYER_FIT_VERSION);
    fit_options_put(&b, o);
    hasher_add(h, b.data, b.len);
}

static void make_keys(struct hasher *h, const struct analyze *a, size_t i)
{
    const struct layer *l = &a->layers.l[i];
    struct layer_work *w = &a->lw[i];
    double scale = analyze_scale(l);

    analyze_content(h, a, l, &w->content);
    hasher_add_str(h, "spectrald-spectrum");
    hasher_add_u64(h, SPECTRUM_VERSION);
    hasher_add(h, w->content.b, DIGEST_LEN);
    hasher_add_u64(h, l->n_slices);
    hasher_add_u64(h, l->row_stride);
    hasher_add_u64(h, l->col_stride);
    hasher_add_u64(h, l->slice_stride);
    hasher_add_u64(h, a->params.precision);
    hasher_finish(h, &w->spectrum_key);
    hasher_add_str(h, "spectrald-fit");
    hasher_add_u64(h, POWERLAW_VERSION);
    hasher_add_u64(h, LAYER_METRICS_VERSION);
    hasher_add(h, w->spectrum_key.b, DIGEST_LEN);
    hasher_add(h, &scale, sizeof scale);
    hasher_add_u64(h, a->params.compat);
    add_fit_options(h, &a->params.fit);
    hasher_finish(h, &w->fit_key);
}

struct key_index {
    struct digest key;
    size_t row;
};

static int by_key(const void *a, const void *b)
{
    const struct key_index *x = a, *y = b;
    int c = memcmp(x->key.b, y->key.b, DIGEST_LEN);

    return c ? c : (x->row > y->row) - (x->row < y->row);
}

static void find_leaders(struct analyze *a)
{
    AUTO(freep) struct key_index *v = xcalloc(a->layers.count, sizeof *v);
    size_t n = 0, lead = 0;

    for (size_t i = 0; i < a->layers.count; i++)
        if (a->lw[i].outcome == OUT_WANTED)
            v[n++] = (struct key_index){a->lw[i].fit_key, i};
    if (n)
        qsort(v, n, sizeof *v, by_key);
    for (size_t k = 1; k < n; k++) {
        if (!digest_equal(&v[k].key, &v[lead].key)) {
            lead = k;
            continue;
        }
        a->lw[v[k].row].leader = (int64_t)v[lead].row;
        a->lw[v[lead].row].n_led++;
    }
}

/* --- records ------------------------------------------------------------------------------- */

bool analyze_note_spectrum(const struct layer *l, struct layer_work *w,
                           const struct spectrum_record *rec)
{
    uint64_t n_long, n_short;

    layer_sides(l, false, &n_long, &n_short);
    if (rec->n_long != n_long || rec->n_per_slice != layer_n_values(l) ||
        rec->n_slices != l->n_slices)
        return false;
    w->method = rec->method;
    w->precision = rec->precision;
    w->error_bound = rec->error_bound;
    w->n_nonfinite = rec->n_nonfinite;
    memcpy(w->core, rec->core, sizeof w->core);
    return true;
}

/* The fit's cache entry: the spectrum's facts that a row shows, then the values. */
static void fit_write(const struct layer_work *w, struct buf *out)
{
    buf_put_u32(out, w->method);
    buf_put_u32(out, w->precision);
    buf_put_f64(out, w->error_bound);
    buf_put(out, w->core, sizeof w->core);
    values_record_write(&w->values, out);
}

static bool fit_read(const struct buf *b, struct layer_work *w)
{
    struct reader r;
    uint32_t method, precision;
    double bound;
    const char *core;

    reader_init(&r, b->data, b->len);
    method = reader_u32(&r);
    precision = reader_u32(&r);
    bound = reader_f64(&r);
    core = reader_bytes(&r, sizeof w->core);
    if (r.fault || method >= SPECTRUM_METHOD_COUNT || precision > PRECISION_SINGLE ||
        values_record_parse(r.p, (size_t)(r.end - r.p), &w->values, NULL) < 0)
        return false;
    w->method = (enum spectrum_method)method;
    w->precision = (enum precision)precision;
    w->error_bound = bound;
    memcpy(w->core, core, sizeof w->core);
    w->core[sizeof w->core - 1] = '\0';
    return true;
}

/* --- lookup -------------------------------------------------------------------------------- */

static void remember_digests(struct analyze *a, struct store *st)
{
    size_t u = 0;

    for (size_t f = 0; f < a->n_tables; f++) {
        struct input *in = &a->input[a->n_side + f];
        struct file_record rec = {.table = in->bytes};

        buf_reset(&in->digests);
        for (; u < a->n_units && a->unit[u].file == f; u++)
            buf_put(&in->digests, a->unit[u].digest.b, DIGEST_LEN);
        rec.digests = in->digests;
        if (!in->found && !source_file_fresh(in->file, a->hash_start_ms))
            (void)store_file_put(st, &in->file->id, &rec, NULL);
    }
}

void analyze_lookup_row(struct analyze *a, struct store *st, size_t i)
{
    struct layer_work *w = &a->lw[i];
    struct spectrum_record rec;
    struct buf b = BUF_INIT;

    /* A fit without its spectrum is of no use to who wants to see the eigenvalues. */
    if (store_cache_known(st, CACHE_SPECTRUM, &w->spectrum_key) &&
        store_cache_find(st, CACHE_FIT, &w->fit_key, &b, NULL) == 0 && fit_read(&b, w)) {
        w->outcome = OUT_DONE;
        w->hit = true;
    } else if (store_cache_find(st, CACHE_SPECTRUM, &w->spectrum_key, &w->spectrum, NULL) == 0) {
        if (spectrum_record_parse(w->spectrum.data, w->spectrum.len, &rec, NULL) < 0 ||
            !analyze_note_spectrum(&a->layers.l[i], w, &rec)) {
            buf_done(&w->spectrum);
        } else {
            w->hit = true;
            if (w->n_nonfinite)
                w->outcome = OUT_NONFINITE;
        }
    }
    buf_done(&b);
}

static void lookup_run(void *arg, void *state)
{
    struct analyze *a = arg;
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    remember_digests(a, job_store(state));
    if (a->plan && !analyze_plan_needs_spectra(a))
        return;
    for (size_t i = 0; i < a->layers.count; i++)
        if (a->lw[i].outcome == OUT_WANTED)
            make_keys(h, a, i);
    find_leaders(a);
    for (size_t i = 0; i < a->layers.count; i++)
        if (a->lw[i].outcome == OUT_WANTED && a->lw[i].leader < 0)
            analyze_lookup_row(a, job_store(state), i);
}

static void lookup_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err; /* a full cache costs time, not results */
    if (!a->job->ended)
        analyze_next(a);
}

void analyze_lookup(struct analyze *a)
{
    job_call_store(a->job, lookup_run, lookup_done, a);
}

/* --- results ------------------------------------------------------------------------------- */

/* One result on its way to the cache. */
struct result {
    struct analyze *a;
    size_t row;
    int spectrum_fd; /* sealed memory file, or -1 */
    size_t spectrum_len;
    struct buf fit;
    uint64_t layers_done, hits, misses;
};

static void put_spectrum(struct result *r, struct store *st)
{
    const struct layer_work *w = &r->a->lw[r->row];
    const void *map = NULL;

    if (r->spectrum_fd < 0 || memfd_map_sealed(r->spectrum_fd, r->spectrum_len, &map, NULL) < 0)
        return;
    (void)store_cache_put(st, CACHE_SPECTRUM, &w->spectrum_key, map, r->spectrum_len, NULL);
    (void)munmap((void *)(uintptr_t)map, r->spectrum_len);
}

static void result_run(void *arg, void *state)
{
    struct result *r = arg;
    const struct job_record *rec = &r->a->job->rec; /* id and attempt never change */
    struct store *st = job_store(state);

    put_spectrum(r, st);
    if (r->fit.len)
        (void)store_cache_put(st, CACHE_FIT, &r->a->lw[r->row].fit_key, r->fit.data, r->fit.len,
                              NULL);
    (void)store_job_progress(st, rec->id, rec->attempt, r->layers_done, rec->layers_total, r->hits,
                             r->misses, NULL);
}

void analyze_row_finished(struct analyze *a)
{
    if (--a->waiting == 0)
        analyze_next(a);
}

static void result_done(void *arg, const struct err *group_err)
{
    struct result *r = arg;
    const struct job *j = r->a->job;
    bool stored = !group_err && r->spectrum_fd >= 0;

    if (group_err)
        log_warn("results could not be cached: %s", group_err->text);
    fd_close(&r->spectrum_fd);
    buf_done(&r->fit);
    if (!j->ended) {
        sched_key_done(j->lane, &r->a->lw[r->row].spectrum_key, stored);
        analyze_row_finished(r->a);
    }
    free(r);
}

void analyze_row_done(struct analyze *a, size_t row, int spectrum_fd, size_t spectrum_len)
{
    struct job *j = a->job;
    struct layer_work *w = &a->lw[row];
    struct result *r = xcalloc(1, sizeof *r);

    j->rec.layers_done += w->n_led;
    j->flops_done += w->flops;
    if (w->outcome != OUT_FAILED && !w->hit) {
        j->rec.misses++;
        metric_inc(j->svc->m_misses, "spectrum", 1);
    } else if (w->hit) {
        j->rec.hits++;
        metric_inc(j->svc->m_hits, "spectrum", 1);
    }
    if (w->n_nonfinite)
        metric_inc(j->svc->m_nonfinite, "", 1);
    metric_inc(j->svc->m_layers, dtype_name(a->layers.l[row].dtype), 1);
    *r = (struct result){.a = a,
                         .row = row,
                         .spectrum_fd = spectrum_fd,
                         .spectrum_len = spectrum_len,
                         .layers_done = j->rec.layers_done,
                         .hits = j->rec.hits,
                         .misses = j->rec.misses};
    if (w->outcome == OUT_DONE)
        fit_write(w, &r->fit);
    job_changed(j);
    job_call_store(j, result_run, result_done, r);
}
