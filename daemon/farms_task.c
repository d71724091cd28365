/* farms_task.c: see farms_task.h. */
#include "daemon/farms_task.h"

#include <math.h>
#include <string.h>

#define RESULT_MAGIC 0x31524653u /* "SFR1" */
#define POOL_MAGIC   0x31504653u /* "SFP1" */

struct pool_header {
    uint64_t magic, count;
    double error_bound;
};

int farms_task_plan(const struct farms_task *t, struct farms_plan *out, struct err *err)
{
    struct farms_plan plan;
    int r = t->conv ? farms_plan_conv(&t->params, t->w.rows, t->w.cols, t->w.n_slices, &plan, err)
                    : farms_plan_linear(&t->params, t->w.rows, t->w.cols, &plan, err);

    if (r < 0)
        return r;
    if (farms_values(&plan) > FARMS_VALUES_MAX)
        return err_set(err, ERR_LIMIT, "the windows have %zu eigenvalues, the limit is %d",
                       farms_values(&plan), FARMS_VALUES_MAX);
    *out = plan;
    return 0;
}

void farms_task_put(struct buf *b, const struct farms_task *t)
{
    weights_put(b, &t->w);
    buf_put_u8(b, t->conv);
    buf_put_u64(b, t->params.rows);
    buf_put_f64(b, t->params.q);
    buf_put_u64(b, t->params.windows);
    buf_put_u8(b, (uint8_t)t->params.fit);
    buf_put_u8(b, (uint8_t)t->params.mode);
    buf_put_u8(b, (uint8_t)t->params.precision);
}

int farms_task_get(struct reader *r, struct farms_task *out, struct err *err)
{
    struct farms_task t = {0};
    int rc = weights_get(r, &t.w, err);

    if (rc < 0)
        return rc;
    t.conv = reader_u8(r) != 0;
    t.params.rows = reader_u64(r);
    t.params.q = reader_f64(r);
    t.params.windows = reader_u64(r);
    t.params.fit = (enum hill_rule)reader_u8(r);
    t.params.mode = (enum farms_mode)reader_u8(r);
    t.params.precision = (enum precision)reader_u8(r);
    if (r->fault || t.params.precision > PRECISION_SINGLE || t.w.rows == 0 || t.w.cols == 0 ||
        weights_are_product(&t.w))
        return wire_bad_task(err);
    *out = t;
    return 0;
}

void farms_result_write(const struct farms_result *f, struct buf *out)
{
    buf_put_u32(out, RESULT_MAGIC);
    buf_put_u8(out, (uint8_t)f->status);
    buf_put_u8(out, f->unresolved);
    buf_put_f64(out, f->alpha);
    buf_put_f64(out, f->D);
    buf_put_f64(out, f->xmin);
    buf_put_f64(out, f->standard_error);
    buf_put_u64(out, f->n_evals);
    buf_put_u64(out, f->n_zero);
}

int farms_result_parse(const void *bytes, size_t len, struct farms_result *out, struct err *err)
{
    struct farms_result f = {0};
    struct reader r;
    bool good;

    reader_init(&r, bytes, len);
    good = reader_u32(&r) == RESULT_MAGIC;
    f.status = (enum hill_status)reader_u8(&r);
    f.unresolved = reader_u8(&r) != 0;
    f.alpha = reader_f64(&r);
    f.D = reader_f64(&r);
    f.xmin = reader_f64(&r);
    f.standard_error = reader_f64(&r);
    f.n_evals = reader_u64(&r);
    f.n_zero = reader_u64(&r);
    good = good && reader_ok(&r) && hill_status_name(f.status) && f.n_evals <= FARMS_VALUES_MAX &&
           f.n_zero <= f.n_evals && !isinf(f.alpha) && !isinf(f.D) && !isinf(f.standard_error);
    if (!good || (f.status == HILL_OK && !f.unresolved && !(f.alpha > 1)))
        return err_set(err, ERR_CRASHED, "a record of windows is malformed");
    *out = f;
    return 0;
}

size_t farms_task_values(const struct farms_plan *plan, size_t first, size_t count)
{
    size_t n = 0;

    for (size_t i = first; i < first + count; i++)
        n += farms_run_values(plan, i);
    return n;
}

int farms_values_check(const struct farms_plan *plan, const double *lambda, size_t n,
                       struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(lambda[i]) || lambda[i] < 0 ||
            (i % plan->order > 0 && lambda[i] < lambda[i - 1]))
            return err_set(err, ERR_CRASHED, "a worker sent impossible eigenvalues of windows");
    return 0;
}

size_t farms_pool_bytes(const struct farms_plan *plan)
{
    return sizeof(struct pool_header) + farms_values(plan) * sizeof(double);
}

double *farms_pool_values(void *pool)
{
    return (double *)((struct pool_header *)pool + 1);
}

void farms_pool_begin(const struct farms_plan *plan, double error_bound, void *pool)
{
    struct pool_header h = {POOL_MAGIC, farms_values(plan), error_bound};

    memcpy(pool, &h, sizeof h);
}

int farms_pool_check(const struct farms_plan *plan, const void *pool, size_t len, struct err *err)
{
    struct pool_header h;

    if (len != farms_pool_bytes(plan))
        return err_set(err, ERR_CRASHED, "a pool of windows has the wrong size");
    memcpy(&h, pool, sizeof h);
    if (h.magic != POOL_MAGIC || h.count != farms_values(plan) || !isfinite(h.error_bound) ||
        h.error_bound < 0)
        return err_set(err, ERR_CRASHED, "a pool of windows is malformed");
    return farms_values_check(plan, (const double *)((const struct pool_header *)pool + 1), h.count,
                              err);
}

double farms_pool_bound(const void *pool)
{
    struct pool_header h;

    memcpy(&h, pool, sizeof h);
    return h.error_bound;
}
