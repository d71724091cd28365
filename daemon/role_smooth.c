/* role_smooth.c: a compute worker smooths a matrix.
 *
 * The result takes the place of the tensor's bytes line by line, so that the two can be compared on
 * the way; what cannot be smoothed, or stored, is read again.
 */
#include "daemon/prune_task.h"

#include "common/digest.h"
#include "common/fdio.h"
#include "daemon/file_matrix.h"
#include "daemon/worker.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LINES      128 /* at once */
#define HASH_BYTES (1u << 20)

struct slice {
    struct file_matrix *fm;
    uint64_t number;
};

struct work {
    const struct smooth_task *t;
    int file;
    uint8_t *bytes; /* of the tensor */
    struct matrix_source *source;
    size_t element;
    double before, stated, change; /* squares */
    uint64_t n_nonfinite;          /* in the result */
    struct smooth_outcome *out;
};

static int read_slice(void *arg, size_t first, size_t count, enum precision p, void *out,
                      uint64_t *n_nonfinite, struct err *err)
{
    const struct slice *s = arg;
    const struct matrix_source *src = file_matrix_slice(s->fm, s->number);

    return src->read(src->arg, first, count, p, out, n_nonfinite, err);
}

static int read_bytes(const struct work *w, struct err *err)
{
    return fd_pread_all(w->file, w->bytes, (size_t)w->t->m.nbytes, w->t->m.offset, err);
}

static uint64_t seed_of(const struct work *w)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    struct digest d;
    uint64_t seed;

    for (uint64_t at = 0; at < w->t->m.nbytes; at += HASH_BYTES)
        hasher_add(h, w->bytes + at,
                   w->t->m.nbytes - at < HASH_BYTES ? (size_t)(w->t->m.nbytes - at) : HASH_BYTES);
    hasher_finish(h, &d);
    memcpy(&seed, d.b, sizeof seed);
    return seed;
}

/* --- storing --------------------------------------------------------------------------------- */

/* float64 keeps all digits; the others have no more than float32. */
static void encode(enum dtype dtype, const double *x, size_t n, float *scratch, uint8_t *to,
                   size_t stride)
{
    if (dtype == DTYPE_F64) {
        for (size_t j = 0; j < n; j++)
            memcpy(to + j * stride * sizeof *x, &x[j], sizeof *x);
        return;
    }
    for (size_t j = 0; j < n; j++)
        scratch[j] = (float)x[j];
    dtype_encode_f32(dtype, scratch, n, to, stride);
}

static void store_line(struct work *w, uint8_t *at, size_t stride, const double *line, double *old,
                       size_t n)
{
    enum dtype dtype = (enum dtype)w->t->m.dtype;
    double *now = old + n;
    double sum = 0;

    (void)dtype_decode_f64(dtype, at, n, stride, old);
    encode(dtype, line, n, (float *)(void *)now, at, stride);
    w->n_nonfinite += dtype_decode_f64(dtype, at, n, stride, now);
    for (size_t j = 0; j < n; j++)
        sum += (now[j] - old[j]) * (now[j] - old[j]);
    w->change += sum;
}

static int store_slice(struct work *w, uint64_t slice, const struct matrix_source *src,
                       struct err *err)
{
    const struct wire_matrix *m = &w->t->m;
    bool rows_long = m->rows >= m->cols;
    size_t n = src->n_short, along = (size_t)(rows_long ? m->col_stride : m->row_stride);
    uint64_t line_stride = rows_long ? m->row_stride : m->col_stride, n_nonfinite = 0;
    AUTO(freep) double *lines = malloc((LINES + 2) * n * sizeof *lines);

    if (!lines)
        return err_set(err, ERR_NOMEM, "no memory for %d lines of a matrix", LINES);
    for (size_t i = 0; i < src->n_long; i += LINES) {
        size_t count = src->n_long - i < LINES ? src->n_long - i : LINES;
        int r = src->read(src->arg, i, count, PRECISION_DOUBLE, lines, &n_nonfinite, err);

        if (r < 0)
            return r;
        for (size_t k = 0; k < count; k++) {
            uint64_t first = slice * m->slice_stride + (i + k) * line_stride;

            store_line(w, w->bytes + first * w->element, along, lines + k * n, lines + LINES * n,
                       n);
        }
    }
    return 0;
}

/* --- smoothing ------------------------------------------------------------------------------- */

