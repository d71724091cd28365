/* api_fake_artifacts.c: a service without artifacts. How they are read is tested over HTTP with the
 * real daemon. */
#include "daemon/artifacts.h"

#include <stdlib.h>

struct refusal {
    struct err err;
    artifact_cb *removed;
    artifact_file_cb *opened;
    artifact_tar_cb *tar;
    void *arg;
};

static void refuse_run(void *arg, struct store *st)
{
    struct refusal *r = arg;

    (void)st;
    (void)err_set(&r->err, ERR_NOT_FOUND, "there is no artifact");
}

static void refuse_done(void *arg)
{
    struct refusal *r = arg;

    if (r->removed)
        r->removed(r->arg, &r->err);
    else if (r->opened)
        r->opened(r->arg, &r->err, NULL);
    else
        r->tar(r->arg, &r->err, NULL);
    free(r);
}

static void refuse(struct service *s, struct refusal with)
{
    struct refusal *r = xmalloc(sizeof *r);

    *r = with;
    service_store_call(s, refuse_run, refuse_done, r);
}

void service_artifact_remove(struct service *s, const char *id, artifact_cb *cb, void *arg)
{
    (void)id;
    refuse(s, (struct refusal){.removed = cb, .arg = arg});
}

void service_artifact_file(struct service *s, const char *id, const char *name,
                           artifact_file_cb *cb, void *arg)
{
    (void)id;
    (void)name;
    refuse(s, (struct refusal){.opened = cb, .arg = arg});
}

void service_artifact_tar(struct service *s, const char *id, artifact_tar_cb *cb, void *arg)
{
    (void)id;
    refuse(s, (struct refusal){.tar = cb, .arg = arg});
}

uint64_t artifact_tar_size(const struct artifact_tar *t)
{
    ASSERT(!t); /* no archive is opened here */
    return 0;
}

void artifact_tar_next(struct artifact_tar *t, artifact_piece_cb *cb, void *arg)
{
    (void)cb;
    (void)arg;
    ASSERT(!t);
}

void artifact_tar_close(struct artifact_tar *t)
{
    ASSERT(!t);
}
