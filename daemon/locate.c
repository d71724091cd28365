/* locate.c: see locate.h. A path is opened on the file thread; an upload is first looked up on the
 * store thread. */
#include "daemon/locate.h"

#include "daemon/actor.h"
#include "daemon/job.h"
#include "storage/upload_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int source_ref_check(const struct source_ref *r, const struct config *c, const char *pointer,
                     struct err *err)
{
    AUTO(source_freep) struct source *src = NULL;
    int fault;

    if (!r->path)
        return 0;
    fault = source_open(c, r->path, &src, err);
    if (fault < 0)
        snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
    return fault;
}

/* --- opening -------------------------------------------------------------------------------- */

struct locating {
    struct service *svc;
    struct source_ref ref;
    struct upload_record upload;
    struct source *source;
    struct err err;
    locate_cb *cb;
    void *arg;
};

static int open_upload(struct locating *l)
{
    const struct upload_record *u = &l->upload;
    AUTO(freep) char *dir = upload_content_dir(l->svc->config->state_dir, u->kind, &u->sha256);
    int r = source_open_at(dir, u->kind == UPLOAD_FILE ? UPLOAD_DATA_NAME : "", u->name, true,
                           &l->source, &l->err);

    if (r < 0)
        snprintf(l->err.pointer, sizeof l->err.pointer, "/source/upload");
    return r;
}

static void open_run(void *arg, void *state)
{
    struct locating *l = arg;

    (void)state;
    if (*l->ref.upload)
        (void)open_upload(l);
    else
        (void)source_open(l->svc->config, l->ref.path, &l->source, &l->err);
}

static void done(void *arg, const struct err *group_err)
{
    struct locating *l = arg;
    const struct err *err = l->err.code ? &l->err : group_err;

    l->cb(l->arg, err, err ? NULL : TAKE(l->source));
    source_free(l->source);
    source_ref_done(&l->ref);
    upload_record_done(&l->upload);
    free(l);
}

static void find_run(void *arg, void *state)
{
    struct locating *l = arg;
    struct store *st = job_store(state);
    int64_t until = wall_ms() + (int64_t)l->svc->config->upload_ttl_s * 1000;

    if (store_upload_get(st, l->ref.upload, &l->upload, &l->err) == ERR_NOT_FOUND)
        (void)err_set_at(&l->err, ERR_NOT_FOUND, "/source/upload",
                         "there is no upload %s; it may have expired", l->ref.upload);
    if (l->err.code == 0)
        (void)store_upload_keep(st, l->ref.upload, until, &l->err);
}

static void found(void *arg, const struct err *group_err)
{
    struct locating *l = arg;

    if (l->err.code || group_err)
        done(l, group_err);
    else
        actor_send(l->svc->file_actor, open_run, done, l);
}

void locate_source(struct service *s, const struct source_ref *ref, locate_cb *cb, void *arg)
{
    struct locating *l = xcalloc(1, sizeof *l);

    *l = (struct locating){.svc = s, .cb = cb, .arg = arg};
    l->ref.path = ref->path ? xstrdup(ref->path) : NULL;
    memcpy(l->ref.upload, ref->upload, sizeof l->ref.upload);
    if (*ref->upload)
        actor_send(s->store_actor, find_run, found, l);
    else
        actor_send(s->file_actor, open_run, done, l);
}
