/* upload_in.c: receiving a body.
 *
 * Two threads see it. The writer thread owns its files (struct upload_writer); the loop owns the
 * rest. Every message to the writer is counted, and the last one that returns frees the upload.
 */
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/uploads_main.h"
#include "storage/upload_files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

/* One message to the writer: large enough that messages cost nothing, small enough that several
 * uploads get their turn. */
#define CHUNK (512u << 10)
/* Chunks of one upload under way before its sender is held back. */
#define CHUNKS_MAX 4

struct upload_in {
    struct uploads *all;
    struct upload_record rec;
    struct digest want;
    bool has_want, ended, failed, aborted;
    uint64_t received, reserved;
    struct buf chunk;
    unsigned under_way; /* messages not yet returned */
    bool held_back;
    char *key;      /* idempotency key, or NULL */
    struct err err; /* what the client is told */
    void (*ready)(void *arg);
    void *ready_arg;
    upload_cb *cb;
    void *cb_arg;
    /* the writer thread's */
    struct upload_writer *writer;
    struct err writer_err;
    struct upload_content content;
};

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
    free(u);
}

static void release(struct upload_in *u)
{
    if (u->under_way == 0 && u->ended)
        upload_free(u);
}

static void fail(struct upload_in *u, const struct err *err)
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

/* A message of `u` came back: what went wrong is known, and its sender may go on. */
static void returned(struct upload_in *u)
{
    bool go_on;

    u->under_way--;
    if (u->writer_err.code)
        fail(u, &u->writer_err);
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
};

static void piece_run(void *arg, void *state)
{
    struct piece *p = arg;
    struct upload_in *u = p->u;

    (void)state;
    if (u->writer_err.code == 0)
        (void)upload_writer_add(u->writer, p->bytes.data, p->bytes.len, &u->writer_err);
}

static void piece_done(void *arg, const struct err *err)
{
    struct piece *p = arg;
    struct upload_in *u = p->u;

    (void)err;
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

static void send_chunk(struct upload_in *u)
{
    struct piece *p;

    if (u->chunk.len == 0 || u->failed)
        return;
    p = xmalloc(sizeof *p);
    *p = (struct piece){.u = u, .bytes = u->chunk};
    u->chunk = (struct buf)BUF_INIT;
    u->under_way++;
    actor_send(u->all->writer, piece_run, piece_done, p);
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
    fail(u, &err);
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
            send_chunk(u);
    }
    u->held_back = u->under_way >= CHUNKS_MAX;
    return !u->held_back;
}

const struct err *service_upload_failure(const struct upload_in *u)
{
    return u->failed ? &u->err : NULL;
}

/* --- the end of a body ---------------------------------------------------------------------- */

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

static void end(struct upload_in *u)
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
    end(u);
}

static void tell(struct upload_in *u, const struct err *err, const struct upload_view *view)
{
    struct uploads *a = u->all;

    a->n_finishing--;
    metric_inc(a->m_ended,
               err                              ? "refused"
               : view->shared || view->replayed ? "shared"
                                                : "stored",
               1);
    if (!err)
        log_info("upload %s: %llu bytes, %llu files%s", view->upload->id,
                 (unsigned long long)view->upload->nbytes,
                 (unsigned long long)view->upload->n_files,
                 view->replayed ? ", replayed"
                 : view->shared ? ", content known"
                                : "");
    u->cb(u->cb_arg, err, view);
    end(u);
    uploads_drop_trash(a);
}

struct put {
    struct upload_in *u;
    struct upload_record earlier; /* made with the same key */
    bool replayed, known;
    uint64_t stored;
    struct err err;
};

/* What was asked for; the body stands for itself by its digest. */
static void key_use_of(const struct upload_in *u, struct key_use *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    *out = (struct key_use){.operation = "createUpload", .created_ms = u->rec.created_ms};
    memcpy(out->resource, u->rec.id, sizeof out->resource);
    hasher_add_u64(h, u->rec.kind);
    hasher_add_str(h, u->rec.name);
    hasher_add(h, u->rec.sha256.b, DIGEST_LEN);
    hasher_finish(h, &out->fingerprint);
}

/* True when the key was used before: then p->earlier is its upload, or p->err says why not. */
static bool replay(struct put *p, struct store *st, const struct key_use *use)
{
    const struct upload_in *u = p->u;
    char id[IDENT_MAX];
    int r = store_key_check(st, u->rec.owner, u->key, use, id, &p->err);

    if (r == ERR_NOT_FOUND) {
        p->err.code = 0;
        return false;
    }
    if (r == 0)
        r = store_upload_get(st, id, &p->earlier, &p->err);
    if (r == ERR_NOT_FOUND)
        (void)err_set(&p->err, r,
                      "the upload that this Idempotency-Key made has been deleted; the key stays "
                      "used for 24 hours");
    p->replayed = r == 0;
    return true;
}

static void put_run(void *arg, void *state)
{
    struct put *p = arg;
    const struct upload_in *u = p->u;
    struct store *st = job_store(state);
    struct key_use use;

    key_use_of(u, &use);
    if (!u->key || !replay(p, st, &use)) {
        if (u->key)
            (void)store_key_put(st, u->rec.owner, u->key, &use, &p->err);
        if (p->err.code == 0)
            (void)store_upload_put(st, &u->rec, &p->err);
    }
    p->known = true; /* when the store cannot tell, the content stays */
    (void)store_upload_known(st, u->rec.kind, &u->rec.sha256, &p->known, NULL);
    (void)store_upload_bytes(st, &p->stored, NULL);
}

static void put_done(void *arg, const struct err *group_err)
{
    struct put *p = arg;
    struct upload_in *u = p->u;
    const struct err *err = group_err ? group_err : p->err.code ? &p->err : NULL;
    struct upload_view view = {p->replayed ? &p->earlier : &u->rec, u->content.shared, p->replayed};

    if (p->known && !group_err)
        uploads_rescue(u->all, &u->rec);
    else if (!u->content.shared)
        uploads_put_trash(u->all, u->rec.kind, &u->rec.sha256);
    if (!group_err)
        uploads_set_stored(u->all, p->stored);
    tell(u, err, err ? NULL : &view);
    upload_record_done(&p->earlier);
    free(p);
}

static void finish_run(void *arg, void *state)
{
    struct upload_in *u = arg;

    (void)state;
    if (u->writer_err.code == 0)
        (void)upload_writer_finish(u->writer, u->has_want ? &u->want : NULL, &u->content,
                                   &u->writer_err);
}

static void finish_done(void *arg, const struct err *group_err)
{
    struct upload_in *u = arg;
    struct put *p;

    (void)group_err;
    u->under_way--;
    if (u->writer_err.code) {
        fail(u, &u->writer_err);
        tell(u, &u->err, NULL);
        return;
    }
    u->rec.sha256 = u->content.sha256;
    u->rec.nbytes = u->content.nbytes;
    u->rec.n_files = u->content.n_files;
    u->rec.created_ms = wall_ms();
    u->rec.expires_ms = u->rec.created_ms + (int64_t)u->all->svc->config->upload_ttl_s * 1000;
    p = xcalloc(1, sizeof *p);
    p->u = u;
    actor_send(u->all->svc->store_actor, put_run, put_done, p);
}

void service_upload_end(struct upload_in *u, upload_cb *cb, void *arg)
{
    ASSERT(!u->failed);
    u->cb = cb;
    u->cb_arg = arg;
    u->all->n_finishing++;
    send_chunk(u);
    u->under_way++;
    actor_send(u->all->writer, finish_run, finish_done, u);
}
