/* upload_files.c: see upload_files.h. */
#include "storage/upload_files.h"

#include "common/dirs.h"
#include "common/fdio.h"
#include "models/tar_stream.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Dirty pages are sent to the disk every so many bytes, so that the last sync is short and a fast
 * sender is held back by the disk, not by memory. */
#define WRITEBACK_BYTES (32u << 20)

struct upload_writer {
    char *state_dir;
    char *dir; /* incoming/ID */
    enum upload_kind kind;
    struct tar_stream *tar;
    int fd;           /* of the file in work, or -1 */
    uint64_t at;      /* bytes written to it */
    uint64_t started; /* of them, on their way to the disk */
    uint64_t nbytes, n_files;
};

static const char *kind_suffix(enum upload_kind kind)
{
    return kind == UPLOAD_TAR ? "tar" : "file";
}

static char *uploads_dir(const char *state_dir, const char *part)
{
    return xasprintf("%s/uploads/%s", state_dir, part);
}

char *upload_content_dir(const char *state_dir, enum upload_kind kind, const struct digest *sha256)
{
    char hex[DIGEST_HEX_LEN + 1];

    digest_hex(sha256, hex);
    return xasprintf("%s/uploads/content/%s.%s", state_dir, hex, kind_suffix(kind));
}

/* --- one file ------------------------------------------------------------------------------- */

static int file_open(struct upload_writer *w, const char *path, struct err *err)
{
    w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    w->at = w->started = 0;
    if (w->fd < 0 && errno == EEXIST)
        return err_set(err, ERR_FORMAT, "the archive holds a name twice");
    if (w->fd < 0 && (errno == ENOTDIR || errno == EISDIR))
        return err_set(err, ERR_FORMAT, "the archive uses a name both as file and as directory");
    return w->fd < 0 ? err_set_errno(err, errno, "cannot create a file of an upload") : 0;
}

static int file_write(struct upload_writer *w, const void *bytes, size_t len, struct err *err)
{
    int r = fd_write_all(w->fd, bytes, len, err);

    if (r < 0)
        return r;
    w->at += len;
    if (w->at - w->started >= WRITEBACK_BYTES) {
        (void)sync_file_range(w->fd, (off_t)w->started, (off_t)(w->at - w->started),
                              SYNC_FILE_RANGE_WRITE);
        w->started = w->at;
    }
    return 0;
}

static int file_close(struct upload_writer *w, struct err *err)
{
    int r = fsync(w->fd) < 0 ? err_set_errno(err, errno, "cannot sync an upload") : 0;

    fd_close(&w->fd);
    w->n_files++;
    return r;
}

/* --- the files of an archive ---------------------------------------------------------------- */

/* The archive's names are clean (tar_stream.h), and nothing but plain files and directories is
 * ever created here, so no component can lead elsewhere. */
static int begin(void *arg, const char *name, uint64_t size, struct err *err)
{
    struct upload_writer *w = arg;
    AUTO(freep) char *path = xasprintf("%s/files/%s", w->dir, name);
    char *slash = path + strlen(w->dir) + strlen("/files/");

    (void)size;
    while ((slash = strchr(slash, '/'))) {
        *slash = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST && errno != ENOTDIR)
            return err_set_errno(err, errno, "cannot create a directory of an upload");
        *slash++ = '/';
    }
    return file_open(w, path, err);
}

static int data(void *arg, const void *bytes, size_t len, struct err *err)
{
    return file_write(arg, bytes, len, err);
}

static int end(void *arg, struct err *err)
{
    return file_close(arg, err);
}

/* --- receiving ------------------------------------------------------------------------------ */

static int make_dirs(const struct upload_writer *w, const char *files, struct err *err)
{
    AUTO(freep) char *top = xasprintf("%s/uploads", w->state_dir);
    AUTO(freep) char *incoming = uploads_dir(w->state_dir, "incoming");
    AUTO(freep) char *content = uploads_dir(w->state_dir, "content");
    int r = dir_make(top, w->state_dir, err);

    if (r == 0)
        r = dir_make(incoming, top, err);
    if (r == 0)
        r = dir_make(content, top, err);
    if (r == 0 && (mkdir(w->dir, 0700) < 0 || mkdir(files, 0700) < 0))
        r = err_set_errno(err, errno, "cannot create a directory for an upload");
    return r;
}

int upload_writer_open(const char *state_dir, const char *id, enum upload_kind kind,
                       struct upload_writer **out, struct err *err)
{
    struct upload_writer *w = xcalloc(1, sizeof *w);
    AUTO(freep) char *files = NULL;
    AUTO(freep) char *path = NULL;
    int r;

