/* decode_task.c: see decode_task.h. */
#include "daemon/decode_task.h"

#include "common/fdio.h"
#include "compute/bitmask.h"
#include "daemon/prune_task.h"
#include "daemon/worker.h"

#include <stdlib.h>
#include <sys/mman.h>

uint64_t decode_task_size(const struct decode_task *t)
{
    return t->rows * t->cols * t->element;
}

static uint64_t mask_size(const struct decode_task *t)
{
    return t->rows * bitmask_row_bytes((size_t)t->cols);
}

double decode_task_bytes(const struct decode_task *t)
{
    return (double)decode_task_size(t) + (double)(t->n_values * t->element) + (double)mask_size(t) +
           8 * (double)t->rows + 4e6;
}

void decode_task_put(struct buf *b, const struct decode_task *t)
{
    buf_put_u64(b, t->rows);
    buf_put_u64(b, t->cols);
    buf_put_u64(b, t->element);
    buf_put_u64(b, t->n_values);
    for (int i = 0; i < DECODE_PARTS; i++)
        buf_put_u64(b, t->offset[i]);
}

int decode_task_get(struct reader *r, struct decode_task *out, struct err *err)
{
    struct decode_task t = {.rows = reader_u64(r), .cols = 0};
    uint64_t n;

    t.cols = reader_u64(r);
    t.element = reader_u64(r);
    t.n_values = reader_u64(r);
    for (int i = 0; i < DECODE_PARTS; i++)
        t.offset[i] = reader_u64(r);
    if (!reader_ok(r) || t.rows == 0 || t.cols == 0 || t.rows > INT32_MAX || t.cols > INT32_MAX ||
        (t.element != 1 && t.element != 2 && t.element != 4 && t.element != 8) ||
        __builtin_mul_overflow(t.rows * t.cols, t.element, &n) || n > INT64_MAX ||
        t.n_values > t.rows * t.cols)
        return wire_bad_task(err);
    *out = t;
    return 0;
}

static int read_part(int fd, uint64_t offset, uint64_t len, uint8_t **out, struct err *err)
{
    *out = malloc((size_t)len + 1);
    if (!*out)
        return err_set(err, ERR_NOMEM, "no memory for %llu bytes", (unsigned long long)len);
    return fd_pread_all(fd, *out, (size_t)len, offset, err);
}

static int decode(const struct decode_task *t, const int *fd, void *out, struct err *err)
{
    AUTO(freep) uint8_t *values = NULL;
    AUTO(freep) uint8_t *mask = NULL;
    AUTO(freep) uint8_t *offsets = NULL;
    size_t rows = (size_t)t->rows, cols = (size_t)t->cols;
    int r = read_part(fd[DECODE_MASK], t->offset[DECODE_MASK], mask_size(t), &mask, err);

    if (r == 0)
        r = read_part(fd[DECODE_OFFSETS], t->offset[DECODE_OFFSETS], 8 * t->rows, &offsets, err);
    if (r == 0)
        r = bitmask_check(mask, offsets, rows, cols, t->n_values, err);
    if (r == 0)
        r = read_part(fd[DECODE_VALUES], t->offset[DECODE_VALUES], t->n_values * t->element,
                      &values, err);
    if (r == 0)
        bitmask_unpack(mask, values, rows, cols, (size_t)t->element, out);
    return r;
}

int role_decode(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                struct err *err)
{
    AUTO(fd_close) int fd = -1;
    struct prune_outcome o = {0};
    struct decode_task t;
    void *map = NULL;
    int rc = decode_task_get(r, &t, err);

    if (rc < 0)
        return rc;
    if (m->n_fds != DECODE_PARTS)
        return wire_bad_task(err);
    rc = memfd_new("decoded", (size_t)decode_task_size(&t), &fd, &map, err);
    if (rc < 0)
        return rc;
    rc = decode(&t, m->fd, map, err);
    (void)munmap(map, (size_t)decode_task_size(&t));
    if (rc == 0)
        rc = memfd_seal(fd, err);
    if (rc < 0)
        return rc;
    o.zeros = o.zeros_before = t.rows * t.cols - t.n_values;
    prune_outcome_write(&o, &reply->body);
    reply->fd[reply->n_fds++] = fd;
    fd = -1;
    return 0;
}
