/* measure_task.c: see measure_task.h. */
#include "daemon/measure_task.h"

#include "compute/bootstrap.h"
#include "compute/randomize.h"
#include "daemon/records.h"

#include <limits.h>
#include <math.h>

void measure_task_put(struct buf *b, const struct measure_task *t)
{
    buf_put_u8(b, (uint8_t)t->measure);
    buf_put_u8(b, t->opt.compat);
    buf_put_u8(b, (uint8_t)t->opt.mp);
    buf_put_u32(b, t->opt.replicas);
    buf_put_u32(b, t->opt.bootstrap);
    buf_put_f64(b, t->scale);
    buf_put_f64(b, t->null_largest);
    buf_put_u64(b, t->seed);
    if (measure_info(t->measure)->weights) {
        weights_put(b, &t->w);
        buf_put_u8(b, (uint8_t)t->precision);
    }
    values_record_write(&t->fit, b);
}

int measure_task_get(struct reader *r, struct measure_task *out, struct err *err)
{
    struct measure_task t = {.measure = (enum measure)reader_u8(r)};
    int rc = t.measure < MEASURE_COUNT ? 0 : wire_bad_task(err);

    t.opt.compat = reader_u8(r) != 0;
    t.opt.mp = (enum mp_fit_method)reader_u8(r);
    t.opt.replicas = reader_u32(r);
    t.opt.bootstrap = reader_u32(r);
    t.scale = reader_f64(r);
    t.null_largest = reader_f64(r);
    t.seed = reader_u64(r);
    if (rc == 0 && measure_info(t.measure)->weights) {
        rc = weights_get(r, &t.w, err);
        if (rc == 0 && weights_are_product(&t.w))
            rc = wire_bad_task(err);
        t.precision = (enum precision)reader_u8(r);
    }
    if (rc < 0)
        return rc;
    if (r->fault || t.opt.mp >= MP_FIT_METHOD_COUNT || !(t.scale > 0) ||
        t.opt.replicas >= RANDOMIZE_REPLICAS_MAX || t.opt.bootstrap > BOOTSTRAP_REPLICATES_MAX ||
        t.precision > PRECISION_SINGLE ||
        values_record_parse(r->p, (size_t)(r->end - r->p), &t.fit, NULL) < 0)
        return wire_bad_task(err);
    *out = t;
    return 0;
}

void measure_result_put(struct buf *b, enum measure m, const struct measure_result *v)
{
    buf_put_u8(b, (uint8_t)v->reason);
    for (size_t i = 0; i < measure_info(m)->n_columns; i++)
        buf_put_f64(b, v->v[i]);
}

static bool value_ok(const struct measure_column *c, double x)
{
    if (isnan(x))
        return true;
    if (c->form == MEASURE_REAL)
        return isfinite(x);
    if (c->form == MEASURE_WORD)
        return x == floor(x) && x >= 0 && x < UINT_MAX && c->word((unsigned)x);
    return x == floor(x) && fabs(x) < 9e15;
}

bool measure_result_get(struct reader *r, enum measure m, struct measure_result *out)
{
    const struct measure_info *info = measure_info(m);
    struct measure_result v = {.reason = (enum measure_reason)reader_u8(r)};
    bool good = v.reason < MEASURE_REASON_COUNT;

    for (size_t i = 0; i < info->n_columns; i++) {
        v.v[i] = reader_f64(r);
        good = good && value_ok(&info->column[i], v.v[i]);
    }
    if (r->fault || !good)
        return false;
    *out = v;
    return true;
}

void measure_null_key(const struct digest *spectrum, double scale, struct digest *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, "spectrald-shuffled");
    hasher_add_u64(h, RANDOMIZE_VERSION);
    hasher_add(h, spectrum->b, DIGEST_LEN);
    hasher_add(h, &scale, sizeof scale);
    hasher_finish(h, out);
}
