/* distance_task.c: see distance_task.h. */
#include "daemon/distance_task.h"

#include "compute/spectrum.h"
#include "daemon/file_matrix.h"

#include <math.h>

#define READ_COST 40.0 /* operations per element of both, for estimates: reading and decoding */

static bool rows_are_long(const struct wire_matrix *m)
{
    return m->rows >= m->cols;
}

static double n_short(const struct wire_matrix *m)
{
    return (double)(rows_are_long(m) ? m->cols : m->rows);
}

static double elements(const struct wire_matrix *m)
{
    return (double)m->rows * (double)m->cols * (double)m->n_slices;
}

double distance_task_flops(const struct distance_task *t)
{
    bool rows = rows_are_long(&t->a);
    double n = elements(&t->a);

    if (!t->cka)
        return n * READ_COST;
    return n * ((rows ? 3 : 2) * READ_COST + (rows ? 4 : 2) * n_short(&t->a));
}

static double loaded(const struct wire_matrix *m)
{
    return file_matrix_loads(m) ? (double)m->nbytes : 1e6;
}

double distance_task_bytes(const struct distance_task *t)
{
    double n = n_short(&t->a), square = 8 * n * n;

    return loaded(&t->a) + loaded(&t->b) + 3 * fmax(4e6, 8 * n) + 8e6 +
           (t->cka ? square * (rows_are_long(&t->a) ? 1 : 2) : 0);
}

/* --- the task ------------------------------------------------------------------------------ */

void distance_task_put(struct buf *b, const struct distance_task *t)
{
    wire_put_matrix(b, &t->a);
    wire_put_matrix(b, &t->b);
    buf_put_u8(b, t->cka);
}

int distance_task_get(struct reader *r, struct distance_task *out, struct err *err)
{
    struct distance_task t = {.cka = false};
    int rc = wire_get_matrix(r, &t.a, err);

    if (rc == 0)
        rc = wire_get_matrix(r, &t.b, err);
    if (rc < 0)
        return rc;
    t.cka = reader_u8(r) != 0;
    if (!reader_ok(r) || t.a.rows != t.b.rows || t.a.cols != t.b.cols ||
        t.a.n_slices != t.b.n_slices || (t.cka && n_short(&t.a) > SPECTRUM_N_MAX))
        return wire_bad_task(err);
    *out = t;
    return 0;
}

/* --- the result ---------------------------------------------------------------------------- */

void distance_result_put(struct buf *b, const struct distance_result *v)
{
    buf_put_f64(b, v->raw);
    buf_put_f64(b, v->euclidean);
    buf_put_f64(b, v->norm_a);
    buf_put_f64(b, v->norm_b);
    buf_put_f64(b, v->cosine);
    buf_put_u8(b, v->has_cka);
    buf_put_f64(b, v->cka);
}

static bool is_length(double x)
{
    return isfinite(x) && x >= 0;
}

static bool is_share(double x, double least)
{
    return isnan(x) || (x >= least - 1e-9 && x <= 1 + 1e-9);
}

bool distance_result_get(struct reader *r, struct distance_result *out)
{
    struct distance_result v;

    v.raw = reader_f64(r);
    v.euclidean = reader_f64(r);
    v.norm_a = reader_f64(r);
    v.norm_b = reader_f64(r);
    v.cosine = reader_f64(r);
    v.has_cka = reader_u8(r) != 0;
    v.cka = reader_f64(r);
    if (!reader_ok(r) || !is_length(v.raw) || !is_length(v.euclidean) || !is_length(v.norm_a) ||
        !is_length(v.norm_b) || !is_share(v.cosine, -1) || !is_share(v.cka, 0))
        return false;
    *out = v;
    return true;
}

struct distance_result distance_result_turned(const struct distance_result *v)
{
    struct distance_result t = *v;

    t.norm_a = v->norm_b;
    t.norm_b = v->norm_a;
    return t;
}
