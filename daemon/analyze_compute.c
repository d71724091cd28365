/* analyze_compute.c: rows that the cache does not answer become tasks: from a cached spectrum, from
 * the weights, or from Gram matrices of line ranges; or they wait for another job's result.
 */
#include "daemon/analyze.h"

#include "common/fdio.h"
#include "daemon/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FIT_COST_PER_EVAL 2e3 /* operations, for estimates */

void analyze_add_files(const struct analyze *a, const struct layer *l, struct task *t)
{
    if (l->made == MADE_TENSOR)
        t->fd[t->n_fds++] = analyze_file(a, l->file)->fd;
    for (size_t i = 0; i < layer_n_parts(l->made); i++)
        t->fd[t->n_fds++] = analyze_file(a, l->part[i].file)->fd;
}

static uint64_t long_side(const struct layer *l)
{
    return l->rows > l->cols ? l->rows : l->cols;
}

static uint64_t short_side(const struct layer *l)
{
    return l->rows > l->cols ? l->cols : l->rows;
}

static void row_failed(struct analyze *a, size_t row, const struct err *err)
{
    a->lw[row].outcome = OUT_FAILED;
    a->lw[row].err = *err;
    log_warn("job %s: layer \"%.100s\" failed: %s", a->job->rec.id, a->layers.l[row].longname,
             err->text);
    analyze_row_done(a, row, -1, 0);
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
    analyze_row_done(a, row, fd, len);
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
    if (r == 0 && !analyze_note_spectrum(&a->layers.l[row], &a->lw[row], &rec))
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

static void look_again(struct analyze *a, size_t row);

static void solved(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    size_t row = t->tag[0], len = 0;
    struct err bad = {0};

    drop_grams(a, &a->lw[row]);
    if (!m && !err) {
        look_again(a, row);
        return;
    }
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
    int fd;
    int r = memfd_of("spectrum", w->spectrum.data, w->spectrum.len, &fd, &err);

    buf_done(&w->spectrum);
    t->tag[0] = row;
    t->label = a->layers.l[row].longname;
    t->flops = w->flops;
    t->bytes = w->bytes;
    t->fd[0] = fd;
    t->n_fds = 1;
    buf_put_u8(&t->body, a->params.compat);
    buf_put_f64(&t->body, analyze_scale(&a->layers.l[row]));
    fit_options_put(&t->body, &a->params.fit);
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
    struct weights weights;

    t->tag[0] = row;
    t->label = l->longname;
    t->key = w->unshared ? NULL : &w->spectrum_key;
    t->flops = flops;
    t->bytes = w->bytes;
    analyze_add_files(a, l, t);
    for (size_t i = 0; i < w->parts; i++)
        t->fd[t->n_fds++] = w->gram_fd[i];
    weights_of_layer(l, &weights);
    memcpy(&weights.seed, w->content.b, sizeof weights.seed);
    weights_put(&t->body, &weights);
    buf_put_u8(&t->body, (uint8_t)a->params.precision);
    buf_put_u8(&t->body, a->params.compat);
    buf_put_f64(&t->body, analyze_scale(l));
    buf_put_u32(&t->body, (uint32_t)w->parts);
    fit_options_put(&t->body, &a->params.fit);
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
    (void)analyze_note_spectrum(l, w, &rec);
    w->outcome = OUT_NONFINITE;
    if (memfd_new("spectrum", len, &fd, &map, NULL) == 0) {
        spectrum_record_write(&rec, map);
        (void)munmap(map, len);
        if (memfd_seal(fd, NULL) < 0)
            fd_close(&fd);
    }
    analyze_row_done(a, row, fd, len);
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
    } else if (err) {
        w->err = *err;
    }
    w->elsewhere = w->elsewhere || (!m && !err);
    if (--w->parts_left > 0)
        return;
    if (w->elsewhere) {
        drop_grams(a, w);
        look_again(a, row);
    } else if (w->err.code) {
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
    struct weights weights;
    double n = (double)short_side(l);

    t->tag[0] = row;
    t->tag[1] = part;
    t->label = l->longname;
    t->key = w->unshared ? NULL : &w->spectrum_key;
    t->flops = n * n * (double)long_side(l) / (double)w->parts;
    weights_of_layer(l, &weights);
    t->bytes = 8 * n * n + 64e6 + weights_bytes(&weights);
    analyze_add_files(a, l, t);
    weights_put(&t->body, &weights);
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
    struct weights weights;

    weights_of_layer(l, &weights);
    w->parts = l->n_slices == 1 && a->params.precision == PRECISION_DOUBLE && !layer_is_product(l)
                   ? spectrum_parts(n_long, n_short)
                   : 1;
    w->flops = layer_is_product(l) ? weights_product_flops(&weights)
                                   : spectrum_flops(n_long, n_short) * (double)l->n_slices;
    w->bytes =
        weights_bytes(&weights) + (layer_is_product(l) ? 0 : spectrum_bytes(n_long, n_short));
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

struct look {
    struct analyze *a;
    size_t row;
};

static void look_run(void *arg, void *state)
{
    struct look *k = arg;

    analyze_lookup_row(k->a, job_store(state), k->row);
}

/* The cache has the row, or the spectrum for another fit, or (it was full) nothing after all. */
static void look_done(void *arg, const struct err *group_err)
{
    struct look *k = arg;
    struct analyze *a = k->a;
    struct layer_work *w = &a->lw[k->row];
    struct job *j = a->job;

    (void)group_err;
    if (j->ended) {
        free(k);
        return;
    }
    if (w->outcome != OUT_WANTED) {
        j->flops_done += w->flops;
        j->rec.layers_done += w->n_led;
        j->rec.hits++;
        metric_inc(j->svc->m_hits, "fit", 1);
        job_changed(j);
        analyze_row_finished(a);
    } else {
        w->unshared = true;
        j->flops_total -= w->flops;
        estimate(a, k->row);
        j->flops_total += w->flops;
        a->waiting--; /* start_row() counts it again */
        start_row(a, k->row);
    }
    free(k);
}

/* Another job has computed the spectrum since this one looked. */
static void look_again(struct analyze *a, size_t row)
{
    struct layer_work *w = &a->lw[row];
    struct look *k = xmalloc(sizeof *k);

    *k = (struct look){a, row};
    free(w->gram_fd);
    w->gram_fd = NULL;
    w->elsewhere = false;
    w->n_nonfinite = 0;
    w->err.code = 0;
    job_call_store(a->job, look_run, look_done, k);
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
        analyze_row_finished(a);
}
