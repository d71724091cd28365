/* uploads.c: complete uploads: removing them, and their expiry.
 *
 * A content may be removed only while no upload is being finished: one of the same content might
 * have found it in place and not yet be known to the store. Until then it is trash.
 */
#include "daemon/uploads_main.h"

#include "daemon/job.h"
#include "daemon/log.h"
#include "storage/upload_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIDY_NS      10000000000ll
#define EXPIRE_BATCH 64

struct trash {
    struct trash *next;
    enum upload_kind kind;
    struct digest sha256;
};

/* --- removing ------------------------------------------------------------------------------- */

void uploads_put_trash(struct uploads *a, enum upload_kind kind, const struct digest *sha256)
{
    struct trash *t = xmalloc(sizeof *t);

    *t = (struct trash){.next = a->trash, .kind = kind, .sha256 = *sha256};
    a->trash = t;
}

/* Known to the store again: not to be removed. */
void uploads_rescue(struct uploads *a, const struct upload_record *rec)
{
    for (struct trash **p = &a->trash; *p;) {
        struct trash *t = *p;

        if (t->kind == rec->kind && digest_equal(&t->sha256, &rec->sha256)) {
            *p = t->next;
            free(t);
        } else {
            p = &t->next;
        }
    }
}

void uploads_set_stored(struct uploads *a, uint64_t bytes)
{
    a->stored = bytes;
    metric_set(a->m_bytes, "", (double)bytes);
}

struct drop {
    struct uploads *all;
    struct trash *list;
};

static void drop_run(void *arg, void *state)
{
    struct drop *d = arg;

    (void)state;
    for (struct trash *t = d->list; t; t = t->next) {
        struct err err;

        if (upload_content_remove(d->all->svc->config->state_dir, t->kind, &t->sha256, &err) < 0)
            log_warn("%s", err.text);
    }
}

static void free_trash(struct trash *list)
{
    while (list) {
        struct trash *next = list->next;

        free(list);
        list = next;
    }
}

static void drop_done(void *arg, const struct err *err)
{
    struct drop *d = arg;

    (void)err;
    free_trash(d->list);
    free(d);
}

/* Uploads that end later are finished by the writer after this message, so they find the content
 * gone and bring their own. */
void uploads_drop_trash(struct uploads *a)
{
    struct drop *d;

    if (!a->trash || a->n_finishing > 0)
        return;
    d = xmalloc(sizeof *d);
    *d = (struct drop){.all = a, .list = TAKE(a->trash)};
    actor_send(a->writer, drop_run, drop_done, d);
}

struct removal {
    struct uploads *all;
    char id[IDENT_MAX];
    struct upload_record rec;
    bool last;
    uint64_t stored;
    struct err err;
    upload_cb *cb;
    void *arg;
};

static void removal_run(void *arg, void *state)
{
    struct removal *m = arg;
    struct store *st = job_store(state);

    if (store_upload_remove(st, m->id, &m->rec, &m->last, &m->err) == 0)
        (void)store_upload_bytes(st, &m->stored, &m->err);
}

static void removal_done(void *arg, const struct err *group_err)
{
    struct removal *m = arg;
    const struct err *err = group_err ? group_err : m->err.code ? &m->err : NULL;
    struct upload_view view = {.upload = &m->rec};

    if (!err) {
        uploads_set_stored(m->all, m->stored);
        if (m->last)
            uploads_put_trash(m->all, m->rec.kind, &m->rec.sha256);
    }
    if (m->cb)
        m->cb(m->arg, err, err ? NULL : &view);
    uploads_drop_trash(m->all);
    upload_record_done(&m->rec);
    free(m);
}

void service_upload_remove(struct service *s, const char *id, upload_cb *cb, void *arg)
{
    struct removal *m = xcalloc(1, sizeof *m);

    *m = (struct removal){.all = s->uploads, .cb = cb, .arg = arg};
    snprintf(m->id, sizeof m->id, "%s", id);
    actor_send(s->store_actor, removal_run, removal_done, m);
}

/* --- expiry --------------------------------------------------------------------------------- */

struct tidy {
    struct uploads *all;
    struct upload_list list;
    struct err err;
};

static void tidy_run(void *arg, void *state)
{
    struct tidy *t = arg;

    (void)store_upload_expired(job_store(state), wall_ms(), EXPIRE_BATCH, &t->list, &t->err);
}

static void tidy_done(void *arg, const struct err *group_err)
{
    struct tidy *t = arg;

    (void)group_err;
    t->all->tidying = false;
    for (size_t i = 0; i < t->list.count; i++) {
        log_info("upload %s expired", t->list.upload[i].id);
        service_upload_remove(t->all->svc, t->list.upload[i].id, NULL, NULL);
    }
    upload_list_done(&t->list);
    free(t);
}

void uploads_tick(struct uploads *a)
{
    struct tidy *t;

    if (a->tidying || mono_ns() - a->tidied_ns < TIDY_NS)
        return;
    a->tidying = true;
    a->tidied_ns = mono_ns();
    t = xcalloc(1, sizeof *t);
    t->all = a;
    actor_send(a->svc->store_actor, tidy_run, tidy_done, t);
}

/* --- life cycle ----------------------------------------------------------------------------- */

/* When the store cannot tell, the content stays. */
static bool is_known(void *arg, enum upload_kind kind, const struct digest *sha256)
{
    bool known = true;

    (void)store_upload_known(arg, kind, sha256, &known, NULL);
    return known;
}

static void add_metrics(struct uploads *a)
{
    struct metrics *m = a->svc->metrics;

    a->m_received = metrics_add(m, METRIC_COUNTER, "spectrald_upload_received_bytes_total", "",
                                "Bytes of bodies received as uploads.");
    a->m_ended = metrics_add(m, METRIC_COUNTER, "spectrald_uploads_total", "outcome",
                             "Uploads that ended: stored, shared (content known already), refused "
                             "or aborted.");
    a->m_bytes = metrics_add(m, METRIC_GAUGE, "spectrald_upload_stored_bytes", "",
                             "Bytes of complete uploads; equal contents count once.");
    a->m_active =
        metrics_add(m, METRIC_GAUGE, "spectrald_uploads_active", "", "Uploads being received.");
    metric_set(a->m_active, "", 0);
}

int uploads_new(struct uploads **out, struct service *s, struct store *st, struct err *err)
{
    static const struct actor_group plain = {NULL, NULL};
    struct uploads *a = xcalloc(1, sizeof *a);
    uint64_t stored = 0;
    size_t swept;
    int r = store_upload_bytes(st, &stored, err);

    if (r < 0) {
        free(a);
        return r;
    }
    a->svc = s;
    add_metrics(a);
    uploads_set_stored(a, stored);
    swept = upload_sweep(s->config->state_dir, is_known, st);
    if (swept)
        log_info("%zu uploads that were never finished are removed", swept);
    a->writer = actor_new(s->loop, "upload", NULL, &plain);
    a->hasher = actor_new(s->loop, "upload-hash", NULL, &plain);
    *out = a;
    return 0;
}

void uploads_free(struct uploads *a)
{
    if (!a)
        return;
    actor_stop(a->hasher);
    actor_stop(a->writer);
    free_trash(a->trash);
    free(a);
}
