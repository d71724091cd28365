/* fdio.c: see fdio.h. */
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

int fd_pread_all(int fd, void *out, size_t len, uint64_t offset, struct err *err)
{
    uint8_t *p = out;

    while (len > 0) {
        ssize_t n = pread(fd, p, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "cannot read the model file");
        if (n == 0)
            return err_set(err, ERR_CHANGED, "the file became shorter while it was read");
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int fd_write_all(int fd, const void *bytes, size_t len, struct err *err)
{
    const uint8_t *p = bytes;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "cannot write");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int memfd_new(const char *name, size_t len, int *fd, void **map, struct err *err)
{
    AUTO(fd_close) int f = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *m;

    if (f < 0)
        return err_set_errno(err, errno, "cannot create a memory file");
    if (ftruncate(f, (off_t)len) < 0)
        return err_set_errno(err, errno, "cannot size a memory file to %zu bytes", len);
    m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
    if (m == MAP_FAILED)
        return err_set_errno(err, errno, "cannot map a memory file of %zu bytes", len);
    *map = m;
    *fd = f;
    f = -1;
    return 0;
}

int memfd_seal(int fd, struct err *err)
{
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return err_set_errno(err, errno, "cannot seal a memory file");
    return 0;
}

int memfd_of(const char *name, const void *bytes, size_t len, int *fd, struct err *err)
{
    void *map = NULL;
    int r;

    *fd = -1;
    r = memfd_new(name, len, fd, &map, err);
    if (r < 0)
        return r;
    memcpy(map, bytes, len);
    (void)munmap(map, len);
    r = memfd_seal(*fd, err);
    if (r < 0)
        fd_close(fd);
    return r;
}

int memfd_sealed_size(int fd, size_t *len, struct err *err)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    if (seals < 0 || !(seals & F_SEAL_SHRINK) || !(seals & F_SEAL_WRITE))
        return err_set(err, ERR_CRASHED, "a worker sent a result that is not sealed");
    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "cannot stat a memory file");
    *len = (size_t)st.st_size;
    return 0;
}

int memfd_map_sealed(int fd, size_t len, const void **map, struct err *err)
{
    size_t actual = 0;
    int r = memfd_sealed_size(fd, &actual, err);
    void *m;

    if (r < 0)
        return r;
    if (actual != len)
        return err_set(err, ERR_CRASHED, "a worker sent %zu bytes where %zu were due", actual, len);
    m = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED)
        return err_set_errno(err, errno, "cannot map a result of %zu bytes", len);
    *map = m;
    return 0;
}
