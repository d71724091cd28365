/* analyze_weigh.c: see analyze_weigh.h.
 *
 * Wants of one row are counted together, in parts of the tensor, so that several workers share a
 * large one. Parts are added up in their order once all are there, on the file thread: sums of
 * squares do not depend on which worker was first.
 */
#include "daemon/analyze_weigh.h"

#include "common/fdio.h"
#include "daemon/log.h"
#include "daemon/magnitude_task.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define COUNT_COST 8.0 /* operations per byte, for estimates */

/* Wants [first, first + n), of one row and level. */
struct group {
    size_t first, n;
    struct part {
        int fd;                            /* sealed memory file, or -1 */
        uint32_t len[MAGNITUDE_SLOTS_MAX]; /* of its histograms */
    } * part;
    size_t n_parts, left;
};

struct weighing {
    const struct metric_rows *rows;
    struct plan_weights *weights;
    void (*then)(struct analyze *a);
    struct group *group;
    size_t n_groups, waiting;
    size_t n_put; /* groups added up: wants to be cached from here */
    struct err err;
};

static void groups_free(struct weighing *w)
{
    for (size_t g = 0; g < w->n_groups; g++) {
        for (size_t i = 0; i < w->group[g].n_parts; i++)
            fd_close(&w->group[g].part[i].fd);
        free(w->group[g].part);
    }
    free(w->group);
    w->group = NULL;
    w->n_groups = 0;
}

void analyze_weigh_free(struct analyze *a)
{
    if (!a->weighing)
        return;
    groups_free(a->weighing);
    free(a->weighing);
    a->weighing = NULL;
}

static void finish(struct analyze *a)
{
    void (*then)(struct analyze * a) = a->weighing->then;

    analyze_weigh_free(a);
    then(a);
}

/* --- what was counted ------------------------------------------------------------------------ */

/* Histogram `k` of a part, which must be of the right thing; 0 when there is no part yet. */
static int take_part(const struct part *p, size_t n, size_t k, struct magnitudes *out,
                     struct err *err)
{
    size_t total = 0, at = 0;
    const void *map = NULL;
    int r;

    for (size_t i = 0; i < n; i++) {
        at += i < k ? p->len[i] : 0;
        total += p->len[i];
    }
    r = memfd_map_sealed(p->fd, total, &map, err);
    if (r < 0)
        return r;
    r = magnitudes_parse((const uint8_t *)map + at, p->len[k], out, err);
    (void)munmap((void *)(uintptr_t)map, total);
    return r;
}

static int add_want(struct weighing *w, const struct group *g, size_t k)
{
    const struct weight_want *x = &w->weights->want[g->first + k];
    const struct metric_row *row = &w->rows->row[x->row];
    struct magnitudes sum = MAGNITUDES_INIT, m = MAGNITUDES_INIT;
    struct buf bytes = BUF_INIT;
    enum magnitude_format format;
    int r = 0;

    for (size_t i = 0; r == 0 && i < g->n_parts; i++) {
        r = take_part(&g->part[i], g->n, k, &m, &w->err);
        if (r == 0 && (m.level != x->level || m.prefix != x->prefix ||
                       !magnitude_format_of(row->dtype, &format) || m.format != format))
            r = err_set(&w->err, ERR_CRASHED, "a worker counted something else");
        if (r == 0 && i > 0)
            r = magnitudes_add(&sum, &m, &w->err);
        if (r == 0 && i == 0) {
            sum = m;
            m = (struct magnitudes)MAGNITUDES_INIT;
        }
        magnitudes_done(&m);
    }
    if (r == 0 && x->level == 0 && (double)(sum.n_weights + sum.n_nonfinite) != row->params)
        r = err_set(&w->err, ERR_CRASHED, "a worker counted other weights");
    if (r == 0) {
        magnitudes_write(&sum, &bytes);
        plan_weights_give(w->weights, g->first + k, &bytes);
    }
    magnitudes_done(&sum);
    return r;
}

static void add_run(void *arg, void *state)
{
    struct weighing *w = ((struct analyze *)arg)->weighing;
    int r = 0;

    (void)state;
    for (size_t g = 0; r == 0 && g < w->n_groups; g++)
        for (size_t k = 0; r == 0 && k < w->group[g].n; k++)
            r = add_want(w, &w->group[g], k);
}

static void put_run(void *arg, void *state)
{
    struct weighing *w = ((struct analyze *)arg)->weighing;

    for (size_t n = 0; n < PLAN_LOADS_AT_ONCE && w->n_put < w->n_groups; w->n_put++)
        for (size_t k = 0; k < w->group[w->n_put].n; k++, n++) {
            const struct weight_want *x = &w->weights->want[w->group[w->n_put].first + k];

            (void)store_cache_put(job_store(state), CACHE_MAGNITUDE, &x->key, x->bytes.data,
                                  x->bytes.len, NULL);
        }
}

static void put_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    if (group_err)
        log_warn("histograms could not be cached: %s", group_err->text);
    if (a->job->ended)
        return;
    if (a->weighing->n_put < a->weighing->n_groups)
        job_call_store(a->job, put_run, put_done, a);
    else
        finish(a);
}

static void add_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (a->job->ended)
        return;
    if (a->weighing->err.code)
        job_fail_err(a->job, &a->weighing->err);
    else
        job_call_store(a->job, put_run, put_done, a);
}

/* --- tasks ----------------------------------------------------------------------------------- */

