/* smooth_task.c: see smooth_task.h. */
#include "daemon/smooth_task.h"

#include "compute/gram_vectors.h"
#include "compute/randomize.h"
#include "models/dtype.h"

#include <math.h>

struct sides {
    size_t n_long, n_short;
};

static struct sides sides_of(const struct wire_matrix *m)
{
    return m->rows >= m->cols ? (struct sides){m->rows, m->cols} : (struct sides){m->cols, m->rows};
}

/* A spectrum (of shuffled weights, too), eigenvectors, and the projection of every line. */
double smooth_task_flops(const struct smooth_task *t)
{
    struct sides s = sides_of(&t->m);
    double n = (double)s.n_short, elements = (double)s.n_long * n;
    double spectra = 1, replicas = (double)randomize_replicas(s.n_short * t->m.n_slices);

    if (t->opt.method == SMOOTH_SHARPNESS)
        spectra += t->opt.compat ? 1 : replicas;
    return (double)t->m.n_slices *
           (spectra * spectrum_flops(s.n_long, s.n_short) + 4 * n * n * n + 4 * elements * n);
}

double smooth_task_bytes(const struct smooth_task *t)
{
    struct sides s = sides_of(&t->m);
    double elements = (double)s.n_long * (double)s.n_short, most;

    most = fmax(spectrum_bytes(s.n_long, s.n_short), gram_vectors_bytes(s.n_short, s.n_short));
    if (t->opt.method == SMOOTH_SHARPNESS)
        most = fmax(most, spectrum_bytes(s.n_long, s.n_short) + 8 * elements);
    return 2 * (double)t->m.nbytes + most + 64 * (double)s.n_short * ((double)t->m.n_slices + 128) +
           8e6;
}

/* --- the task ------------------------------------------------------------------------------ */

void smooth_task_put(struct buf *b, const struct smooth_task *t)
{
    wire_put_matrix(b, &t->m);
    buf_put_u8(b, (uint8_t)t->opt.method);
    buf_put_f64(b, t->opt.percent);
    buf_put_u64(b, (uint64_t)t->opt.k);
    buf_put_u8(b, t->opt.compat);
}

int smooth_task_get(struct reader *r, struct smooth_task *out, struct err *err)
{
    struct smooth_task t = {0};
    int rc = wire_get_matrix(r, &t.m, err);

    if (rc < 0)
        return rc;
    t.opt.method = (enum smooth_method)reader_u8(r);
    t.opt.percent = reader_f64(r);
    t.opt.k = (int64_t)reader_u64(r);
    t.opt.compat = reader_u8(r) != 0;
    if (!reader_ok(r) || t.m.rows == 0 || t.m.cols == 0 || t.m.n_slices == 0 ||
        t.m.rows > INT32_MAX || t.m.cols > INT32_MAX || sides_of(&t.m).n_short > SMOOTH_N_MAX ||
        t.opt.method >= SMOOTH_METHOD_COUNT || !dtype_encodable((enum dtype)t.m.dtype))
        return wire_bad_task(err);
    *out = t;
    return 0;
}

/* --- the outcome --------------------------------------------------------------------------- */

void smooth_outcome_put(struct buf *b, const struct smooth_outcome *o)
{
    buf_put_u8(b, (uint8_t)o->reason);
    buf_put_u8(b, (uint8_t)o->how);
    buf_put_u64(b, o->k);
    buf_put_u64(b, o->kept);
    buf_put_u64(b, o->rank);
    buf_put_f64(b, o->norm);
    buf_put_f64(b, o->stated);
    buf_put_f64(b, o->change);
}

bool smooth_outcome_get(struct reader *r, const struct wire_matrix *m, struct smooth_outcome *out)
{
    struct smooth_outcome o = {.reason = (enum smooth_reason)reader_u8(r)};
    uint64_t n = sides_of(m).n_short * m->n_slices;

    o.how = (enum truncation)reader_u8(r);
    o.k = reader_u64(r);
    o.kept = reader_u64(r);
    o.rank = reader_u64(r);
    o.norm = reader_f64(r);
    o.stated = reader_f64(r);
    o.change = reader_f64(r);
    *out = o;
    return !r->fault && o.reason < SMOOTH_REASON_COUNT && o.how <= TRUNCATE_REMOVE && o.k <= n &&
           o.kept <= n && o.rank <= n && isfinite(o.norm) && isfinite(o.stated) &&
           isfinite(o.change) && o.norm >= 0 && o.stated >= 0 && o.change >= 0;
}
