/* upload_end.c: a body that is complete: its digest, its place on disk, its row in the store. */
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/upload_in.h"
#include "daemon/uploads_main.h"

#include <stdlib.h>
#include <string.h>

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
    upload_in_end(u);
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
        (void)upload_writer_finish(u->writer, &u->rec.sha256, &u->content, &u->writer_err);
}

static void finish_done(void *arg, const struct err *group_err)
{
    struct upload_in *u = arg;
    struct put *p;

    (void)group_err;
    u->under_way--; /* it was the writer's last message: its error may be read */
    if (u->writer_err.code) {
        upload_in_fail(u, &u->writer_err);
        tell(u, &u->err, NULL);
        return;
    }
    u->rec.nbytes = u->content.nbytes;
    u->rec.n_files = u->content.n_files;
    u->rec.created_ms = wall_ms();
    u->rec.expires_ms = u->rec.created_ms + (int64_t)u->all->svc->config->upload_ttl_s * 1000;
    p = xcalloc(1, sizeof *p);
    p->u = u;
    actor_send(u->all->svc->store_actor, put_run, put_done, p);
}

static void hash_run(void *arg, void *state)
{
    struct upload_in *u = arg;

    (void)state;
    hasher_finish(u->hasher, &u->rec.sha256);
}

static void hash_done(void *arg, const struct err *group_err)
{
    struct upload_in *u = arg;
    char hex[DIGEST_HEX_LEN + 1];
    struct err err;

    (void)group_err;
    if (!u->has_want || digest_equal(&u->want, &u->rec.sha256)) {
        actor_send(u->all->writer, finish_run, finish_done, u);
        return;
    }
    u->under_way--;
    digest_hex(&u->rec.sha256, hex);
    (void)err_set(&err, ERR_INVALID, "the body's SHA-256 is %s, not what Content-Digest announced",
                  hex);
    tell(u, &err, NULL);
}

void service_upload_end(struct upload_in *u, upload_cb *cb, void *arg)
{
    ASSERT(!u->failed);
    u->cb = cb;
    u->cb_arg = arg;
    u->all->n_finishing++;
    upload_in_send(u);
    u->under_way++;
    actor_send(u->all->hasher, hash_run, hash_done, u);
}
