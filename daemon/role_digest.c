/* role_digest.c: a compute worker's digests, and histograms of magnitudes. */
#include "daemon/magnitude_task.h"

#include "common/fdio.h"
#include "daemon/worker.h"

#include <string.h>
#include <sys/mman.h>

#define CHUNK (1u << 18)

/* Bytes of a range through `h` and, as weights, through `c`; either may be NULL. */
static int read_range(int fd, uint64_t offset, uint64_t nbytes, struct hasher *h,
                      struct magnitude_counter *c, size_t width, struct err *err)
{
    uint8_t chunk[CHUNK];

    while (nbytes > 0) {
        size_t n = nbytes < sizeof chunk ? (size_t)nbytes : sizeof chunk;
        int r = fd_pread_all(fd, chunk, n, offset, err);

        if (r < 0)
            return r;
        if (h)
            hasher_add(h, chunk, n);
        if (c)
            magnitude_count(c, chunk, n / width);
        offset += n;
        nbytes -= n;
    }
    return 0;
}

/* Append a histogram to `all`, and its length to `len`. */
static int take(struct magnitude_counter *c, size_t slot, struct buf *all, struct buf *len,
                struct err *err)
{
    struct magnitudes m = MAGNITUDES_INIT;
    size_t before = all->len;
    int r = magnitude_take(c, slot, &m, err);

    if (r < 0)
        return r;
    magnitudes_write(&m, all);
    magnitudes_done(&m);
    buf_put_u32(len, (uint32_t)(all->len - before));
    return 0;
}

/* Lengths to the body, histograms to a memory file. */
static int hand_over(const struct buf *all, const struct buf *len, struct wire_reply *reply,
                     struct err *err)
{
    int r;

    buf_put(&reply->body, len->data, len->len);
    if (all->len == 0)
        return 0;
    r = memfd_of("magnitudes", all->data, all->len, &reply->fd[reply->n_fds], err);
    if (r == 0)
        reply->n_fds++;
    return r;
}

/* --- digest ---------------------------------------------------------------------------------- */

struct digesting {
    int fd;
    struct hasher *h;
    struct magnitude_counter *counter[MAGNITUDE_FORMAT_COUNT]; /* once needed */
    struct buf all, len;
};

static void digesting_done(struct digesting *d)
{
    hasher_free(d->h);
    for (size_t f = 0; f < MAGNITUDE_FORMAT_COUNT; f++)
        magnitude_counter_free(d->counter[f]);
    buf_done(&d->all);
    buf_done(&d->len);
}

static int digest_item(struct digesting *d, struct reader *r, struct buf *body, struct err *err)
{
    uint64_t offset = reader_u64(r), nbytes = reader_u64(r);
    uint8_t format = reader_u8(r);
    struct magnitude_counter **c = NULL;
    struct digest digest;
    size_t width = 1;
    int rc = 0;

    if (r->fault || (format >= MAGNITUDE_FORMAT_COUNT && format != MAGNITUDE_NONE))
        return wire_bad_task(err);
    if (format != MAGNITUDE_NONE) {
        c = &d->counter[format];
        width = magnitude_width((enum magnitude_format)format);
    }
    if (c && !*c)
        rc = magnitude_counter_new((enum magnitude_format)format, 0, NULL, 1, c, err);
    if (rc == 0)
        rc = read_range(d->fd, offset, nbytes, d->h, c ? *c : NULL, width, err);
    if (rc < 0)
        return rc;
    hasher_finish(d->h, &digest);
    buf_put(body, digest.b, DIGEST_LEN);
    if (c)
        return take(*c, 0, &d->all, &d->len, err);
    buf_put_u32(&d->len, 0);
    return 0;
}

int role_digest(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                struct err *err)
{
    AUTO(digesting_done) struct digesting d = {.fd = m->n_fds == 1 ? m->fd[0] : -1};
    uint32_t n = reader_u32(r);
    int rc = 0;

    if (m->n_fds != 1)
        return wire_bad_task(err);
    d.h = hasher_new();
    for (uint32_t i = 0; rc == 0 && i < n; i++)
        rc = digest_item(&d, r, &reply->body, err);
    if (rc == 0 && !reader_ok(r))
        rc = wire_bad_task(err);
    return rc < 0 ? rc : hand_over(&d.all, &d.len, reply, err);
}

/* --- magnitude ------------------------------------------------------------------------------- */

int role_magnitude(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                   struct err *err)
{
    AUTO(magnitude_counter_freep) struct magnitude_counter *c = NULL;
    AUTO(buf_done) struct buf all = BUF_INIT;
    AUTO(buf_done) struct buf len = BUF_INIT;
    uint64_t prefix[MAGNITUDE_SLOTS_MAX] = {0};
    uint8_t format = reader_u8(r);
    uint64_t offset = reader_u64(r), nbytes = reader_u64(r);
    uint8_t level = reader_u8(r), n = reader_u8(r);
    size_t width;
    int rc;

    if (format >= MAGNITUDE_FORMAT_COUNT || n > MAGNITUDE_SLOTS_MAX || (level == 0) != (n == 0))
        return wire_bad_task(err);
    for (size_t i = 0; i < n; i++)
        prefix[i] = reader_u64(r);
    width = magnitude_width((enum magnitude_format)format);
    if (!reader_ok(r) || m->n_fds != 1 || nbytes % width)
        return wire_bad_task(err);
    rc = magnitude_counter_new((enum magnitude_format)format, level, level ? prefix : NULL,
                               level ? n : 1, &c, err);
    if (rc == 0)
        rc = read_range(m->fd[0], offset, nbytes, NULL, c, width, err);
    for (size_t i = 0; rc == 0 && i < (level ? n : 1u); i++)
        rc = take(c, i, &all, &len, err);
    return rc < 0 ? rc : hand_over(&all, &len, reply, err);
}
