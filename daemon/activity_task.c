/* activity_task.c: see activity_task.h. */
#include "daemon/activity_task.h"

#include "common/fdio.h"
#include "compute/prune_score.h"
#include "daemon/worker.h"

#include <math.h>
#include <stdlib.h>

#define CHUNK 65536 /* elements that are decoded at a time */

void activity_task_put(struct buf *b, const struct activity_task *t)
{
    wire_put_matrix(b, &t->m);
    buf_put_u8(b, t->transposed);
    buf_put_u32(b, t->dtype);
    buf_put_u64(b, t->offset);
    buf_put_u64(b, t->count);
    buf_put_f64(b, t->limit);
}

int activity_parse(const struct activity_task *t, const void *bytes, size_t len,
                   struct activity *out, struct err *err)
{
    struct activity a;
    struct reader r;
    uint64_t n_nonfinite;

    reader_init(&r, bytes, len);
    a.sum = reader_f64(&r);
    a.above = reader_u64(&r);
    n_nonfinite = reader_u64(&r);
    if (!reader_ok(&r) || a.above > t->m.rows * t->m.cols || (!n_nonfinite && !(a.sum >= 0)))
        return err_set(err, ERR_CRASHED, "a worker sent malformed sums");
    if (n_nonfinite || isinf(a.sum))
        return err_set(err, ERR_INVALID, "weights or statistics are NaN or infinite");
    *out = a;
    return 0;
}

/* --- the worker ---------------------------------------------------------------------------- */

static int get(struct reader *r, struct activity_task *t, struct err *err)
{
    int rc = wire_get_matrix(r, &t->m, err);

    if (rc < 0)
        return rc;
    t->transposed = reader_u8(r) != 0;
    t->dtype = (enum dtype)reader_u32(r);
    t->offset = reader_u64(r);
    t->count = reader_u64(r);
    t->limit = reader_f64(r);
    if (!reader_ok(r) || t->m.n_slices != 1 || t->m.col_stride != 1 ||
        t->m.row_stride != t->m.cols || t->m.rows == 0 || t->m.cols == 0 ||
        !dtype_decodable(t->dtype) || t->count != (t->transposed ? t->m.rows : t->m.cols))
        return wire_bad_task(err);
    return 0;
}

/* The norms of the inputs; the number of sequences is the same for all of a model. */
static int read_norms(const struct activity_task *t, int fd, uint8_t *chunk, float *norm,
                      uint64_t *n_nonfinite, struct err *err)
{
    size_t size = dtype_bits(t->dtype) / 8;

    for (uint64_t at = 0; at < t->count; at += CHUNK) {
        size_t n = t->count - at < CHUNK ? (size_t)(t->count - at) : CHUNK;
        int r = fd_pread_all(fd, chunk, n * size, t->offset + at * size, err);

        if (r < 0)
            return r;
        *n_nonfinite += dtype_decode_f32(t->dtype, chunk, n, 1, norm + at);
    }
    for (uint64_t i = 0; i < t->count; i++) {
        *n_nonfinite += norm[i] < 0;
        norm[i] = sqrtf(norm[i]);
    }
    return 0;
}

/* One row of the stored matrix, a piece at a time. */
static int add_row(const struct activity_task *t, int fd, uint64_t row, uint8_t *chunk, float *w,
                   const float *norm, struct activity *a, uint64_t *n_nonfinite, struct err *err)
{
    size_t size = dtype_bits((enum dtype)t->m.dtype) / 8;

    for (uint64_t at = 0; at < t->m.cols; at += CHUNK) {
        size_t n = t->m.cols - at < CHUNK ? (size_t)(t->m.cols - at) : CHUNK;
        int r = fd_pread_all(fd, chunk, n * size, t->m.offset + (row * t->m.cols + at) * size, err);

        if (r < 0)
            return r;
        *n_nonfinite += dtype_decode_f32((enum dtype)t->m.dtype, chunk, n, 1, w);
        prune_outliers(w, t->transposed ? norm + row : norm + at, !t->transposed, n, t->limit,
                       &a->sum, &a->above);
    }
    return 0;
}

int role_activity(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                  struct err *err)
{
    struct activity_task t;
    struct activity a = {0, 0};
    uint64_t n_nonfinite = 0;
    int rc = get(r, &t, err);

    if (rc < 0)
        return rc;
    AUTO(freep) uint8_t *chunk = malloc(CHUNK * sizeof(double));
    AUTO(freep) float *w = malloc(CHUNK * sizeof *w);
    AUTO(freep) float *norm = malloc((size_t)t.count * sizeof *norm);
    if (!chunk || !w || !norm || m->n_fds != 2)
        return err_set(err, ERR_NOMEM, "no memory for %llu inputs", (unsigned long long)t.count);
    rc = read_norms(&t, m->fd[1], chunk, norm, &n_nonfinite, err);
    for (uint64_t row = 0; rc == 0 && row < t.m.rows; row++)
        rc = add_row(&t, m->fd[0], row, chunk, w, norm, &a, &n_nonfinite, err);
    if (rc < 0)
        return rc;
    buf_put_f64(&reply->body, a.sum);
    buf_put_u64(&reply->body, a.above);
    buf_put_u64(&reply->body, n_nonfinite);
    return 0;
}
