/* outfile.c: see outfile.h. */
#include "cli/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fdio.h"
#include "common/ident.h"

#define MODE 0666 /* less the umask */

int outfile_open(const char *path, struct outfile *f, struct err *err)
{
    AUTO(freep) char *copy = xstrdup(path);
    const char *dir = dirname(copy);
    char unique[IDENT_MAX];
    struct stat st;
    int fd;

    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is not a plain file", path);
    ident_new(unique, "tmp_");
    *f = (struct outfile){.path = xstrdup(path), .temporary = xasprintf("%s.%s", path, unique)};
    fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, MODE);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
        fd = open(f->temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, MODE);
        f->named = fd >= 0;
    }
    f->out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f->out) {
        int saved = errno;

        fd_close(&fd);
        outfile_discard(f);
        return err_set_errno(err, saved, "cannot write %s", path);
    }
    return 0;
}

/* Link a nameless file under its temporary name: rename() replaces, link() does not. */
static int give_name(struct outfile *f)
{
    AUTO(freep) char *self = NULL;

    if (f->named)
        return 0;
    self = xasprintf("/proc/self/fd/%d", fileno(f->out));
    if (linkat(AT_FDCWD, self, AT_FDCWD, f->temporary, AT_SYMLINK_FOLLOW) < 0)
        return -1;
    f->named = true;
    return 0;
}

/* So that the new name survives a crash, too; not every file system can. */
static void sync_directory(const char *path)
{
    AUTO(freep) char *copy = xstrdup(path);
    AUTO(fd_close) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0)
        (void)fsync(fd);
}

int outfile_commit(struct outfile *f, struct err *err)
{
    bool ok = fflush(f->out) == 0 && !ferror(f->out) && fsync(fileno(f->out)) == 0 &&
              give_name(f) == 0 && rename(f->temporary, f->path) == 0;
    int saved = errno;

    if (ok) {
        f->named = false;
        sync_directory(f->path);
    } else {
        (void)err_set_errno(err, saved, "cannot write %s", f->path);
    }
    outfile_discard(f);
    return ok ? 0 : err->code;
}

void outfile_discard(struct outfile *f)
{
    if (f->out)
        (void)fclose(f->out);
    if (f->named)
        (void)unlink(f->temporary);
    free(f->path);
    free(f->temporary);
    *f = (struct outfile){0};
}
