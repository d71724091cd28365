/* prune_task.c: see prune_task.h. */
#include "daemon/prune_task.h"

#include "daemon/prune_form.h"

#include <math.h>

#define OUTCOME_MAGIC 0x354f5053u /* "SPO5" */

static double weights_of(const struct prune_task *t)
{
    return (double)t->m.rows * (double)t->m.cols;
}

static double tokens_of(const struct prune_task *t)
{
    return t->stat[STAT_XLAST].present ? (double)t->stat[STAT_XLAST].count / (double)t->m.cols
                                       : (double)t->m.cols;
}

double prune_task_flops(const struct prune_task *t)
{
    double n = (double)t->m.cols;

    switch (t->update) {
    case UPDATE_SPARSEGPT:
        return 2.0 / 3 * n * n * n + weights_of(t) * n;
    case UPDATE_ADMM:
        return n * n * n + weights_of(t) * (2 * n + 60) * (ADMM_ITERATIONS + 2);
    case UPDATE_ALPS: /* an iteration is a product; three of them share an inverse */
        return 9 * n * n * n + (weights_of(t) * (2 * n + 60) + n * n * n / 3) * ALPS_ITERATIONS / 3;
    default:
        break;
    }
    /* A weight is read up to three times, and a few dozen operations each. */
    return weights_of(t) * (t->use_trim ? 100 + 8 * tokens_of(t) : t->use_dsnot ? 200 : 100);
}

/* Half a Gram matrix in double precision; then, in single, and the matrix too. */
static double sparsegpt_bytes(const struct prune_task *t)
{
    double n = (double)t->m.cols, block = t->block ? t->block : SPARSEGPT_BLOCK;
    bool copied = t->m.col_stride != 1 || t->m.row_stride != t->m.cols;
    double weights = fmax(weights_of(t) * 4, (double)t->m.nbytes);

    if (copied)
        weights = weights_of(t) * 4 + (double)t->m.nbytes;
    weights += weights_of(t) / 8 + (double)t->m.rows * block * 14 + n * block * 4;
    return 6e6 + 2 * n * n + fmax(2 * n * n, weights);
}

/* With a Gram matrix, that twice before anything else is there: as doubles, packed, and floats. */
static double trim_memory(const struct prune_task *t)
{
    double n = (double)t->m.cols;
    bool known = t->stat[STAT_XLAST].present;
    double walk = trim_bytes(t->m.rows, t->m.cols, known ? (size_t)tokens_of(t) : 0);

    return known ? walk + tokens_of(t) * n * 4 : n * n * 4 + fmax(walk, n * n * 4);
}

double prune_task_bytes(const struct prune_task *t)
{
    double n = (double)t->m.cols, bytes = (double)t->m.nbytes + 4e6;
    double form = t->form == PRUNE_DENSE ? 0 : (double)prune_form_most(t);

    if (t->update == UPDATE_SPARSEGPT)
        return sparsegpt_bytes(t) + form;
    if (t->update)
        return bytes + form + weights_of(t) * 20.125 + n * n * (t->update == UPDATE_ADMM ? 12 : 28);
    bytes += form + weights_of(t) / 8 + 40 * n;
    if (t->use_trim)
        bytes += trim_memory(t);
    return bytes;
}

/* --- the task ------------------------------------------------------------------------------ */

static void put_range(struct buf *b, const struct prune_range *r)
{
    buf_put_u8(b, r->present);
    buf_put_u32(b, r->dtype);
    buf_put_u64(b, r->offset);
    buf_put_u64(b, r->count);
}

static struct prune_range get_range(struct reader *r)
{
    struct prune_range g = {.present = reader_u8(r) != 0};

    g.dtype = (enum dtype)reader_u32(r);
    g.offset = reader_u64(r);
    g.count = reader_u64(r);
    return g;
}

