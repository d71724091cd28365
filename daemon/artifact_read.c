/* artifact_read.c: opening an artifact's files, and all of them as an archive.
 *
 * The store says what there is, then the file thread opens it. An archive is read there too, a
 * piece at a time, so that a slow disk holds up no other client.
 */
#include "common/fdio.h"
#include "common/tar.h"
#include "daemon/artifact_manifest.h"
#include "daemon/artifacts_main.h"
#include "daemon/job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (1u << 20)

/* --- what both do ------------------------------------------------------------------------------
 */

struct found {
    struct artifact_record rec;
    struct artifact_manifest manifest;
};

static void found_done(struct found *f)
{
    artifact_record_done(&f->rec);
    artifact_manifest_done(&f->manifest);
}

static int find(struct store *st, const char *id, struct found *out, struct err *err)
{
    int r = store_artifact_get(st, id, &out->rec, err);

    return r < 0 ? r : artifact_manifest_parse(out->rec.manifest, &out->manifest, err);
}

static int gone(int e, struct err *err)
{
    if (e == ENOENT || e == ENOTDIR || e == ELOOP)
        return err_set(err, ERR_GONE, "the files of the artifact are no longer there");
    return err_set_errno(err, e, "cannot open a file of an artifact");
}

static int open_dir(const struct artifact_record *rec, struct err *err)
{
    int fd = open(rec->path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    return fd < 0 ? gone(errno, err) : fd;
}

/* Under an output root anything may have happened to it. */
static int check(const struct stat *st, const struct artifact_file *f, struct err *err)
{
    if (!S_ISREG(st->st_mode))
        return err_set(err, ERR_GONE, "a file of the artifact is no longer there");
    if ((uint64_t)st->st_size != f->nbytes)
        return err_set(err, ERR_CHANGED,
                       "a file of the artifact has another size than when it "
                       "was made");
    return 0;
}

static int open_file(int dir, const struct artifact_file *f, int *fd, struct stat *st,
                     struct err *err)
{
    AUTO(fd_close)
    int got = openat(dir, f->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    int r;

    if (got < 0 || fstat(got, st) < 0)
        return gone(errno, err);
    r = check(st, f, err);
    if (r < 0)
        return r;
    (void)posix_fadvise(got, 0, 0, POSIX_FADV_SEQUENTIAL);
    *fd = got;
    got = -1;
    return 0;
}

/* --- one file ----------------------------------------------------------------------------------
 */

struct opening {
    struct service *svc;
    char id[IDENT_MAX];
    char name[ARTIFACT_NAME_MAX + 1];
    struct found found;
    struct artifact_open_file file;
    struct err err;
    artifact_file_cb *cb;
    void *arg;
};

static void opening_find(void *arg, struct store *st)
{
    struct opening *o = arg;

    if (find(st, o->id, &o->found, &o->err) == 0 &&
        !artifact_manifest_find(&o->found.manifest, o->name))
        (void)err_set(&o->err, ERR_NOT_FOUND, "no such file");
}

static void opening_open(void *arg, void *state)
{
    struct opening *o = arg;
    const struct artifact_file *f = artifact_manifest_find(&o->found.manifest, o->name);
    AUTO(fd_close) int dir = open_dir(&o->found.rec, &o->err);
    struct stat st;
    int64_t mtime_ns;

    (void)state;
    if (dir < 0 || open_file(dir, f, &o->file.fd, &st, &o->err) < 0)
        return;
    o->file.nbytes = f->nbytes;
    o->file.blake2b = f->blake2b;
    mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    if (mtime_ns / 1000000 > o->found.rec.created_ms)
        o->file.touched_ns = mtime_ns;
}

static void opening_done(void *arg, const struct err *group_err)
{
    struct opening *o = arg;

    (void)group_err;
    o->cb(o->arg, o->err.code ? &o->err : NULL, o->err.code ? NULL : &o->file);
    fd_close(&o->file.fd);
    found_done(&o->found);
    free(o);
}

static void opening_found(void *arg)
{
    struct opening *o = arg;

    if (o->err.code)
        opening_done(o, NULL);
    else
        actor_send(o->svc->file_actor, opening_open, opening_done, o);
}

void service_artifact_file(struct service *s, const char *id, const char *name,
                           artifact_file_cb *cb, void *arg)
{
    struct opening *o = xcalloc(1, sizeof *o);

    *o = (struct opening){.svc = s, .file = {.fd = -1}, .cb = cb, .arg = arg};
    (void)snprintf(o->id, sizeof o->id, "%s", id);
    if (strlen(name) <= ARTIFACT_NAME_MAX) /* else "", which no file is called */
        (void)snprintf(o->name, sizeof o->name, "%s", name);
    service_store_call(s, opening_find, opening_found, o);
}

/* --- an archive --------------------------------------------------------------------------------
 *
 * Entry i is a file: its header, its bytes, its padding. One more entry, of nothing but a header,
 * stands for the end mark.
 */

enum part { PART_HEAD, PART_DATA, PART_PADDING, PARTS };

struct artifact_tar {
    struct service *svc;
    char id[IDENT_MAX];
    struct found found;
    int dir, fd;
    struct buf heads;
    size_t *head_end; /* of entry i in heads */
    uint64_t size;
    size_t entry; /* where reading is: entry, part, offset in the part */
    enum part part;
    uint64_t at;
    uint8_t *piece;
    size_t len;
    bool busy, closed;
    struct err err;
    artifact_tar_cb *cb;
    artifact_piece_cb *piece_cb;
    void *arg;
};

uint64_t artifact_tar_size(const struct artifact_tar *t)
{
    return t->size;
}

static void tar_free(struct artifact_tar *t)
{
    artifacts_unpin(t->svc->artifacts, t->id);
    fd_close(&t->fd);
    fd_close(&t->dir);
    buf_done(&t->heads);
    free(t->head_end);
    free(t->piece);
    found_done(&t->found);
    free(t);
}

static void make_heads(struct artifact_tar *t)
{
    const struct artifact_manifest *m = &t->found.manifest;

    t->head_end = xcalloc(m->count + 1, sizeof *t->head_end);
    for (size_t i = 0; i < m->count; i++) {
        AUTO(freep) char *name = xasprintf("%s/%s", t->id, m->file[i].name);

        tar_header(&t->heads, name, m->file[i].nbytes, (uint64_t)t->found.rec.created_ms / 1000);
        t->head_end[i] = t->heads.len;
        t->size += m->file[i].nbytes + tar_padding(m->file[i].nbytes);
    }
    tar_end(&t->heads);
    t->head_end[m->count] = t->heads.len;
    t->size += t->heads.len;
}

static void tar_find(void *arg, struct store *st)
{
    struct artifact_tar *t = arg;

    (void)find(st, t->id, &t->found, &t->err);
}

/* What is missing shows now: later the reply has begun. */
static void tar_open(void *arg, void *state)
{
    struct artifact_tar *t = arg;

    (void)state;
    t->dir = open_dir(&t->found.rec, &t->err);
    for (size_t i = 0; i < t->found.manifest.count && t->err.code == 0; i++) {
        const struct artifact_file *f = &t->found.manifest.file[i];
        struct stat st;

        if (fstatat(t->dir, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            (void)gone(errno, &t->err);
        else
            (void)check(&st, f, &t->err);
    }
    if (t->err.code == 0)
        make_heads(t);
}

static void tar_opened(void *arg, const struct err *group_err)
{
    struct artifact_tar *t = arg;
    bool failed = t->err.code != 0;

    (void)group_err;
    t->cb(t->arg, failed ? &t->err : NULL, failed ? NULL : t);
    if (failed)
        tar_free(t);
}

static void tar_found(void *arg)
{
    struct artifact_tar *t = arg;

    if (t->err.code)
        tar_opened(t, NULL);
    else
        actor_send(t->svc->file_actor, tar_open, tar_opened, t);
}

void service_artifact_tar(struct service *s, const char *id, artifact_tar_cb *cb, void *arg)
{
    struct artifact_tar *t = xcalloc(1, sizeof *t);

    *t = (struct artifact_tar){.svc = s, .dir = -1, .fd = -1, .cb = cb, .arg = arg};
    (void)snprintf(t->id, sizeof t->id, "%s", id);
    artifacts_pin(s->artifacts, id);
    service_store_call(s, tar_find, tar_found, t);
}

static uint64_t part_len(const struct artifact_tar *t)
{
    const struct artifact_manifest *m = &t->found.manifest;
    uint64_t nbytes = t->entry < m->count ? m->file[t->entry].nbytes : 0;

    switch (t->part) {
    case PART_HEAD:
        return t->head_end[t->entry] - (t->entry ? t->head_end[t->entry - 1] : 0);
    case PART_DATA:
        return nbytes;
    case PART_PADDING:
        return tar_padding(nbytes);
    case PARTS:
        break;
    }
    return 0;
}

/* The next `len` bytes of the present part. */
static int read_part(struct artifact_tar *t, uint8_t *to, size_t len)
{
    struct stat st;
    int r = 0;

    switch (t->part) {
    case PART_HEAD:
        memcpy(to, t->heads.data + (t->entry ? t->head_end[t->entry - 1] : 0) + t->at, len);
        break;
    case PART_DATA:
        if (t->at == 0) {
            fd_close(&t->fd);
            r = open_file(t->dir, &t->found.manifest.file[t->entry], &t->fd, &st, &t->err);
        }
        if (r == 0)
            r = fd_pread_all(t->fd, to, len, t->at, &t->err);
        break;
    case PART_PADDING:
    case PARTS:
        memset(to, 0, len);
        break;
    }
    return r;
}

static void piece_run(void *arg, void *state)
{
    struct artifact_tar *t = arg;

    (void)state;
    t->len = 0;
    while (t->len < PIECE && t->entry <= t->found.manifest.count) {
        uint64_t left = part_len(t) - t->at;
        size_t n = left < PIECE - t->len ? (size_t)left : PIECE - t->len;

        if (n > 0 && read_part(t, t->piece + t->len, n) < 0)
            return;
        t->len += n;
        t->at += n;
        if (n < left)
            return;
        t->at = 0;
        t->part++;
        if (t->part == PARTS) {
            t->part = PART_HEAD;
            t->entry++;
        }
    }
}

static void piece_done(void *arg, const struct err *group_err)
{
    struct artifact_tar *t = arg;
    bool failed = t->err.code != 0;

    (void)group_err;
    t->busy = false;
    if (t->closed)
        tar_free(t);
    else
        t->piece_cb(t->arg, failed ? NULL : t->piece, failed ? 0 : t->len);
}

void artifact_tar_next(struct artifact_tar *t, artifact_piece_cb *cb, void *arg)
{
    ASSERT(!t->busy && !t->closed);
    if (!t->piece)
        t->piece = xmalloc(PIECE);
    t->busy = true;
    t->piece_cb = cb;
    t->arg = arg;
    actor_send(t->svc->file_actor, piece_run, piece_done, t);
}

void artifact_tar_close(struct artifact_tar *t)
{
    if (!t)
        return;
    t->closed = true;
    if (!t->busy)
        tar_free(t);
}