static void counted(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    struct weighing *w = a->weighing;
    struct group *g = &w->group[t->tag[0]];
    struct part *p = &g->part[t->tag[1]];
    struct reader r;
    struct err bad = {0};

    if (!m) {
        job_fail_err(a->job, err);
        return;
    }
    reader_init(&r, m->body.data, m->body.len);
    for (size_t i = 0; i < g->n; i++)
        p->len[i] = reader_u32(&r);
    if (!reader_ok(&r) || m->n_fds != 1) {
        err_set(&bad, ERR_CRASHED, "a worker sent malformed histograms");
        job_fail_err(a->job, &bad);
        return;
    }
    p->fd = m->fd[0];
    m->fd[0] = -1;
    a->job->flops_done += t->flops;
    job_changed(a->job);
    if (--w->waiting == 0)
        job_call_file(a->job, add_run, add_done, a);
}

static void add_task(struct analyze *a, size_t group, size_t part)
{
    const struct weighing *w = a->weighing;
    const struct group *g = &w->group[group];
    const struct weight_want *x = &w->weights->want[g->first];
    const struct layer *l = &a->layers.l[x->row];
    uint64_t at = part * ANALYZE_LEAF_BYTES, left = l->nbytes - at;
    struct task *t = task_new(WORKER_COMPUTE, WIRE_MAGNITUDE, counted, a);
    enum magnitude_format format = MAGNITUDE_F16;

    (void)magnitude_format_of(l->dtype, &format); /* wants are of such rows only */
    left = left < ANALYZE_LEAF_BYTES ? left : ANALYZE_LEAF_BYTES;
    t->tag[0] = group;
    t->tag[1] = part;
    t->label = l->longname;
    t->flops = (double)left * COUNT_COST;
    t->bytes = (double)g->n * 2e6 + 1e6;
    t->fd[0] = a->source->file[l->file].fd;
    t->n_fds = 1;
    buf_put_u8(&t->body, (uint8_t)format);
    buf_put_u64(&t->body, l->offset + at);
    buf_put_u64(&t->body, left);
    buf_put_u8(&t->body, (uint8_t)x->level);
    buf_put_u8(&t->body, (uint8_t)(x->level ? g->n : 0));
    for (size_t k = 0; x->level && k < g->n; k++)
        buf_put_u64(&t->body, x[k].prefix);
    a->job->flops_total += t->flops;
    sched_add(a->job->lane, t);
}

static bool is_same_layer(const struct analyze *a, const struct metric_rows *rows, size_t row)
{
    const struct layer *l = &a->layers.l[row];

    return row < a->layers.count && strcmp(l->longname, rows->row[row].name) == 0 &&
           l->dtype == rows->row[row].dtype &&
           digest_equal(&analyze_unit_of(a, l)->digest, &rows->row[row].digest);
}

/* Wants that are missing, neighbours of one row and level together. */
static int make_groups(struct analyze *a)
{
    struct weighing *w = a->weighing;
    const struct plan_weights *pw = w->weights;

    w->group = xcalloc(pw->n_want, sizeof *w->group);
    for (size_t i = 0; i < pw->n_want; i++) {
        const struct weight_want *x = &pw->want[i];
        struct group *g = w->n_groups ? &w->group[w->n_groups - 1] : NULL;

        if (x->bytes.len > 0)
            continue;
        if (!is_same_layer(a, w->rows, x->row))
            return err_set(&w->err, ERR_CHANGED,
                           "the weights of \"%.100s\" are no longer those that were analysed",
                           w->rows->row[x->row].name);
        if (g && g->first + g->n == i && g->n < MAGNITUDE_SLOTS_MAX && x->level > 0 &&
            x[-1].row == x->row && x[-1].level == x->level) {
            g->n++;
            continue;
        }
        g = &w->group[w->n_groups++];
        g->first = i;
        g->n = 1;
        g->n_parts =
            (size_t)((a->layers.l[x->row].nbytes + ANALYZE_LEAF_BYTES - 1) / ANALYZE_LEAF_BYTES);
        g->part = xcalloc(g->n_parts, sizeof *g->part);
        for (size_t k = 0; k < g->n_parts; k++)
            g->part[k].fd = -1;
        w->waiting += g->n_parts;
    }
    return 0;
}

/* --- the stage ------------------------------------------------------------------------------- */

static void load_run(void *arg, void *state)
{
    struct weighing *w = ((struct analyze *)arg)->weighing;

    (void)plan_weights_load_some(w->weights, job_store(state));
}

static void load_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;
    struct weighing *w = a->weighing;

    (void)group_err; /* what cannot be looked up is counted */
    if (a->job->ended)
        return;
    if (w->weights->n_loaded < w->weights->n_want) {
        job_call_store(a->job, load_run, load_done, a);
        return;
    }
    metric_inc(a->job->svc->m_hits, "magnitude",
               (double)(w->weights->n_want - w->weights->n_missing));
    metric_inc(a->job->svc->m_misses, "magnitude", (double)w->weights->n_missing);
    if (w->weights->n_missing == 0) {
        finish(a);
        return;
    }
    if (make_groups(a) < 0) {
        job_fail_err(a->job, &w->err);
        return;
    }
    analyze_needs_work(a);
    for (size_t g = 0; g < w->n_groups && !a->job->ended; g++)
        for (size_t i = 0; i < w->group[g].n_parts; i++)
            add_task(a, g, i);
}

void analyze_weigh(struct analyze *a, const struct metric_rows *rows, struct plan_weights *weights,
                   void (*then)(struct analyze *a))
{
    a->weighing = xcalloc(1, sizeof *a->weighing);
    *a->weighing = (struct weighing){.rows = rows, .weights = weights, .then = then};
    job_call_store(a->job, load_run, load_done, a);
}
