/* blobs.c: large cache values as files, named by their key. */
#include "storage/sqlite.h"

#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *blob_dir(const struct store *s, enum cache_kind kind, const char *hex)
{
    return xasprintf("%s/blobs/%s/%.2s", s->dir, kind == CACHE_SPECTRUM ? "spectrum" : "fit", hex);
}

static int make_dirs(const struct store *s, const char *dir, struct err *err)
{
    AUTO(freep) char *p = xstrdup(dir);

    for (char *c = p + strlen(s->dir); *c; c++)
        if (*c == '/' && c > p + strlen(s->dir)) {
            *c = '\0';
            if (mkdir(p, 0700) < 0 && errno != EEXIST)
                return err_set_errno(err, errno, "cannot create a blob directory");
            *c = '/';
        }
    if (mkdir(p, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, errno, "cannot create a blob directory");
    return 0;
}

static int sync_dir(const char *dir, struct err *err)
{
    AUTO(fd_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return err_set_errno(err, errno, "cannot sync a blob directory");
    return 0;
}

static int write_file(const char *path, const void *bytes, size_t len, struct err *err)
{
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r;

    if (fd < 0)
        return err_set_errno(err, errno, "cannot create a blob file");
    r = fd_write_all(fd, bytes, len, err);
    if (r == 0 && fsync(fd) < 0)
        r = err_set_errno(err, errno, "cannot sync a blob file");
    return r;
}

int blob_write(const struct store *s, enum cache_kind kind, const struct digest *key,
               const void *bytes, size_t len, struct err *err)
{
    char hex[DIGEST_HEX_LEN + 1];
    AUTO(freep) char *dir = NULL;
    AUTO(freep) char *path = NULL;
    AUTO(freep) char *tmp = NULL;
    int r;

    digest_hex(key, hex);
    dir = blob_dir(s, kind, hex);
    path = xasprintf("%s/%s", dir, hex);
    tmp = xasprintf("%s.tmp", path);
    r = make_dirs(s, dir, err);
    if (r == 0)
        r = write_file(tmp, bytes, len, err);
    if (r == 0 && rename(tmp, path) < 0)
        r = err_set_errno(err, errno, "cannot name a blob file");
    if (r < 0)
        (void)unlink(tmp);
    return r < 0 ? r : sync_dir(dir, err);
}

int blob_read(const struct store *s, enum cache_kind kind, const struct digest *key, size_t len,
              struct buf *out, struct err *err)
{
    char hex[DIGEST_HEX_LEN + 1];
    AUTO(freep) char *dir = NULL;
    AUTO(freep) char *path = NULL;
    AUTO(fd_close) int fd = -1;
    struct stat st;

    digest_hex(key, hex);
    dir = blob_dir(s, kind, hex);
    path = xasprintf("%s/%s", dir, hex);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0 || (size_t)st.st_size != len)
        return err_set(err, ERR_NOT_FOUND, "a blob file is missing or has the wrong size");
    out->data = xrealloc(out->data, len ? len : 1);
    out->cap = len ? len : 1;
    out->len = len;
    return fd_pread_all(fd, out->data, len, 0, err);
}