    *w = (struct upload_writer){.state_dir = xstrdup(state_dir), .kind = kind, .fd = -1};
    w->dir = xasprintf("%s/uploads/incoming/%s", state_dir, id);
    files = xasprintf("%s/files", w->dir);
    path = xasprintf("%s/" UPLOAD_DATA_NAME, files);
    r = make_dirs(w, files, err);
    if (r == 0 && kind == UPLOAD_TAR)
        w->tar = tar_stream_new(&(struct tar_sink){begin, data, end, w});
    else if (r == 0)
        r = file_open(w, path, err);
    if (r < 0) {
        upload_writer_free(w);
        return r;
    }
    *out = w;
    return 0;
}

int upload_writer_add(struct upload_writer *w, const void *bytes, size_t len, struct err *err)
{
    w->nbytes += len;
    if (w->tar)
        return tar_stream_add(w->tar, bytes, len, err);
    return file_write(w, bytes, len, err);
}

/* An archive of one directory stands for that directory. */
static char *archive_root(const char *files)
{
    DIR *dir = opendir(files);
    const struct dirent *e;
    AUTO(freep) char *only = NULL;
    struct stat st;
    unsigned n = 0;

    while (dir && (e = readdir(dir)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && n++ == 0)
            only = xasprintf("%s/%s", files, e->d_name);
    if (dir)
        (void)closedir(dir);
    if (n == 1 && lstat(only, &st) == 0 && S_ISDIR(st.st_mode))
        return TAKE(only);
    return xstrdup(files);
}

static int publish(const struct upload_writer *w, const struct digest *sha256,
                   struct upload_content *c, struct err *err)
{
    AUTO(freep) char *files = xasprintf("%s/files", w->dir);
    AUTO(freep) char *from = w->tar ? archive_root(files) : xstrdup(files);
    AUTO(freep) char *to = upload_content_dir(w->state_dir, w->kind, sha256);
    AUTO(freep) char *content = uploads_dir(w->state_dir, "content");
    int r = dir_sync_tree(from, err);

    if (r < 0)
        return r;
    if (rename(from, to) == 0)
        return dir_sync(content, err);
    c->shared = errno == EEXIST || errno == ENOTEMPTY;
    return c->shared ? 0 : err_set_errno(err, errno, "cannot name an upload");
}

int upload_writer_finish(struct upload_writer *w, const struct digest *sha256,
                         struct upload_content *out, struct err *err)
{
    struct upload_content c = {.nbytes = w->nbytes};
    int r = w->tar ? tar_stream_end(w->tar, err) : file_close(w, err);

    c.n_files = w->n_files;
    if (r == 0)
        r = publish(w, sha256, &c, err);
    if (r == 0)
        *out = c;
    return r;
}

void upload_writer_free(struct upload_writer *w)
{
    if (!w)
        return;
    fd_close(&w->fd);
    (void)dir_remove(w->dir, NULL);
    tar_stream_free(w->tar);
    free(w->dir);
    free(w->state_dir);
    free(w);
}

/* --- removing ------------------------------------------------------------------------------- */

int upload_content_remove(const char *state_dir, enum upload_kind kind, const struct digest *sha256,
                          struct err *err)
{
    AUTO(freep) char *dir = upload_content_dir(state_dir, kind, sha256);
    AUTO(freep)
    char *doomed = xasprintf("%s/uploads/incoming/%.80s", state_dir, strrchr(dir, '/') + 1);

    /* Out of content/ in one step: nobody finds half of it, and a crash leaves it to the sweep. */
    if (rename(dir, doomed) < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, errno, "cannot remove an upload");
    return dir_remove(doomed, err);
}

static bool content_of_name(const char *name, enum upload_kind *kind, struct digest *sha256)
{
    const char *dot = strchr(name, '.');

    if (!dot || dot - name != DIGEST_HEX_LEN || !digest_from_hex(name, sha256))
        return false;
    *kind = strcmp(dot + 1, "tar") == 0 ? UPLOAD_TAR : UPLOAD_FILE;
    return strcmp(dot + 1, kind_suffix(*kind)) == 0;
}

struct known {
    bool (*fn)(void *arg, enum upload_kind kind, const struct digest *sha256);
    void *arg;
};

static bool is_known(void *arg, const char *name)
{
    const struct known *k = arg;
    enum upload_kind kind;
    struct digest sha256;

    return content_of_name(name, &kind, &sha256) && k->fn(k->arg, kind, &sha256);
}

size_t upload_sweep(const char *state_dir,
                    bool (*known)(void *arg, enum upload_kind kind, const struct digest *sha256),
                    void *arg)
{
    AUTO(freep) char *incoming = uploads_dir(state_dir, "incoming");
    AUTO(freep) char *content = uploads_dir(state_dir, "content");
    struct known k = {known, arg};

    return dir_sweep(incoming, NULL, NULL) + dir_sweep(content, is_known, &k);
}