void prune_task_put(struct buf *b, const struct prune_task *t)
{
    wire_put_matrix(b, &t->m);
    buf_put_u8(b, (uint8_t)t->form);
    buf_put_u8(b, (uint8_t)t->update);
    buf_put_u8(b, t->use_trim);
    buf_put_u8(b, t->use_dsnot);
    buf_put_u8(b, (uint8_t)t->opt.method);
    buf_put_u8(b, (uint8_t)t->opt.selection);
    buf_put_f64(b, t->opt.sparsity);
    buf_put_u8(b, t->opt.exact);
    buf_put_u32(b, t->opt.m);
    buf_put_u32(b, t->opt.pruned);
    buf_put_u8(b, (uint8_t)t->opt.trim.metric);
    buf_put_u8(b, (uint8_t)t->opt.trim.row_metric);
    buf_put_u8(b, t->opt.trim.no_negative);
    buf_put_f64(b, t->ria_power);
    buf_put_f64(b, t->damping);
    buf_put_u32(b, t->block);
    buf_put_f64(b, t->n_sequences);
    for (int i = 0; i < STAT_COUNT; i++)
        put_range(b, &t->stat[i]);
}

static void get_options(struct reader *r, struct prune_task *t)
{
    t->form = (enum prune_form)reader_u8(r);
    t->update = (enum prune_update)reader_u8(r);
    t->use_trim = reader_u8(r) != 0;
    t->use_dsnot = reader_u8(r) != 0;
    t->opt.method = (enum prune_method)reader_u8(r);
    t->opt.selection = (enum prune_selection)reader_u8(r);
    t->opt.sparsity = reader_f64(r);
    t->opt.exact = reader_u8(r) != 0;
    t->opt.m = reader_u32(r);
    t->opt.pruned = reader_u32(r);
    t->opt.trim.metric = (enum trim_metric)reader_u8(r);
    t->opt.trim.row_metric = (enum trim_row_metric)reader_u8(r);
    t->opt.trim.no_negative = reader_u8(r) != 0;
    t->ria_power = reader_f64(r);
    t->damping = reader_f64(r);
    t->block = reader_u32(r);
    t->n_sequences = reader_f64(r);
}

/* What the method reads is there, in the right size. */
static bool statistics_fit(const struct prune_task *t)
{
    static const enum prune_statistic all[] = {STAT_SUMSQ, STAT_XLAST, STAT_GRAM,
                                               STAT_SCORE, STAT_SEEN,  STAT_SUM};
    uint64_t n = t->m.cols;
    const struct prune_range *s = t->stat;
    bool active = prune_is_active(t->opt.method);

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (s[i].present && !dtype_decodable(s[i].dtype))
            return false;
    if ((s[STAT_SEEN].present && s[STAT_SEEN].count != 2) ||
        (s[STAT_SUMSQ].present && s[STAT_SUMSQ].count != n) ||
        (s[STAT_SUM].present && s[STAT_SUM].count != n) ||
        (s[STAT_GRAM].present && s[STAT_GRAM].count != n * n &&
         s[STAT_GRAM].count != n * (n + 1) / 2) ||
        (s[STAT_SCORE].present && s[STAT_SCORE].count != n * t->m.rows) ||
        (s[STAT_XLAST].present &&
         (s[STAT_XLAST].count % n || s[STAT_XLAST].count / n - 1 >= PRUNE_TOKENS_MAX)))
        return false;
    if (t->update)
        return s[STAT_GRAM].present && !t->use_trim && !t->use_dsnot;
    if (t->use_dsnot && (t->use_trim || t->opt.selection == PRUNE_PER_TENSOR ||
                         !s[STAT_SUMSQ].present || !s[STAT_SUM].present || !s[STAT_SEEN].present))
        return false;
    return (!active || s[STAT_SUMSQ].present) &&
           (t->opt.method != PRUNE_EXTERNAL || s[STAT_SCORE].present) &&
           (!t->use_trim || s[STAT_XLAST].present || s[STAT_GRAM].present);
}

int prune_task_get(struct reader *r, struct prune_task *out, struct err *err)
{
    struct prune_task t = {0};
    int rc = wire_get_matrix(r, &t.m, err);

    if (rc < 0)
        return rc;
    get_options(r, &t);
    for (int i = 0; i < STAT_COUNT; i++)
        t.stat[i] = get_range(r);
    if (!reader_ok(r) || t.m.rows == 0 || t.m.cols == 0 || t.m.n_slices != 1 ||
        t.m.rows > INT32_MAX || t.m.cols > INT32_MAX || t.opt.method >= PRUNE_METHOD_COUNT ||
        t.opt.selection > PRUNE_N_OF_M || t.opt.trim.metric >= TRIM_METRIC_COUNT ||
        t.opt.trim.row_metric >= TRIM_ROW_METRIC_COUNT || !(t.n_sequences > 0) ||
        !prune_form_fits(&t) || !statistics_fit(&t) ||
        !dtype_zero_is_bytes((enum dtype)t.m.dtype) || t.update >= UPDATE_COUNT ||
        (t.update && !dtype_encodable((enum dtype)t.m.dtype)))
        return wire_bad_task(err);
    *out = t;
    return 0;
}

