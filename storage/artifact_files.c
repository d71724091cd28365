/* artifact_files.c: see artifact_files.h.
 *
 * What is noted of a finished file lies in a directory beside the one that is written, as
 * "NAME.done": the key's hex digits, a line feed, the note.
 */
#include "storage/artifact_files.h"

#include "common/dirs.h"
#include "common/fdio.h"
#include "common/ident.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTE_MAX (64u << 20)
/* One call to copy moves so much, so that a signal is not kept waiting. */
#define PIECE (64u << 20)

struct artifact_writer {
    char *path, *parent;
    char *files, *notes; /* directories */
};

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == path ? xstrdup("/") : xasprintf("%.*s", (int)(slash - path), path);
}

static char *beside(const char *path, const char *job, const char *what)
{
    AUTO(freep) char *parent = parent_of(path);

    return xasprintf("%s/.%.100s.%s.%s", parent, strrchr(path, '/') + 1, job, what);
}

int artifact_writer_open(const char *path, const char *job, struct artifact_writer **out,
                         struct err *err)
{
    struct artifact_writer *w = xcalloc(1, sizeof *w);
    struct stat st;
    int r = 0;

    w->path = xstrdup(path);
    w->parent = parent_of(path);
    w->files = beside(path, job, "tmp");
    w->notes = beside(path, job, "done");
    /* This job had published it, and died before that was known. */
    if (lstat(path, &st) == 0 &&
        (lstat(w->notes, &st) < 0 ||
         renameat2(AT_FDCWD, path, AT_FDCWD, w->files, RENAME_NOREPLACE) < 0))
        r = err_set(err, ERR_CONFLICT, "there is something of that name already");
    /* The result is as readable as its owner's files are. */
    if (r == 0 && mkdir(w->files, 0777) < 0 && errno != EEXIST)
        r = err_set_errno(err, errno, "cannot create the directory of an artifact");
    if (r == 0)
        r = dir_make(w->notes, w->parent, err);
    if (r < 0)
        artifact_writer_free(w);
    else
        *out = w;
    return r;
}

void artifact_writer_free(struct artifact_writer *w)
{
    if (!w)
        return;
    free(w->path);
    free(w->parent);
    free(w->files);
    free(w->notes);
    free(w);
}

int artifact_discard(const char *path, const char *job, struct err *err)
{
    AUTO(freep) char *files = beside(path, job, "tmp");
    AUTO(freep) char *notes = beside(path, job, "done");
    int r = dir_remove(files, err), r2 = dir_remove(notes, err);

    return r < 0 ? r : r2;
}

/* --- notes ----------------------------------------------------------------------------------- */

static char *note_path(const struct artifact_writer *w, const char *name)
{
    return xasprintf("%s/%s.done", w->notes, name);
}

/* A whole small file, with a NUL behind it; NULL when it cannot be had. */
static char *slurp(const char *path, size_t *len)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    AUTO(freep) char *text = NULL;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > NOTE_MAX)
        return NULL;
    *len = (size_t)st.st_size;
    text = malloc(*len + 1);
    if (!text || fd_pread_all(fd, text, *len, 0, NULL) < 0)
        return NULL;
    text[*len] = '\0';
    return TAKE(text);
}

int artifact_file_known(const struct artifact_writer *w, const char *name, const struct digest *key,
                        char **note, struct err *err)
{
    AUTO(freep) char *path = note_path(w, name);
    AUTO(freep) char *file = xasprintf("%s/%s", w->files, name);
    AUTO(freep) char *text = NULL;
    char hex[DIGEST_HEX_LEN + 1];
    size_t len = 0;

    digest_hex(key, hex);
    text = slurp(path, &len);
    if (!text || len < DIGEST_HEX_LEN + 1 || memcmp(text, hex, DIGEST_HEX_LEN) != 0 ||
        text[DIGEST_HEX_LEN] != '\n' || access(file, F_OK) < 0)
        return err_set(err, ERR_NOT_FOUND, "not written yet");
    *note = xstrdup(text + DIGEST_HEX_LEN + 1);
    return 0;
}

/* --- files ----------------------------------------------------------------------------------- */

static char *part_path(const struct artifact_writer *w, const char *name)
{
    return xasprintf("%s/%s.part", w->files, name);
}

int artifact_file_create(const struct artifact_writer *w, const char *name, uint64_t size, int *fd,
                         struct err *err)
{
    AUTO(freep) char *path = part_path(w, name);
    AUTO(fd_close) int f = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (f < 0)
        return err_set_errno(err, errno, "cannot create a file of an artifact");
    /* Room is taken now, so that a full disk shows before hours of work. */
    if (size > 0 && posix_fallocate(f, 0, (off_t)size) == ENOSPC)
        return err_set(err, ERR_FULL, "the disk has no room for %llu bytes",
                       (unsigned long long)size);
    if (ftruncate(f, (off_t)size) < 0)
        return err_set_errno(err, errno, "cannot make room for an artifact");
    *fd = f;
    f = -1;
    return 0;
}

/* Where the file systems differ, the kernel cannot copy by itself. */
static ssize_t copy_piece(int from, int to, off_t *in, off_t out, size_t len)
{
    off_t at = *in;
    ssize_t n = copy_file_range(from, &at, to, &out, len, 0);

    if (n >= 0 || (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)) {
        *in = at;
        return n;
    }
    if (lseek(to, out, SEEK_SET) < 0)
        return -1;
    return sendfile(to, from, in, len);
}