static int smooth_slice(struct work *w, uint64_t slice, struct err *err)
{
    size_t n = w->source[slice].n_short;
    size_t k = smooth_per_slice(w->out->k, (size_t)w->t->m.n_slices, n);
    struct truncated_svd *svd = NULL;
    struct truncated_info info;
    int r = truncated_svd_new(&w->source[slice], w->out->how, k, &svd, &info, err);

    if (r < 0)
        return r;
    const struct matrix_source result = truncated_svd_source(svd);

    r = store_slice(w, slice, &result, err);
    truncated_svd_free(svd);
    w->out->kept += info.kept;
    w->before += info.norm * info.norm;
    w->stated += info.change * info.change;
    return r;
}

/* The tensor is what it was. */
static int leave(struct work *w, enum smooth_reason reason, struct err *err)
{
    *w->out = (struct smooth_outcome){.reason = reason, .rank = w->out->rank};
    return read_bytes(w, err);
}

static int smooth_all(struct work *w, struct err *err)
{
    int r = 0;

    for (uint64_t s = 0; r == 0 && s < w->t->m.n_slices; s++)
        r = smooth_slice(w, s, err);
    if (r == ERR_NUMERIC)
        return leave(w, SMOOTH_NOT_CONVERGED, err);
    if (r < 0)
        return r;
    if (w->n_nonfinite || !isfinite(w->change))
        return leave(w, SMOOTH_OVERFLOW, err);
    w->out->norm = sqrt(w->before);
    w->out->stated = w->before > 0 ? sqrt(w->stated / w->before) : 0;
    w->out->change = w->before > 0 ? sqrt(w->change / w->before) : 0;
    return 0;
}

static int choose(struct work *w, struct err *err)
{
    struct smooth_options opt = w->t->opt;
    struct smooth_choice c;
    int r = read_bytes(w, err);

    if (r < 0)
        return r;
    opt.wide = dtype_bits((enum dtype)w->t->m.dtype) > 32;
    opt.seed = opt.method == SMOOTH_SHARPNESS ? seed_of(w) : 0;
    r = smooth_choose(w->source, (size_t)w->t->m.n_slices, &opt, &c, err);
    if (r < 0)
        return r;
    *w->out = (struct smooth_outcome){.reason = c.reason, .how = c.how, .k = c.k, .rank = c.rank};
    return c.reason == SMOOTHED ? smooth_all(w, err) : 0;
}

static int smooth(struct work *w, struct err *err)
{
    size_t n = (size_t)w->t->m.n_slices;
    AUTO(file_matrix_freep) struct file_matrix *fm = NULL;
    AUTO(freep) struct slice *slices = calloc(n, sizeof *slices);
    AUTO(freep) struct matrix_source *sources = calloc(n, sizeof *sources);
    int r = file_matrix_open(w->file, &w->t->m, &fm, err);

    if (r < 0)
        return r;
    if (!slices || !sources)
        return err_set(err, ERR_NOMEM, "no memory for %zu slices", n);
    for (size_t i = 0; i < n; i++) {
        slices[i] = (struct slice){fm, i};
        sources[i] = *file_matrix_slice(fm, i);
        sources[i].read = read_slice;
        sources[i].arg = &slices[i];
    }
    w->source = sources;
    w->element = dtype_bits((enum dtype)w->t->m.dtype) / 8;
    return choose(w, err);
}

int role_smooth(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                struct err *err)
{
    AUTO(fd_close) int fd = -1;
    struct prune_outcome o = {.has_smooth = true};
    struct smooth_task t;
    void *map = NULL;
    int rc = smooth_task_get(r, &t, err);

    if (rc < 0)
        return rc;
    if (m->n_fds != 1)
        return wire_bad_task(err);
    rc = memfd_new("smoothed", (size_t)t.m.nbytes, &fd, &map, err);
    if (rc < 0)
        return rc;
    struct work w = {.t = &t, .file = m->fd[0], .bytes = map, .out = &o.smooth};
    rc = smooth(&w, err);
    (void)munmap(map, (size_t)t.m.nbytes);
    if (rc == 0)
        rc = memfd_seal(fd, err);
    if (rc < 0)
        return rc;
    prune_outcome_write(&o, &reply->body);
    reply->fd[reply->n_fds++] = fd;
    fd = -1;
    return 0;
}
