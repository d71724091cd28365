/* analyze_compute.c: rows -> values: from the cache, from a cached spectrum, or from the weights.
 *
 *   spectrum key = H(version, unit digest, layout, precision)
 *   fit key      = H(fit versions, spectrum key, scale, compat)
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

#define FIT_COST_PER_EVAL 2e3 /* operations, for estimates */

double analyze_scale(const struct layer *l)
{
    return l->type == TYPE_CONV2D ? 0.5 : 1.0;
}

static struct wire_matrix matrix_of(const struct layer *l)
{
    return (struct wire_matrix){.dtype = l->dtype,
                                .offset = l->offset,
                                .nbytes = l->nbytes,
                                .rows = l->rows,
                                .cols = l->cols,
                                .n_slices = l->n_slices,
                                .row_stride = l->row_stride,
                                .col_stride = l->col_stride,
                                .slice_stride = l->slice_stride};
}

static uint64_t long_side(const struct layer *l)
{
    return l->rows > l->cols ? l->rows : l->cols;
}

static uint64_t short_side(const struct layer *l)
{
    return l->rows > l->cols ? l->cols : l->rows;
}

/* --- keys ---------------------------------------------------------------------------------- */

static void make_keys(struct hasher *h, const struct analyze *a, size_t i)
{
    const struct layer *l = &a->layers.l[i];
    struct layer_work *w = &a->lw[i];
    double scale = analyze_scale(l);

    w->content = analyze_unit_of(a, l)->digest;
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

/* What a row keeps of its spectrum. False when it does not fit the row. */
static bool note_spectrum(const struct layer *l, struct layer_work *w,
                          const struct spectrum_record *rec)
{
    if (rec->n_long != long_side(l) || rec->n_per_slice != short_side(l) ||
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

static void lookup_row(struct analyze *a, struct store *st, size_t i)
{
    struct layer_work *w = &a->lw[i];
    struct spectrum_record rec;
    struct buf b = BUF_INIT;

    if (store_cache_find(st, CACHE_FIT, &w->fit_key, &b, NULL) == 0 && fit_read(&b, w)) {
        w->outcome = OUT_DONE;
        w->hit = true;
    } else if (store_cache_find(st, CACHE_SPECTRUM, &w->spectrum_key, &w->spectrum, NULL) == 0) {
        if (spectrum_record_parse(w->spectrum.data, w->spectrum.len, &rec, NULL) < 0 ||
            !note_spectrum(&a->layers.l[i], w, &rec)) {
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
    for (size_t i = 0; i < a->layers.count; i++)
        if (a->lw[i].outcome == OUT_WANTED)
            make_keys(h, a, i);
    find_leaders(a);
    for (size_t i = 0; i < a->layers.count; i++)
        if (a->lw[i].outcome == OUT_WANTED && a->lw[i].leader < 0)
            lookup_row(a, job_store(state), i);
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

static void row_finished(struct analyze *a);

static void result_done(void *arg, const struct err *group_err)
{
    struct result *r = arg;

    if (group_err)
        log_warn("results could not be cached: %s", group_err->text);
    fd_close(&r->spectrum_fd);
    buf_done(&r->fit);
    if (!r->a->job->ended)
        row_finished(r->a);
    free(r);
}

static void row_finished(struct analyze *a)
{
    if (--a->waiting == 0)
        analyze_next(a);
}

/* The row's outcome is set: count it, keep it, show it. */
static void row_done(struct analyze *a, size_t row, int spectrum_fd, size_t spectrum_len)
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

static void row_failed(struct analyze *a, size_t row, const struct err *err)
{
    a->lw[row].outcome = OUT_FAILED;
    a->lw[row].err = *err;
    log_warn("job %s: layer \"%.100s\" failed: %s", a->job->rec.id, a->layers.l[row].longname,
             err->text);
    row_done(a, row, -1, 0);
}

/* --- tasks --------------------------------------------------------------------------------- */

static void got_values(struct analyze *a, size_t row, const struct wire_message *m, int fd,
                       size_t len)
{
    struct layer_work *w = &a->lw[row];
    struct err err = {0};

    if (w->n_nonfinite) {
        w->outcome = OUT_NONFINITE;
    } else if (values_record_parse(m->body.data, m->body.len, &w->values, &err) == 0) {
        w->outcome = OUT_DONE;
    } else {
        row_failed(a, row, &err);
        fd_close(&fd);
        return;
    }
    row_done(a, row, fd, len);
}

static void fitted(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    size_t row = t->tag[0];
    int fd = t->fd[0]; /* the record's memory file, ours */

    fd_close(&fd);
    if (m)
        got_values(a, row, m, -1, 0);
    else
        row_failed(a, row, err);
}

static int check_spectrum(struct analyze *a, size_t row, const struct wire_message *m, size_t *len,
                          struct err *err)
{
    struct spectrum_record rec;
    const void *map = NULL;
    int r;

    if (m->n_fds != 1)
        return err_set(err, ERR_CRASHED, "a worker sent no spectrum");
    r = memfd_sealed_size(m->fd[0], len, err);
    if (r == 0)
        r = memfd_map_sealed(m->fd[0], *len, &map, err);
    if (r < 0)
        return r;
    r = spectrum_record_parse(map, *len, &rec, err);
    if (r == 0 && !note_spectrum(&a->layers.l[row], &a->lw[row], &rec))
        r = err_set(err, ERR_CRASHED, "a worker sent a spectrum of another shape");
    (void)munmap((void *)(uintptr_t)map, *len);
    return r;
}

struct closing {
    int fd[SPECTRUM_PARTS_MAX];
    size_t n;
};

static void closing_run(void *arg, void *state)
{
    struct closing *c = arg;

    (void)state;
    for (size_t i = 0; i < c->n; i++)
        fd_close(&c->fd[i]);
}

static void closing_done(void *arg, const struct err *err)
{
    (void)err;
    free(arg);
}

/* Giving back a Gram matrix's memory takes tens of milliseconds: not on the loop. */
static void drop_grams(struct analyze *a, struct layer_work *w)
{
    struct closing *c;

    if (!w->gram_fd)
        return;
    c = xcalloc(1, sizeof *c);
    for (size_t i = 0; i < w->parts; i++) {
        c->fd[c->n++] = w->gram_fd[i];
        w->gram_fd[i] = -1;
    }
    actor_send(a->job->svc->file_actor, closing_run, closing_done, c);
}

static void solved(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    size_t row = t->tag[0], len = 0;
    struct err bad = {0};

    drop_grams(a, &a->lw[row]);
    if (m && check_spectrum(a, row, m, &len, &bad) == 0) {
        int fd = m->fd[0];

        m->fd[0] = -1;
        got_values(a, row, m, fd, len);
    } else {
        row_failed(a, row, m ? &bad : err);
    }
}

static void add_fit(struct analyze *a, size_t row)
{
    struct layer_work *w = &a->lw[row];
    struct task *t = task_new(WORKER_COMPUTE, WIRE_FIT, fitted, a);
    struct err err = {0};
    void *map = NULL;
    int fd = -1;
    int r = memfd_new("spectrum", w->spectrum.len, &fd, &map, &err);

    if (r == 0) {
        memcpy(map, w->spectrum.data, w->spectrum.len);
        (void)munmap(map, w->spectrum.len);
        r = memfd_seal(fd, &err);
    }
    buf_done(&w->spectrum);
    t->tag[0] = row;
    t->label = a->layers.l[row].longname;
    t->flops = w->flops;
    t->bytes = w->bytes;
    t->fd[0] = fd;
    t->n_fds = 1;
    buf_put_u8(&t->body, a->params.compat);
    buf_put_f64(&t->body, analyze_scale(&a->layers.l[row]));
    a->waiting++;
    if (r < 0) {
        fitted(a, t, NULL, &err);
        free(t->body.data);
        free(t);
        return;
    }
    sched_add(a->job->lane, t);
}

static void add_spectrum(struct analyze *a, size_t row, double flops)
{
    const struct layer *l = &a->layers.l[row];
    struct layer_work *w = &a->lw[row];
    struct task *t = task_new(WORKER_COMPUTE, WIRE_SPECTRUM, solved, a);
    struct wire_matrix m = matrix_of(l);

    t->tag[0] = row;
    t->label = l->longname;
    t->flops = flops;
    t->bytes = w->bytes;
    t->fd[t->n_fds++] = a->source->file[l->file].fd;
    for (size_t i = 0; i < w->parts; i++)
        t->fd[t->n_fds++] = w->gram_fd[i];
    wire_put_matrix(&t->body, &m);
    buf_put_u8(&t->body, (uint8_t)a->params.precision);
    buf_put_u8(&t->body, a->params.compat);
    buf_put_f64(&t->body, analyze_scale(l));
    buf_put_u32(&t->body, (uint32_t)w->parts);
    sched_add(a->job->lane, t);
}

/* A Gram matrix met NaN or Inf: there will be no spectrum, only a record that says so. */
static void gram_nonfinite(struct analyze *a, size_t row)
{
    const struct layer *l = &a->layers.l[row];
    struct layer_work *w = &a->lw[row];
    struct spectrum_record rec = {.method = SPECTRUM_GRAM_TWO_STAGE,
                                  .precision = a->params.precision,
                                  .n_nonfinite = w->n_nonfinite,
                                  .n_long = long_side(l),
                                  .n_per_slice = short_side(l),
                                  .n_slices = 1};
    size_t len = spectrum_record_size(0);
    void *map = NULL;
    int fd = -1;

    drop_grams(a, w);
    (void)note_spectrum(l, w, &rec);
    w->outcome = OUT_NONFINITE;
    if (memfd_new("spectrum", len, &fd, &map, NULL) == 0) {
        spectrum_record_write(&rec, map);
        (void)munmap(map, len);
        if (memfd_seal(fd, NULL) < 0)
            fd_close(&fd);
    }
    row_done(a, row, fd, len);
}

static void gram_formed(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    size_t row = t->tag[0], part = t->tag[1];
    struct layer_work *w = &a->lw[row];
    struct reader r;

    if (m) {
        reader_init(&r, m->body.data, m->body.len);
        w->n_nonfinite += reader_u64(&r);
        if (reader_ok(&r) && m->n_fds == 1) {
            w->gram_fd[part] = m->fd[0];
            m->fd[0] = -1;
        } else {
            err_set(&w->err, ERR_CRASHED, "a worker sent a malformed Gram matrix");
        }
    } else {
        w->err = *err;
    }
    if (--w->parts_left > 0)
        return;
    if (w->err.code) {
        struct err why = w->err;

        drop_grams(a, w);
        row_failed(a, row, &why);
    } else if (w->n_nonfinite) {
        gram_nonfinite(a, row);
    } else {
        double n = (double)short_side(&a->layers.l[row]);

        add_spectrum(a, row, 4.0 / 3.0 * n * n * n);
    }
}

static void add_gram(struct analyze *a, size_t row, size_t part)
{
    const struct layer *l = &a->layers.l[row];
    struct layer_work *w = &a->lw[row];
    struct task *t = task_new(WORKER_COMPUTE, WIRE_GRAM, gram_formed, a);
    struct wire_matrix m = matrix_of(l);
    double n = (double)short_side(l);

    t->tag[0] = row;
    t->tag[1] = part;
    t->label = l->longname;
    t->flops = n * n * (double)long_side(l) / (double)w->parts;
    t->bytes = 8 * n * n + 64e6;
    t->fd[0] = a->source->file[l->file].fd;
    t->n_fds = 1;
    wire_put_matrix(&t->body, &m);
    buf_put_u32(&t->body, (uint32_t)part);
    buf_put_u32(&t->body, (uint32_t)w->parts);
    sched_add(a->job->lane, t);
}

/* --- the stage ----------------------------------------------------------------------------- */

static void estimate(struct analyze *a, size_t row)
{
    const struct layer *l = &a->layers.l[row];
    struct layer_work *w = &a->lw[row];
    uint64_t n_long = long_side(l), n_short = short_side(l);
    struct wire_matrix m = matrix_of(l);

    w->parts = l->n_slices == 1 && a->params.precision == PRECISION_DOUBLE
                   ? spectrum_parts(n_long, n_short)
                   : 1;
    w->flops = spectrum_flops(n_long, n_short) * (double)l->n_slices;
    w->bytes = spectrum_bytes(n_long, n_short);
    if (m.n_slices > 1)
        w->bytes += (double)l->nbytes;
    if (w->parts > 1)
        w->bytes += 8.0 * (double)n_short * (double)n_short * (double)w->parts;
    if (w->hit) { /* only the fit is missing */
        w->flops = (double)(n_short * l->n_slices) * FIT_COST_PER_EVAL;
        w->bytes = 64.0 * (double)(n_short * l->n_slices);
    }
}

static void start_row(struct analyze *a, size_t row)
{
    struct layer_work *w = &a->lw[row];
    double budget = sched_budget(a->job->svc->sched);
    struct err err = {0};

    if (w->hit) {
        add_fit(a, row);
        return;
    }
    a->waiting++;
    if (w->bytes > budget) {
        err_set(&err, ERR_LIMIT,
                "needs about %.0f MB of memory, the limit for all workers is %.0f MB",
                w->bytes / 1e6, budget / 1e6);
        row_failed(a, row, &err);
        return;
    }
    if (w->parts <= 1) {
        w->parts = 0;
        add_spectrum(a, row, w->flops);
        return;
    }
    w->parts_left = w->parts;
    w->gram_fd = xcalloc(w->parts, sizeof *w->gram_fd);
    for (size_t i = 0; i < w->parts; i++)
        w->gram_fd[i] = -1;
    for (size_t i = 0; i < w->parts; i++)
        add_gram(a, row, i);
}

/* Rows that the cache answered are done before anything starts. */
static void count_cached(struct analyze *a, size_t row)
{
    struct job *j = a->job;
    const struct layer_work *w = &a->lw[row];

    if (w->outcome == OUT_WANTED || w->outcome == OUT_SKIPPED || w->leader >= 0)
        return;
    j->rec.layers_done += w->n_led;
    j->rec.hits++;
    metric_inc(j->svc->m_hits, "fit", 1);
}

void analyze_compute(struct analyze *a)
{
    struct job *j = a->job;
    size_t wanted = 0;

    a->waiting = 1; /* keeps the stage open until every row has been started */
    for (size_t i = 0; i < a->layers.count; i++)
        count_cached(a, i);
    for (size_t i = 0; i < a->layers.count; i++) {
        if (a->lw[i].outcome != OUT_WANTED || a->lw[i].leader >= 0)
            continue;
        estimate(a, i);
        j->flops_total += a->lw[i].flops;
        wanted++;
    }
    if (wanted)
        analyze_needs_work(a);
    for (size_t i = 0; i < a->layers.count && !j->ended; i++)
        if (a->lw[i].outcome == OUT_WANTED && a->lw[i].leader < 0)
            start_row(a, i);
    if (!j->ended)
        row_finished(a);
}