static int move(int from, int to, off_t in, off_t out, uint64_t len, bool whole, struct err *err)
{
    while (len > 0) {
        size_t piece = len < PIECE ? (size_t)len : PIECE;
        ssize_t n;

        if (whole) {
            if (lseek(to, out, SEEK_SET) < 0)
                return err_set_errno(err, errno, "cannot write an artifact");
            n = sendfile(to, from, &in, piece);
        } else {
            n = copy_piece(from, to, &in, out, piece);
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "cannot write an artifact");
        if (n == 0)
            return err_set(err, ERR_CHANGED, "the file became shorter while it was read");
        out += n;
        len -= (uint64_t)n;
    }
    return 0;
}

int artifact_copy(int from, int to, uint64_t in, uint64_t out, uint64_t len, struct err *err)
{
    return move(from, to, (off_t)in, (off_t)out, len, false, err);
}

int artifact_put(int memfd, uint64_t in, int to, uint64_t offset, uint64_t len, struct err *err)
{
    int r = move(memfd, to, (off_t)in, (off_t)offset, len, true, err);

    /* The disk begins now, so that the sync at the end is short. */
    if (r == 0)
        (void)sync_file_range(to, (off_t)offset, (off_t)len, SYNC_FILE_RANGE_WRITE);
    return r;
}

int artifact_put_bytes(int to, const void *bytes, size_t len, uint64_t offset, struct err *err)
{
    const uint8_t *p = bytes;

    while (len > 0) {
        ssize_t n = pwrite(to, p, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set_errno(err, n < 0 ? errno : EIO, "cannot write an artifact");
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int artifact_file_cut(int fd, uint64_t size, struct err *err)
{
    return ftruncate(fd, (off_t)size) < 0 ? err_set_errno(err, errno, "cannot cut an artifact") : 0;
}

/* fsync, then the name: nobody finds a file that is not whole. */
static int name_file(const char *dir, const char *part, const char *path, int fd, struct err *err)
{
    if (fsync(fd) < 0)
        return err_set_errno(err, errno, "cannot sync an artifact");
    if (rename(part, path) < 0)
        return err_set_errno(err, errno, "cannot name a file of an artifact");
    return dir_sync(dir, err);
}

static int write_small(const char *dir, const char *name, const void *bytes, size_t len,
                       const void *more, size_t more_len, struct err *err)
{
    AUTO(freep) char *part = xasprintf("%s/%s.part", dir, name);
    AUTO(freep) char *path = xasprintf("%s/%s", dir, name);
    AUTO(fd_close) int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    int r;

    if (fd < 0)
        return err_set_errno(err, errno, "cannot create a file of an artifact");
    r = fd_write_all(fd, bytes, len, err);
    if (r == 0)
        r = fd_write_all(fd, more, more_len, err);
    return r < 0 ? r : name_file(dir, part, path, fd, err);
}

int artifact_file_finish(const struct artifact_writer *w, const char *name, int fd,
                         const struct digest *key, const char *note, struct err *err)
{
    AUTO(freep) char *part = part_path(w, name);
    AUTO(freep) char *path = xasprintf("%s/%s", w->files, name);
    AUTO(freep) char *note_name = xasprintf("%s.done", name);
    char head[DIGEST_HEX_LEN + 2];
    int r = name_file(w->files, part, path, fd, err);

    if (r < 0)
        return r;
    digest_hex(key, head);
    strcat(head, "\n");
    return write_small(w->notes, note_name, head, strlen(head), note, strlen(note), err);
}

int artifact_file_write(const struct artifact_writer *w, const char *name, const void *bytes,
                        size_t len, struct err *err)
{
    return write_small(w->files, name, bytes, len, "", 0, err);
}

int artifact_publish(const struct artifact_writer *w, struct err *err)
{
    int r = dir_sync(w->files, err);

    if (r < 0)
        return r;
    /* An empty directory of that name would be replaced. */
    if (renameat2(AT_FDCWD, w->files, AT_FDCWD, w->path, RENAME_NOREPLACE) < 0)
        return errno == EEXIST ? err_set(err, ERR_CONFLICT, "there is something of that name")
                               : err_set_errno(err, errno, "cannot name an artifact");
    return dir_sync(w->parent, err);
}

/* --- in the state directory ------------------------------------------------------------------ */

static char *own_dir(const char *state_dir)
{
    return xasprintf("%s/artifacts", state_dir);
}

int artifact_own_path(const char *state_dir, const char *id, char **path, struct err *err)
{
    AUTO(freep) char *dir = own_dir(state_dir);
    int r = dir_make(dir, state_dir, err);

    if (r == 0)
        *path = xasprintf("%s/%s", dir, id);
    return r;
}

int artifact_own_remove(const char *state_dir, const char *id, struct err *err)
{
    AUTO(freep) char *path = xasprintf("%s/artifacts/%s", state_dir, id);

    return dir_remove(path, err);
}

/* The job in ".NAME.JOB.tmp"; false when the name is not of that form. */
static bool job_of_name(const char *name, char job[IDENT_MAX])
{
    const char *end = strrchr(name, '.');
    const char *begin = end > name ? memrchr(name, '.', (size_t)(end - name)) : NULL;

    if (!begin || begin == name || (strcmp(end, ".tmp") != 0 && strcmp(end, ".done") != 0) ||
        end - begin - 1 >= IDENT_MAX)
        return false;
    (void)snprintf(job, IDENT_MAX, "%.*s", (int)(end - begin - 1), begin + 1);
    return true;
}

static bool keep_name(void *arg, const char *name)
{
    const struct artifact_keep *k = arg;
    char job[IDENT_MAX];

    if (*name == '.')
        return job_of_name(name, job) && k->unfinished(k->arg, job);
    return ident_valid(name, "art_") && k->known(k->arg, name);
}

size_t artifact_own_sweep(const char *state_dir, const struct artifact_keep *keep)
{
    AUTO(freep) char *dir = own_dir(state_dir);

    return dir_sweep(dir, keep_name, (void *)keep);
}
