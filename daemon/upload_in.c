/* upload_in.c: receiving a body.
 *
 * SHA-256, not our own content digest, because it is what clients can compute and announce (RFC
 * 9530); on a thread of its own, because it is the slowest step.
 */
#include "daemon/upload_in.h"

#include "daemon/job.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

/* One message to the writer: large enough that messages cost nothing, small enough that several
 * uploads get their turn. */
#define CHUNK (512u << 10)
/* Chunks of one upload under way before its sender is held back. */
#define CHUNKS_MAX 4

/* --- limits -------------------------------------------------------------------------------- */

static uint64_t disk_left(const struct config *c)
{
    struct statvfs v;
    uint64_t free_bytes;

    if (statvfs(c->state_dir, &v) < 0)
        return 0;
    free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return free_bytes > c->disk_low_bytes ? free_bytes - c->disk_low_bytes : 0;
}

/* Room for `more` bytes beyond what is stored and promised already? */
static int check_room(const struct uploads *a, uint64_t more, struct err *err)
{
    const struct config *c = a->svc->config;
    uint64_t used = a->stored + a->reserved;
    uint64_t room = disk_left(c);

    if (c->upload_quota && (used > c->upload_quota || more > c->upload_quota - used))
        return err_set(err, ERR_QUOTA,
                       "the quota for uploads, %llu bytes, has %llu left: delete some",
                       (unsigned long long)c->upload_quota,
                       (unsigned long long)(used > c->upload_quota ? 0 : c->upload_quota - used));
    if (more + a->awaited > room)
        return err_set(err, ERR_QUOTA,
                       "the server's disk has %llu bytes left above its low-water mark, and %llu "
                       "of them are promised to other uploads",
                       (unsigned long long)room, (unsigned long long)a->awaited);
    return 0;
}

static int too_large(const struct uploads *a, struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "an upload may have %llu bytes",
                   (unsigned long long)a->svc->config->upload_limit);
}

/* --- receiving ------------------------------------------------------------------------------ */

static void upload_free(struct upload_in *u)
{
    upload_record_done(&u->rec);
    buf_done(&u->chunk);
    free(u->key);
    hasher_free(u->hasher);
    free(u);
}

static void release(struct upload_in *u)
{
    if (u->under_way == 0 && u->ended)
        upload_free(u);
}

void upload_in_fail(struct upload_in *u, const struct err *err)
{
    if (u->failed)
        return;
    u->failed = true;
    if (err->code == ERR_FULL) /* its text is the server's own business */
        (void)err_set(&u->err, ERR_QUOTA, "the server's disk is full");
    else
        u->err = *err;
}

static void open_run(void *arg, void *state)
{
    struct upload_in *u = arg;

    (void)state;
    (void)upload_writer_open(u->all->svc->config->state_dir, u->rec.id, u->rec.kind, &u->writer,
                             &u->writer_err);
}

/* A message of `u` came back: its sender may go on, unless that was the last. */
static void returned(struct upload_in *u)
{
    bool go_on;

    u->under_way--;
    go_on = u->held_back && (u->failed || u->under_way <= CHUNKS_MAX / 2);
    if (go_on && !u->ended) {
        u->held_back = false;
        u->ready(u->ready_arg);
    }
    release(u);
}

static void open_done(void *arg, const struct err *err)
{
    (void)err;
    returned(arg);
}

int service_upload_begin(struct service *s, const struct upload_request *rq,
                         void (*ready)(void *arg), void *arg, struct upload_in **out,
                         struct err *err)
{
    struct uploads *a = s->uploads;
    uint64_t known = rq->length == UINT64_MAX ? 0 : rq->length;
    struct upload_in *u;
    int r;

    if (s->draining)
        return err_set(err, ERR_BUSY, "the server is shutting down");
    if (a->n_receiving >= UPLOADS_AT_ONCE)
        return err_set(err, ERR_BUSY, "%d uploads are being received", UPLOADS_AT_ONCE);
    if (known > s->config->upload_limit)
        return too_large(a, err);
    r = check_room(a, known, err);
    if (r == 0 && rq->key)
        r = service_key_begin(s, rq->owner, rq->key, err);
    if (r < 0)
        return r;
    u = xcalloc(1, sizeof *u);
    *u = (struct upload_in){.all = a, .ready = ready, .ready_arg = arg, .has_want = rq->want};
    if (rq->want)
        u->want = *rq->want;
    ident_new(u->rec.id, "upl_");
    u->rec.owner = xstrdup(rq->owner);
    u->rec.name = xstrdup(rq->name);
    u->rec.kind = rq->kind;
    u->key = rq->key ? xstrdup(rq->key) : NULL;
    u->hasher = hasher_new_sha256();
    u->reserved = known;
    a->reserved += known;
    a->awaited += known;
    metric_set(a->m_active, "", ++a->n_receiving);
    u->under_way++;
    actor_send(a->writer, open_run, open_done, u);
    *out = u;
    return 0;
}

