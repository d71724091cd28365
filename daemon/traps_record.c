/* traps_record.c: see traps_record.h. */
#include "daemon/traps_record.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static void put_vector(struct buf *b, const struct trap_vector *v)
{
    const double x[] = {v->ipr, v->q, v->support, v->entropy, v->top, v->gini};

    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        buf_put_f64(b, x[i]);
}

static void put_trap(struct buf *b, const struct trap *t)
{
    const double x[] = {t->lambda,     t->delta,       t->share,       t->ipr, t->q,
                        t->top_5_mass, t->top_10_mass, t->diffuseness, t->risk};

    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        buf_put_f64(b, x[i]);
    buf_put_u8(b, (uint8_t)t->label);
    put_vector(b, &t->left);
    put_vector(b, &t->right);
    buf_put_u8(b, (uint8_t)t->n_entries);
    for (size_t i = 0; i < t->n_entries; i++) {
        buf_put_u64(b, t->entry[i].row);
        buf_put_u64(b, t->entry[i].column);
        buf_put_f64(b, t->entry[i].weight);
        buf_put_f64(b, t->entry[i].component);
        buf_put_f64(b, t->entry[i].share);
    }
}

void traps_record_put(struct buf *b, const struct trap *t, size_t n)
{
    buf_put_u8(b, (uint8_t)n);
    for (size_t k = 0; k < n; k++)
        put_trap(b, &t[k]);
}

/* A finite number; anything else is a fault. */
static double get_real(struct reader *r)
{
    double x = reader_f64(r);

    r->fault = r->fault || !isfinite(x);
    return x;
}

static struct trap_vector get_vector(struct reader *r)
{
    struct trap_vector v = {.ipr = get_real(r)};

    v.q = get_real(r);
    v.support = get_real(r);
    v.entropy = get_real(r);
    v.top = get_real(r);
    v.gini = get_real(r);
    return v;
}

static void get_entries(struct reader *r, uint64_t rows, uint64_t cols, struct trap *t)
{
    t->n_entries = reader_u8(r);
    if (t->n_entries > TRAP_ENTRIES)
        r->fault = true;
    for (size_t i = 0; !r->fault && i < t->n_entries; i++) {
        struct trap_entry *e = &t->entry[i];

        e->row = reader_u64(r);
        e->column = reader_u64(r);
        e->weight = get_real(r);
        e->component = get_real(r);
        e->share = get_real(r);
        r->fault = r->fault || e->row >= rows || e->column >= cols;
    }
}

static void get_trap(struct reader *r, uint64_t rows, uint64_t cols, struct trap *t)
{
    *t = (struct trap){.lambda = get_real(r)};
    t->delta = get_real(r);
    t->share = get_real(r);
    t->ipr = get_real(r);
    t->q = get_real(r);
    t->top_5_mass = get_real(r);
    t->top_10_mass = get_real(r);
    t->diffuseness = get_real(r);
    t->risk = get_real(r);
    t->label = (enum trap_label)reader_u8(r);
    r->fault = r->fault || t->label >= TRAP_LABEL_COUNT;
    t->left = get_vector(r);
    t->right = get_vector(r);
    get_entries(r, rows, cols, t);
}

bool traps_record_get(struct reader *r, uint64_t rows, uint64_t cols, struct trap *out, size_t *n)
{
    size_t count = reader_u8(r);

    if (count > TRAPS_MAX)
        r->fault = true;
    for (size_t k = 0; !r->fault && k < count; k++)
        get_trap(r, rows, cols, &out[k]);
    if (r->fault)
        return false;
    *n = count;
    return true;
}

void traps_record_key(const struct digest *spectrum, double scale,
                      const struct measure_options *opt, struct digest *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, "spectrald-traps");
    hasher_add_u64(h, TRAPS_VERSION);
    hasher_add_u64(h, MP_FIT_VERSION);
    hasher_add(h, spectrum->b, DIGEST_LEN);
    hasher_add(h, &scale, sizeof scale);
    hasher_add_u64(h, opt->mp);
    hasher_add_u64(h, opt->compat);
    hasher_finish(h, out);
}

bool traps_record_options(const char *params, struct measure_options *out)
{
    json_auto_t *o = json_loads(params, 0, NULL);
    const char *method = json_string_value(json_object_get(o, "mp_fit"));

    *out = (struct measure_options){.compat = json_is_string(json_object_get(o, "compat"))};
    out->mp = out->compat ? MP_FIT_UPSTREAM : MP_FIT_ROBUST;
    for (unsigned k = 0; method && k < MP_FIT_METHOD_COUNT; k++)
        if (strcmp(method, mp_fit_method_name((enum mp_fit_method)k)) == 0)
            out->mp = (enum mp_fit_method)k;
    return json_is_true(json_object_get(o, measure_info(MEASURE_TRAPS)->name));
}
