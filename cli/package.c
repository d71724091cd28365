/* package.c: see package.h. */
#include "cli/package.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fdio.h"
#include "common/tar.h"

#define MEMBERS_MAX 4096 /* the server takes no more */

/* Files of a model directory that readers look at. */
static const char *const wanted[] = {".safetensors", ".json"};
#define WEIGHTS ".safetensors"

struct member {
    char *name, *path;
    uint64_t nbytes;
    struct timespec mtime;
};

struct package {
    char *name;
    bool tar;
    struct member *members;
    size_t n_members;
    uint64_t nbytes;
    /* How far package_read() is. */
    size_t next;      /* member that comes after the open one */
    int fd;           /* of members[next - 1], or -1 */
    uint64_t left;    /* of its contents */
    struct buf frame; /* headers and padding to hand out before anything else */
    size_t framed;    /* bytes of it handed out */
    bool ended;
};

void package_free(struct package *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_members; i++) {
        free(p->members[i].name);
        free(p->members[i].path);
    }
    free(p->members);
    free(p->name);
    fd_close(&p->fd);
    buf_done(&p->frame);
    free(p);
}

const char *package_name(const struct package *p)
{
    return p->name;
}

bool package_is_tar(const struct package *p)
{
    return p->tar;
}

uint64_t package_nbytes(const struct package *p)
{
    return p->nbytes;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n > m && strcmp(s + n - m, end) == 0;
}

static bool is_wanted(const char *name)
{
    if (name[0] == '.')
        return false;
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (ends_with(name, wanted[i]))
            return true;
    return false;
}

static void add_member(struct package *p, const char *name, char *path, const struct stat *st)
{
    p->members = xrealloc(p->members, (p->n_members + 1) * sizeof(*p->members));
    p->members[p->n_members++] =
        (struct member){xstrdup(name), path, (uint64_t)st->st_size, st->st_mtim};
}

/* A wanted entry of a directory; what is no plain file is passed over. */
static int add_entry(struct package *p, const char *dir, const char *name, struct err *err)
{
    AUTO(freep) char *path = xasprintf("%s/%s", dir, name);
    struct stat st;

    if (stat(path, &st) < 0)
        return err_set_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return 0;
    if (p->n_members == MEMBERS_MAX)
        return err_set(err, ERR_LIMIT, "%s holds more than %d files", dir, MEMBERS_MAX);
    add_member(p, name, TAKE(path), &st);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

static int scan(struct package *p, const char *dir, struct err *err)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    bool weights = false;
    int r = 0;

    if (!d)
        return err_set_errno(err, errno, "cannot read %s", dir);
    while (r == 0 && (e = readdir(d)))
        if (is_wanted(e->d_name))
            r = add_entry(p, dir, e->d_name, err);
    (void)closedir(d);
    if (r < 0)
        return r;
    for (size_t i = 0; i < p->n_members; i++)
        weights = weights || ends_with(p->members[i].name, WEIGHTS);
    if (!weights)
        return err_set(err, ERR_NOT_FOUND, "no *" WEIGHTS " file in %s", dir);
    qsort(p->members, p->n_members, sizeof(*p->members), by_name);
    return 0;
}

/* Length of the archive: what package_read() will hand out. */
static uint64_t archive_nbytes(const struct package *p)
{
    struct buf b = BUF_INIT;
    uint64_t sum = 0;

    for (size_t i = 0; i < p->n_members; i++) {
        uint64_t n = p->members[i].nbytes;

        buf_reset(&b);
        tar_header(&b, p->members[i].name, n, 0);
        sum += b.len + n + tar_padding(n);
    }
    buf_reset(&b);
    tar_end(&b);
    sum += b.len;
    buf_done(&b);
    return sum;
}

int package_open(const char *path, struct package **out, struct err *err)
{
    AUTO(package_freep) struct package *p = xcalloc(1, sizeof(*p));
    AUTO(freep) char *real = realpath(path, NULL);
    struct stat st;
    int r = 0;

    p->fd = -1;
    if (!real || stat(real, &st) < 0)
        return err_set_errno(err, errno, "%s", path);
    p->tar = S_ISDIR(st.st_mode);
    if (!p->tar && !S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is neither a file nor a directory", path);
    if (p->tar) {
        r = scan(p, real, err);
        p->nbytes = r == 0 ? archive_nbytes(p) : 0;
    } else {
        p->nbytes = (uint64_t)st.st_size;
    }
    if (r < 0)
        return r;
    /* The name as given, not where a link leads: caches name files by their digest. */
    AUTO(freep) char *given = xstrdup(path);
    const char *last = basename(given);
    bool dots = strcmp(last, ".") == 0 || strcmp(last, "..") == 0 || strcmp(last, "/") == 0;

    p->name = xstrdup(dots ? basename(real) : last);
    if (!p->tar)
        add_member(p, p->name, xstrdup(path), &st);
    *out = TAKE(p);
    return 0;
}

/* --- reading ------------------------------------------------------------------------------- */

static int check_unchanged(const struct member *m, int fd, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "%s", m->path);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != m->nbytes ||
        st.st_mtim.tv_sec != m->mtime.tv_sec || st.st_mtim.tv_nsec != m->mtime.tv_nsec)
        return err_set(err, ERR_CHANGED, "%s changed while it was sent", m->path);
    return 0;
}

/* Go on to the next member, or to the end of the stream. */
static int advance(struct package *p, struct err *err)
{
    const struct member *m;

    buf_reset(&p->frame);
    p->framed = 0;
    if (p->next == p->n_members) {
        p->ended = true;
        if (p->tar)
            tar_end(&p->frame);
        return 0;
    }
    m = &p->members[p->next];
    p->fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (p->fd < 0)
        return err_set_errno(err, errno, "cannot open %s", m->path);
    p->next++;
    p->left = m->nbytes;
    if (p->tar)
        tar_header(&p->frame, m->name, m->nbytes, 0);
    return check_unchanged(m, p->fd, err);
}

/* Contents of the open member; at their end the member is closed. */
static ssize_t read_member(struct package *p, void *to, size_t cap, struct err *err)
{
    const struct member *m = &p->members[p->next - 1];
    ssize_t n = 0;
    int r;

    if (p->left > 0) {
        n = read(p->fd, to, p->left < cap ? (size_t)p->left : cap);
        if (n < 0)
            return err_set_errno(err, errno, "cannot read %s", m->path);
        if (n == 0)
            return err_set(err, ERR_CHANGED, "%s changed while it was sent", m->path);
        p->left -= (uint64_t)n;
    }
    if (p->left > 0)
        return n;
    r = check_unchanged(m, p->fd, err);
    fd_close(&p->fd);
    buf_reset(&p->frame);
    p->framed = 0;
    if (p->tar) {
        static const char zeros[TAR_BLOCK];

        buf_put(&p->frame, zeros, tar_padding(m->nbytes));
    }
    return r < 0 ? r : n;
}

ssize_t package_read(struct package *p, void *to, size_t cap, struct err *err)
{
    while (cap > 0) {
        size_t framed = p->frame.len - p->framed;
        ssize_t n;

        if (framed > 0) {
            framed = framed < cap ? framed : cap;
            memcpy(to, p->frame.data + p->framed, framed);
            p->framed += framed;
            return (ssize_t)framed;
        }
        if (p->fd >= 0) {
            n = read_member(p, to, cap, err);
            if (n != 0)
                return n;
        } else if (p->ended) {
            return 0;
        } else {
            int r = advance(p, err);

            if (r < 0)
                return r;
        }
    }
    return 0;
}
