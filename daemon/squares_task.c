/* squares_task.c: see squares_task.h. */
#include "daemon/squares_task.h"

#include "common/fdio.h"
#include "compute/width_cut.h"
#include "daemon/worker.h"
#include "models/dtype.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK 65536 /* elements that are decoded at a time */

uint64_t squares_count(const struct squares_task *t)
{
    return t->by_columns ? t->m.cols : t->m.rows;
}

void squares_task_put(struct buf *b, const struct squares_task *t)
{
    wire_put_matrix(b, &t->m);
    buf_put_u8(b, t->by_columns);
}

int squares_parse(const struct squares_task *t, const void *bytes, size_t len, int fd, double **out,
                  struct err *err)
{
    size_t n = (size_t)squares_count(t);
    AUTO(freep) double *sum = NULL;
    const void *map = NULL;
    struct reader r;
    uint64_t n_nonfinite;

    reader_init(&r, bytes, len);
    n_nonfinite = reader_u64(&r);
    if (!reader_ok(&r) || fd < 0)
        return err_set(err, ERR_CRASHED, "a worker sent malformed sums");
    if (n_nonfinite)
        return err_set(err, ERR_INVALID, "weights are NaN or infinite");
    sum = malloc(n * sizeof *sum);
    if (!sum)
        return err_set(err, ERR_NOMEM, "no memory for %zu sums", n);
    if (memfd_map_sealed(fd, n * sizeof *sum, &map, err) < 0)
        return err_set(err, ERR_CRASHED, "a worker sent malformed sums");
    memcpy(sum, map, n * sizeof *sum);
    (void)munmap((void *)(uintptr_t)map, n * sizeof *sum);
    for (size_t i = 0; i < n; i++)
        if (!(sum[i] >= 0) || isinf(sum[i]))
            return err_set(err, ERR_CRASHED, "a worker sent malformed sums");
    *out = TAKE(sum);
    return 0;
}

/* --- the worker ---------------------------------------------------------------------------- */

static int get(struct reader *r, struct squares_task *t, struct err *err)
{
    int rc = wire_get_matrix(r, &t->m, err);

    if (rc < 0)
        return rc;
    t->by_columns = reader_u8(r) != 0;
    if (!reader_ok(r) || t->m.n_slices != 1 || t->m.col_stride != 1 ||
        t->m.row_stride != t->m.cols || t->m.rows == 0 || t->m.cols == 0 ||
        squares_count(t) > SQUARES_MAX || !dtype_decodable((enum dtype)t->m.dtype))
        return wire_bad_task(err);
    return 0;
}

struct work {
    const struct squares_task *t;
    int fd;
    uint8_t *bytes;
    float *w;
    double *sum;
    uint64_t n_nonfinite;
};

/* A box of `rows` whole rows, or of a part of one. */
static int add_box(struct work *k, uint64_t row, uint64_t col, size_t rows, size_t cols,
                   struct err *err)
{
    const struct wire_matrix *m = &k->t->m;
    size_t size = dtype_bits((enum dtype)m->dtype) / 8;
    int r = fd_pread_all(k->fd, k->bytes, rows * cols * size,
                         m->offset + (row * m->cols + col) * size, err);

    if (r < 0)
        return r;
    k->n_nonfinite += dtype_decode_f32((enum dtype)m->dtype, k->bytes, rows * cols, 1, k->w);
    width_cut_squares(k->w, rows, cols, k->t->by_columns, k->sum + (k->t->by_columns ? col : row));
    return 0;
}

static int add_all(struct work *k, struct err *err)
{
    const struct wire_matrix *m = &k->t->m;
    uint64_t rows = m->cols < CHUNK ? CHUNK / m->cols : 1, n;
    int r = 0;

    for (uint64_t row = 0; r == 0 && row < m->rows; row += n) {
        n = m->rows - row < rows ? m->rows - row : rows;
        for (uint64_t col = 0; r == 0 && col < m->cols; col += CHUNK) {
            uint64_t cols = m->cols - col < CHUNK ? m->cols - col : CHUNK;

            r = add_box(k, row, col, (size_t)n, (size_t)cols, err);
        }
    }
    return r;
}

int role_squares(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                 struct err *err)
{
    AUTO(fd_close) int fd = -1;
    AUTO(freep) uint8_t *bytes = malloc(CHUNK * sizeof(double));
    AUTO(freep) float *w = malloc(CHUNK * sizeof *w);
    struct squares_task t;
    void *map = NULL;
    size_t len;
    int rc = get(r, &t, err);

    if (rc < 0)
        return rc;
    if (!bytes || !w || m->n_fds != 1)
        return err_set(err, ERR_NOMEM, "no memory for %d weights", CHUNK);
    len = (size_t)squares_count(&t) * sizeof(double);
    rc = memfd_new("squares", len, &fd, &map, err);
    if (rc < 0)
        return rc;
    struct work k = {.t = &t, .fd = m->fd[0], .bytes = bytes, .w = w, .sum = map};

    rc = add_all(&k, err);
    (void)munmap(map, len);
    if (rc == 0)
        rc = memfd_seal(fd, err);
    if (rc < 0)
        return rc;
    buf_put_u64(&reply->body, k.n_nonfinite);
    reply->fd[reply->n_fds++] = fd;
    fd = -1;
    return 0;
}