struct piece {
    struct upload_in *u;
    struct buf bytes;
    unsigned users; /* threads that still read it */
    struct err err; /* why it could not be written */
};

static void piece_write(void *arg, void *state)
{
    struct piece *p = arg;
    struct upload_in *u = p->u;

    (void)state;
    if (u->writer_err.code == 0)
        (void)upload_writer_add(u->writer, p->bytes.data, p->bytes.len, &u->writer_err);
    p->err = u->writer_err; /* the loop must not read what later pieces may change */
}

static void piece_hash(void *arg, void *state)
{
    struct piece *p = arg;

    (void)state;
    hasher_add(p->u->hasher, p->bytes.data, p->bytes.len);
}

static void piece_done(void *arg, const struct err *err)
{
    struct piece *p = arg;
    struct upload_in *u = p->u;

    (void)err;
    if (--p->users > 0)
        return;
    if (p->err.code)
        upload_in_fail(u, &p->err);
    /* The next chunk goes into the memory of this one. */
    if (!u->chunk.data) {
        u->chunk = p->bytes;
        buf_reset(&u->chunk);
    } else {
        buf_done(&p->bytes);
    }
    free(p);
    returned(u);
}

void upload_in_send(struct upload_in *u)
{
    struct piece *p;

    if (u->chunk.len == 0 || u->failed)
        return;
    p = xmalloc(sizeof *p);
    *p = (struct piece){.u = u, .bytes = u->chunk, .users = 2};
    u->chunk = (struct buf)BUF_INIT;
    u->under_way++;
    actor_send(u->all->writer, piece_write, piece_done, p);
    actor_send(u->all->hasher, piece_hash, piece_done, p);
}

/* A body of unannounced length takes its room piece by piece. */
static bool grow(struct upload_in *u, uint64_t len)
{
    struct uploads *a = u->all;
    uint64_t step = len > CHUNK ? len : CHUNK;
    struct err err;

    if (u->received + len > a->svc->config->upload_limit)
        (void)too_large(a, &err);
    else if (check_room(a, step, &err) == 0) {
        u->reserved += step;
        a->reserved += step;
        a->awaited += step;
        return true;
    }
    upload_in_fail(u, &err);
    return false;
}

bool service_upload_write(struct upload_in *u, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    if (u->failed || (u->received + len > u->reserved && !grow(u, len)))
        return true;
    metric_inc(u->all->m_received, "", (double)len);
    u->received += len;
    u->all->awaited -= len;
    while (len > 0) {
        size_t n = CHUNK - u->chunk.len < len ? CHUNK - u->chunk.len : len;

        buf_put(&u->chunk, p, n);
        p += n;
        len -= n;
        if (u->chunk.len == CHUNK)
            upload_in_send(u);
    }
    u->held_back = u->under_way >= CHUNKS_MAX;
    return !u->held_back;
}

const struct err *service_upload_failure(const struct upload_in *u)
{
    return u->failed ? &u->err : NULL;
}

static void close_run(void *arg, void *state)
{
    struct upload_in *u = arg;

    (void)state;
    upload_writer_free(TAKE(u->writer));
}

static void close_done(void *arg, const struct err *err)
{
    (void)err;
    returned(arg);
}

void upload_in_end(struct upload_in *u)
{
    struct uploads *a = u->all;

    if (u->key)
        service_key_end(a->svc, u->rec.owner, u->key);
    a->reserved -= u->reserved;
    a->awaited -= u->reserved - u->received;
    metric_set(a->m_active, "", --a->n_receiving);
    u->ended = true;
    u->under_way++;
    actor_send(a->writer, close_run, close_done, u);
}

void service_upload_abort(struct upload_in *u)
{
    if (!u)
        return;
    metric_inc(u->all->m_ended, u->failed ? "refused" : "aborted", 1);
    upload_in_end(u);
}
