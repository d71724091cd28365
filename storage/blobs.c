/* blobs.c: large cache values as files, named by their key. */
#include "storage/blobs.h"

#include "common/dirs.h"
#include "common/fdio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *blob_dir(const char *root, const char *kind, const char *hex)
{
    return xasprintf("%s/blobs/%s/%.2s", root, kind, hex);
}

static char *blob_path(const char *root, const char *kind, const struct digest *key)
{
    char hex[DIGEST_HEX_LEN + 1];

    digest_hex(key, hex);
    return xasprintf("%s/blobs/%s/%.2s/%s", root, kind, hex, hex);
}

static int make_dirs(const char *root, const char *kind, const char *dir, struct err *err)
{
    AUTO(freep) char *top = xasprintf("%s/blobs", root);
    AUTO(freep) char *middle = xasprintf("%s/blobs/%s", root, kind);
    int r = dir_make(top, root, err);

    if (r == 0)
        r = dir_make(middle, top, err);
    return r < 0 ? r : dir_make(dir, middle, err);
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

int blob_write(const char *root, const char *kind, const struct digest *key, const void *bytes,
               size_t len, struct err *err)
{
    char hex[DIGEST_HEX_LEN + 1];
    AUTO(freep) char *dir = NULL;
    AUTO(freep) char *path = blob_path(root, kind, key);
    AUTO(freep) char *tmp = xasprintf("%s.tmp", path);
    int r;

    digest_hex(key, hex);
    dir = blob_dir(root, kind, hex);
    r = make_dirs(root, kind, dir, err);
    if (r == 0)
        r = write_file(tmp, bytes, len, err);
    if (r == 0 && rename(tmp, path) < 0)
        r = err_set_errno(err, errno, "cannot name a blob file");
    if (r < 0)
        (void)unlink(tmp);
    return r < 0 ? r : dir_sync(dir, err);
}

int blob_read(const char *root, const char *kind, const struct digest *key, uint64_t len,
              struct buf *out, struct err *err)
{
    AUTO(freep) char *path = blob_path(root, kind, key);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    AUTO(freep) uint8_t *bytes = NULL;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != len)
        return err_set(err, ERR_NOT_FOUND, "a blob file is missing or has the wrong size");
    bytes = malloc(len ? len : 1); /* as large as a model's spectrum: may fail */
    if (!bytes)
        return err_set(err, ERR_NOMEM, "no memory for a cached value of %llu bytes",
                       (unsigned long long)len);
    if (fd_pread_all(fd, bytes, len, 0, err) < 0)
        return err_set(err, ERR_NOT_FOUND, "a blob file cannot be read");
    *out = (struct buf){.len = len, .cap = len ? len : 1};
    out->data = TAKE(bytes);
    return 0;
}

void blob_remove(const char *root, const char *kind, const struct digest *key)
{
    AUTO(freep) char *path = blob_path(root, kind, key);

    (void)unlink(path);
}

static size_t sweep_dir(const char *path, bool (*known)(void *arg, const struct digest *key),
                        void *arg)
{
    DIR *dir = opendir(path);
    const struct dirent *e;
    size_t n = 0;

    while (dir && (e = readdir(dir)) != NULL) {
        struct digest key;

        if (e->d_name[0] == '.' || (strlen(e->d_name) == DIGEST_HEX_LEN &&
                                    digest_from_hex(e->d_name, &key) && known(arg, &key)))
            continue;
        n += unlinkat(dirfd(dir), e->d_name, 0) == 0;
    }
    if (dir)
        (void)closedir(dir);
    return n;
}

size_t blob_sweep(const char *root, const char *kind,
                  bool (*known)(void *arg, const struct digest *key), void *arg)
{
    AUTO(freep) char *top = xasprintf("%s/blobs/%s", root, kind);
    DIR *dir = opendir(top);
    const struct dirent *e;
    size_t n = 0;

    while (dir && (e = readdir(dir)) != NULL) {
        AUTO(freep) char *path = NULL;

        if (strlen(e->d_name) != 2 || e->d_name[0] == '.')
            continue;
        path = xasprintf("%s/%s", top, e->d_name);
        n += sweep_dir(path, known, arg);
    }
    if (dir)
        (void)closedir(dir);
    return n;
}
