/* wire.c: framing, descriptors, and the one structure both sides share. */
#include "daemon/wire.h"

#include "common/fdio.h"
#include "models/dtype.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct wire_header {
    uint32_t version, type;
    uint64_t task;
};

int wire_bad_task(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "a worker got a task it cannot do");
}

void wire_message_done(struct wire_message *m)
{
    buf_done(&m->body);
    for (size_t i = 0; i < m->n_fds; i++)
        fd_close(&m->fd[i]);
    m->n_fds = 0;
}

int wire_send(int sock, uint32_t type, uint64_t task, const void *body, size_t len, const int *fds,
              size_t n_fds, struct err *err)
{
    struct wire_header h = {.version = WIRE_VERSION, .type = type, .task = task};
    struct iovec iov[2] = {{&h, sizeof h}, {(void *)(uintptr_t)body, len}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)] = {0};
    ssize_t n;

    ASSERT(n_fds <= WIRE_FDS_MAX);
    if (len > WIRE_BYTES_MAX - sizeof h)
        return err_set(err, ERR_LIMIT, "a worker message of %zu bytes is too long", len);
    if (n_fds) {
        struct cmsghdr *c;

        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    do
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return 0;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return err_set(err, ERR_BUSY, "the worker's socket is full");
    return err_set(err, ERR_CRASHED, "cannot reach the worker: %s", strerror(errno));
}

static void take_fds(struct msghdr *msg, struct wire_message *out)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (size_t i = 0; i < n && out->n_fds < WIRE_FDS_MAX; i++)
            memcpy(&out->fd[out->n_fds++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
}

int wire_receive(int sock, struct wire_message *out, struct err *err)
{
    uint8_t bytes[WIRE_BYTES_MAX];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
    struct iovec iov = {bytes, sizeof bytes};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct wire_message m = {.body = BUF_INIT};
    struct wire_header h;
    ssize_t n;

    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return err_set(err, ERR_BUSY, "no message");
    if (n < 0 && errno != ECONNRESET)
        return err_set(err, ERR_CRASHED, "cannot read from the peer: %s", strerror(errno));
    if (n <= 0)
        return err_set(err, ERR_NOT_FOUND, "the peer is gone");
    take_fds(&msg, &m);
    if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || (size_t)n < sizeof h) {
        wire_message_done(&m);
        return err_set(err, ERR_CRASHED, "a worker message is malformed");
    }
    memcpy(&h, bytes, sizeof h);
    if (h.version != WIRE_VERSION) {
        wire_message_done(&m);
        return err_set(err, ERR_CRASHED, "a worker speaks protocol %u, not %u", h.version,
                       WIRE_VERSION);
    }
    m.type = h.type;
    m.task = h.task;
    buf_put(&m.body, bytes + sizeof h, (size_t)n - sizeof h);
    *out = m;
    return 0;
}

void wire_put_matrix(struct buf *b, const struct wire_matrix *m)
{
    const uint64_t v[] = {m->offset,   m->nbytes,     m->rows,       m->cols,
                          m->n_slices, m->row_stride, m->col_stride, m->slice_stride};

    buf_put_u32(b, m->dtype);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        buf_put_u64(b, v[i]);
}

/* Index of the last element, + 1, or false on overflow. */
static bool extent(const struct wire_matrix *m, uint64_t *out)
{
    uint64_t a, b, c, ab;

    return m->rows && m->cols && m->n_slices &&
           !__builtin_mul_overflow(m->rows - 1, m->row_stride, &a) &&
           !__builtin_mul_overflow(m->cols - 1, m->col_stride, &b) &&
           !__builtin_mul_overflow(m->n_slices - 1, m->slice_stride, &c) &&
           !__builtin_add_overflow(a, b, &ab) && !__builtin_add_overflow(ab, c, out) &&
           !__builtin_add_overflow(*out, 1, out);
}

int wire_get_matrix(struct reader *r, struct wire_matrix *out, struct err *err)
{
    struct wire_matrix m;
    uint64_t *const v[] = {&m.offset,   &m.nbytes,     &m.rows,       &m.cols,
                           &m.n_slices, &m.row_stride, &m.col_stride, &m.slice_stride};
    uint64_t elements, bits;

    m.dtype = reader_u32(r);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        *v[i] = reader_u64(r);
    if (r->fault || m.dtype >= DTYPE_COUNT || !dtype_decodable((enum dtype)m.dtype))
        return err_set(err, ERR_INTERNAL, "a task names no matrix");
    if (!extent(&m, &elements) ||
        __builtin_mul_overflow(elements, (uint64_t)dtype_bits((enum dtype)m.dtype), &bits) ||
        bits / 8 > m.nbytes)
        return err_set(err, ERR_INTERNAL, "a task's matrix lies outside its range");
    *out = m;
    return 0;
}
