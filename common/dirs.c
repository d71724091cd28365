/* dirs.c: see dirs.h. */
#include "common/dirs.h"

#include "common/fdio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Descriptors nftw() may hold; deeper trees are walked all the same. */
#define WALK_FDS 16

int dir_sync(const char *dir, struct err *err)
{
    AUTO(fd_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return err_set_errno(err, errno, "cannot sync a directory");
    return 0;
}

static int sync_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return type == FTW_DP ? dir_sync(path, NULL) : 0;
}

int dir_sync_tree(const char *dir, struct err *err)
{
    if (nftw(dir, sync_one, WALK_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
        return err_set(err, ERR_IO, "cannot sync a directory");
    return 0;
}

int dir_make(const char *dir, const char *parent, struct err *err)
{
    if (mkdir(dir, 0700) == 0)
        return dir_sync(parent, err);
    return errno == EEXIST ? 0 : err_set_errno(err, errno, "cannot create a directory");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int dir_remove(const char *path, struct err *err)
{
    if (nftw(path, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
        return err_set_errno(err, errno, "cannot remove a directory");
    return 0;
}

size_t dir_sweep(const char *path, bool (*keep)(void *arg, const char *name), void *arg)
{
    DIR *dir = opendir(path);
    const struct dirent *e;
    size_t n = 0;

    while (dir && (e = readdir(dir)) != NULL) {
        AUTO(freep) char *entry = NULL;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            (keep && keep(arg, e->d_name)))
            continue;
        entry = xasprintf("%s/%s", path, e->d_name);
        n += dir_remove(entry, NULL) == 0;
    }
    if (dir)
        (void)closedir(dir);
    return n;
}
