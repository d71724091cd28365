/* plan_weights.c: see plan_weights.h. */
#include "daemon/plan_weights.h"

#include "daemon/magnitude_task.h"

#include <stdlib.h>
#include <string.h>

struct row_weights {
    enum { UNKNOWN = 0, WANTED, KNOWN, NONE } state;
    struct magnitude_runs runs;
};

struct plan_weights *plan_weights_new(const struct metric_rows *rows)
{
    struct plan_weights *w = xcalloc(1, sizeof *w);

    w->n_rows = rows->n;
    w->of = xcalloc(rows->n ? rows->n : 1, sizeof *w->of);
    return w;
}

static void drop_wants(struct plan_weights *w)
{
    for (size_t i = 0; i < w->n_want; i++)
        buf_done(&w->want[i].bytes);
    w->n_want = w->n_loaded = w->n_missing = 0;
}

void plan_weights_free(struct plan_weights *w)
{
    if (!w)
        return;
    drop_wants(w);
    free(w->want);
    for (size_t i = 0; i < w->n_rows; i++)
        magnitude_runs_done(&w->of[i].runs);
    free(w->of);
    free(w);
}

/* --- wants ----------------------------------------------------------------------------------- */

void plan_weights_want(struct plan_weights *w, const struct metric_rows *rows, size_t row,
                       unsigned level, uint64_t prefix)
{
    struct weight_want *x;

    if (w->n_want == w->cap_want) {
        w->cap_want = w->cap_want ? 2 * w->cap_want : 64;
        w->want = xrealloc(w->want, w->cap_want * sizeof *w->want);
    }
    x = &w->want[w->n_want++];
    *x = (struct weight_want){.row = row, .level = level, .prefix = prefix};
    magnitude_key(&rows->row[row].digest, level, prefix, &x->key);
}

int plan_weights_load_some(struct plan_weights *w, struct store *st)
{
    for (size_t i = 0; i < PLAN_LOADS_AT_ONCE && w->n_loaded < w->n_want; i++) {
        struct weight_want *x = &w->want[w->n_loaded++];

        if (x->bytes.len == 0 && store_cache_find(st, CACHE_MAGNITUDE, &x->key, &x->bytes, NULL))
            w->n_missing++;
    }
    return w->n_loaded < w->n_want;
}

void plan_weights_give(struct plan_weights *w, size_t i, struct buf *bytes)
{
    struct weight_want *x = &w->want[i];

    if (x->bytes.len == 0 && bytes->len > 0)
        w->n_missing--;
    buf_done(&x->bytes);
    x->bytes = *bytes;
    *bytes = (struct buf)BUF_INIT;
}

/* --- what was wanted ------------------------------------------------------------------------- */

/* A whole tensor's histogram. One that is not finite, or of another tensor, leaves it without. */
static int begin_row(struct row_weights *of, const struct metric_row *row,
                     const struct magnitudes *m, struct err *err)
{
    of->state = NONE;
    if (m->n_nonfinite > 0 || (double)m->n_weights != row->params)
        return 0;
    of->state = KNOWN;
    return magnitude_runs_new(m, &of->runs, err);
}

static int absorb(struct plan_weights *w, const struct metric_rows *rows,
                  const struct weight_want *x, struct err *err)
{
    struct row_weights *of = &w->of[x->row];
    struct magnitudes m = MAGNITUDES_INIT;
    enum magnitude_format format;
    size_t before = of->runs.n_runs;
    int r = magnitudes_parse(x->bytes.data, x->bytes.len, &m, err);

    if (r < 0)
        return r;
    if (m.level != x->level || m.prefix != x->prefix ||
        !magnitude_format_of(rows->row[x->row].dtype, &format) || m.format != format)
        r = err_set(err, ERR_INTERNAL, "a histogram is not the one that was asked for");
    else if (m.level == 0)
        r = begin_row(of, &rows->row[x->row], &m, err);
    else
        r = magnitude_runs_refine(&of->runs, &m, err);
    magnitudes_done(&m);
    w->n_bins += of->runs.n_runs - before;
    if (r == 0 && w->n_bins > PLAN_BINS_MAX)
        r = err_set_at(err, ERR_LIMIT, "/method",
                       "the weights have more than %d different magnitudes in all tensors together",
                       PLAN_BINS_MAX);
    return r;
}

int plan_weights_absorb(struct plan_weights *w, const struct metric_rows *rows, struct err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < w->n_want; i++)
        if (w->want[i].bytes.len > 0) {
            r = absorb(w, rows, &w->want[i], err);
            buf_done(&w->want[i].bytes);
        }
    drop_wants(w);
    return r;
}

const struct magnitude_runs *plan_weights_of(struct plan_weights *w, const struct metric_rows *rows,
                                             size_t row, bool *wanted)
{
    struct row_weights *of = &w->of[row];
    enum magnitude_format format;

    *wanted = false;
    if (of->state == KNOWN)
        return &of->runs;
    if (of->state == UNKNOWN && rows->row[row].has_digest &&
        magnitude_format_of(rows->row[row].dtype, &format)) {
        of->state = WANTED;
        *wanted = true;
        plan_weights_want(w, rows, row, 0, 0);
    }
    return NULL;
}