/* --- the outcome --------------------------------------------------------------------------- */

void prune_outcome_write(const struct prune_outcome *o, struct buf *out)
{
    buf_put_u32(out, OUTCOME_MAGIC);
    buf_put_u64(out, o->n_nonfinite);
    buf_put_u64(out, o->pruned);
    buf_put_u64(out, o->zeros);
    buf_put_u64(out, o->zeros_before);
    buf_put_u8(out, o->has_error);
    buf_put_f64(out, o->error);
    buf_put_f64(out, o->damping);
    buf_put_u32(out, o->iterations);
    buf_put_f64(out, o->rho);
    buf_put_u64(out, o->n_dead);
    buf_put_u64(out, o->tokens);
    buf_put_u8(out, o->has_trim);
    buf_put_f64(out, o->trim.uniform);
    buf_put_f64(out, o->trim.best);
    buf_put_f64(out, o->trim.rate);
    buf_put_u32(out, o->trim.iteration);
    buf_put_f64(out, o->trim.spread_uniform);
    buf_put_f64(out, o->trim.spread);
    buf_put_u8(out, o->has_dsnot);
    buf_put_u64(out, o->dsnot.swaps);
    buf_put_f64(out, o->dsnot.before);
    buf_put_f64(out, o->dsnot.after);
    buf_put_u8(out, o->has_smooth);
    smooth_outcome_put(out, &o->smooth);
}

int prune_outcome_parse(const struct prune_task *t, const void *bytes, size_t len,
                        struct prune_outcome *out, struct err *err)
{
    uint64_t n = t->m.rows * t->m.cols;
    struct prune_outcome o = {0};
    struct reader r;
    bool good;

    reader_init(&r, bytes, len);
    good = reader_u32(&r) == OUTCOME_MAGIC;
    o.n_nonfinite = reader_u64(&r);
    o.pruned = reader_u64(&r);
    o.zeros = reader_u64(&r);
    o.zeros_before = reader_u64(&r);
    o.has_error = reader_u8(&r) != 0;
    o.error = reader_f64(&r);
    o.damping = reader_f64(&r);
    o.iterations = reader_u32(&r);
    o.rho = reader_f64(&r);
    o.n_dead = reader_u64(&r);
    o.tokens = reader_u64(&r);
    o.has_trim = reader_u8(&r) != 0;
    o.trim.uniform = reader_f64(&r);
    o.trim.best = reader_f64(&r);
    o.trim.rate = reader_f64(&r);
    o.trim.iteration = reader_u32(&r);
    o.trim.spread_uniform = reader_f64(&r);
    o.trim.spread = reader_f64(&r);
    o.has_dsnot = reader_u8(&r) != 0;
    o.dsnot.swaps = reader_u64(&r);
    o.dsnot.before = reader_f64(&r);
    o.dsnot.after = reader_f64(&r);
    o.has_smooth = reader_u8(&r) != 0;
    good = good && smooth_outcome_get(&r, &t->m, &o.smooth);
    good = good && reader_ok(&r) && o.pruned <= n && o.zeros <= n && o.zeros_before <= n &&
           (o.n_nonfinite || o.zeros >= o.pruned) && o.n_dead <= t->m.cols && isfinite(o.error) &&
           isfinite(o.damping) && isfinite(o.rho) && isfinite(o.trim.uniform) &&
           isfinite(o.trim.best) && isfinite(o.trim.rate) && isfinite(o.trim.spread_uniform) &&
           isfinite(o.trim.spread) && o.dsnot.swaps <= n && isfinite(o.dsnot.before) &&
           isfinite(o.dsnot.after);
    if (!good)
        return err_set(err, ERR_CRASHED, "a record of a pruned matrix is malformed");
    *out = o;
    return 0;
}
