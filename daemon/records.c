/* records.c: fixed header, then the numbers. The host is little-endian (checked at build time), so
 * eigenvalues are copied as they are. */
#include "daemon/records.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are stored in host order");

#define SPECTRUM_MAGIC 0x32525053u /* "SPR2" */
#define VALUES_MAGIC   0x31525653u /* "SVR1" */

struct spectrum_header {
    uint32_t magic, method, precision, reserved;
    double error_bound, weight_sum;
    uint64_t n_nonfinite, n_long, n_per_slice, n_slices;
    char core[32], config[128];
};
_Static_assert(sizeof(struct spectrum_header) % 8 == 0, "eigenvalues follow aligned");

size_t spectrum_record_size(size_t count)
{
    return sizeof(struct spectrum_header) + count * sizeof(double);
}

static uint64_t stored_count(uint64_t n_nonfinite, uint64_t n_slices, uint64_t n_per_slice)
{
    return n_nonfinite ? 0 : n_slices * n_per_slice;
}

void spectrum_record_write(const struct spectrum_record *s, void *out)
{
    struct spectrum_header h = {.magic = SPECTRUM_MAGIC,
                                .method = s->method,
                                .precision = s->precision,
                                .error_bound = s->error_bound,
                                .weight_sum = s->weight_sum,
                                .n_nonfinite = s->n_nonfinite,
                                .n_long = s->n_long,
                                .n_per_slice = s->n_per_slice,
                                .n_slices = s->n_slices};
    size_t count = stored_count(s->n_nonfinite, s->n_slices, s->n_per_slice);

    snprintf(h.core, sizeof h.core, "%s", s->core);
    snprintf(h.config, sizeof h.config, "%s", s->config);
    memcpy(out, &h, sizeof h);
    if (count)
        memcpy((uint8_t *)out + sizeof h, s->lambda, count * sizeof(double));
}

static bool plain_text(const char *s, size_t size)
{
    size_t n = strnlen(s, size);

    for (size_t i = 0; i < n; i++)
        if (s[i] < 0x20 || s[i] > 0x7e)
            return false;
    return n < size;
}

/* Each slice ascending, finite and not negative. */
static bool spectra_sane(const double *lambda, uint64_t n_slices, uint64_t n)
{
    for (uint64_t s = 0; s < n_slices; s++, lambda += n)
        for (uint64_t i = 0; i < n; i++)
            if (!isfinite(lambda[i]) || lambda[i] < 0 || (i > 0 && lambda[i] < lambda[i - 1]))
                return false;
    return true;
}

int spectrum_record_parse(const void *bytes, size_t len, struct spectrum_record *out,
                          struct err *err)
{
    struct spectrum_header h;
    uint64_t count;

    if (len < sizeof h)
        return err_set(err, ERR_CRASHED, "a spectrum record is too short");
    memcpy(&h, bytes, sizeof h);
    if (h.magic != SPECTRUM_MAGIC || h.method >= SPECTRUM_METHOD_COUNT ||
        h.precision > PRECISION_SINGLE || !isfinite(h.error_bound) || h.error_bound < 0 ||
        !isfinite(h.weight_sum) || !plain_text(h.core, sizeof h.core) ||
        !plain_text(h.config, sizeof h.config))
        return err_set(err, ERR_CRASHED, "a spectrum record has a malformed header");
    if (__builtin_mul_overflow(h.n_slices, h.n_per_slice, &count) || count == 0)
        return err_set(err, ERR_CRASHED, "a spectrum record has an impossible size");
    if (h.n_nonfinite)
        count = 0;
    if (count > (len - sizeof h) / sizeof(double) || len != spectrum_record_size(count))
        return err_set(err, ERR_CRASHED, "a spectrum record's size disagrees with its header");

    const double *lambda = (const double *)(const void *)((const uint8_t *)bytes + sizeof h);
    if (count && !spectra_sane(lambda, h.n_slices, h.n_per_slice))
        return err_set(err, ERR_CRASHED, "a spectrum record holds impossible eigenvalues");
    *out = (struct spectrum_record){.method = (enum spectrum_method)h.method,
                                    .precision = (enum precision)h.precision,
                                    .error_bound = h.error_bound,
                                    .weight_sum = h.weight_sum,
                                    .n_nonfinite = h.n_nonfinite,
                                    .n_long = h.n_long,
                                    .n_per_slice = h.n_per_slice,
                                    .n_slices = h.n_slices,
                                    .lambda = lambda};
    memcpy(out->core, h.core, sizeof h.core);
    memcpy(out->config, h.config, sizeof h.config);
    return 0;
}

void values_record_write(const struct layer_values *v, struct buf *out)
{
    buf_put_u32(out, VALUES_MAGIC);
    buf_put_u32(out, COLUMN_COUNT);
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        buf_put_f64(out, v->v[i]);
    buf_put_u32(out, v->reason);
    buf_put_u8(out, v->rank_unresolved);
}

int values_record_parse(const void *bytes, size_t len, struct layer_values *out, struct err *err)
{
    struct layer_values v;
    struct reader r;

    reader_init(&r, bytes, len);
    if (reader_u32(&r) != VALUES_MAGIC || reader_u32(&r) != COLUMN_COUNT)
        return err_set(err, ERR_CRASHED, "a metrics record is malformed");
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        v.v[i] = reader_f64(&r);
        if (isinf(v.v[i]))
            return err_set(err, ERR_CRASHED, "a metrics record holds an infinite value");
    }
    v.reason = (enum layer_reason)reader_u32(&r);
    v.rank_unresolved = reader_u8(&r) != 0;
    if (!reader_ok(&r) || v.reason >= LAYER_REASON_COUNT)
        return err_set(err, ERR_CRASHED, "a metrics record is malformed");
    *out = v;
    return 0;
}

void fit_options_put(struct buf *b, const struct layer_fit_options *o)
{
    buf_put_u8(b, (uint8_t)o->law);
    buf_put_u8(b, (uint8_t)o->fingers);
    buf_put_u32(b, o->max_fingers);
    buf_put_u32(b, o->drop_top);
    buf_put_f64(b, o->finger_thresh);
    buf_put_f64(b, o->xmin);
    buf_put_f64(b, o->xmax);
    buf_put_f64(b, o->pos);
}

bool fit_options_get(struct reader *r, struct layer_fit_options *out)
{
    struct layer_fit_options o = {.law = (enum layer_fit_law)reader_u8(r)};

    o.fingers = (enum layer_fit_fingers)reader_u8(r);
    o.max_fingers = reader_u32(r);
    o.drop_top = reader_u32(r);
    o.finger_thresh = reader_f64(r);
    o.xmin = reader_f64(r);
    o.xmax = reader_f64(r);
    o.pos = reader_f64(r);
    if (r->fault || o.law >= LAYER_FIT_LAW_COUNT || o.fingers >= LAYER_FINGERS_COUNT ||
        layer_fit_options_check(&o, NULL) < 0)
        return false;
    *out = o;
    return true;
}
