/* download.c: see download.h. */
#include "cli/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/field.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/upload.h"
#include "common/digest.h"
#include "common/fdio.h"
#include "common/ident.h"

#define TRIES    5
#define PAUSE_US 500000
#define CHUNK    (1u << 20)

struct download {
    struct context *cx;
    struct progress progress;
    bool quiet;
    uint64_t done, total, resumed; /* bytes of all files; of them here before */
    int64_t from_ns;
};

/* One file on its way. */
struct part {
    struct download *all;
    const char *name, *hex; /* borrowed */
    uint64_t nbytes;
    char *path, *temporary;
    int fd;
    uint64_t at; /* bytes that are there */
    bool fresh;  /* nothing of the present reply has come */
    struct hasher *hasher;
    struct err err; /* why it could not be written */
};

static void part_done(struct part *p)
{
    fd_close(&p->fd);
    hasher_free(p->hasher);
    free(p->path);
    free(p->temporary);
}

/* The server's names are as good as anybody's. */
static bool name_fine(const char *name)
{
    size_t n = strlen(name);

    return n > 0 && n < 250 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           !strchr(name, '/');
}

static void show(struct download *d)
{
    AUTO(freep) char *line = NULL;

    if (d->quiet || !progress_due(&d->progress))
        return;
    line = transfer_line(d->done, d->total, d->resumed, (double)(mono_ns() - d->from_ns) / 1e9);
    progress_draw(&d->progress, line);
}

static void move_on(struct part *p, const void *bytes, size_t len)
{
    hasher_add(p->hasher, bytes, len);
    p->at += len;
    p->all->done += len;
    show(p->all);
}

static bool restart(struct part *p)
{
    struct digest unused;

    hasher_finish(p->hasher, &unused);
    p->all->done -= p->at;
    p->at = 0;
    return ftruncate(p->fd, 0) == 0 && lseek(p->fd, 0, SEEK_SET) == 0;
}

static bool on_bytes(void *arg, long status, const void *bytes, size_t len)
{
    struct part *p = arg;

    /* Not the rest that was asked for, but all of it: the file is another one now. */
    if (status == 200 && p->at > 0 && p->fresh && !restart(p)) {
        (void)err_set_errno(&p->err, errno, "cannot write %s", p->temporary);
        return false;
    }
    p->fresh = false;
    if (len > p->nbytes - p->at) {
        (void)err_set(&p->err, ERR_INVALID, "%s is longer than the server said", p->name);
        return false;
    }
    if (fd_write_all(p->fd, bytes, len, &p->err) < 0)
        return false;
    move_on(p, bytes, len);
    return true;
}

/* What is there of a file; 0 or an error that has been set. */
static int read_there(struct part *p, int fd, struct err *err)
{
    AUTO(freep) char *bytes = xmalloc(CHUNK);
    ssize_t n;

    while ((n = read(fd, bytes, CHUNK)) > 0)
        move_on(p, bytes, (size_t)n);
    return n < 0 ? err_set_errno(err, errno, "cannot read %s", p->name) : 0;
}

static bool digest_is_right(struct part *p)
{
    struct digest d;
    char hex[DIGEST_HEX_LEN + 1];

    hasher_finish(p->hasher, &d);
    digest_hex(&d, hex);
    return strcmp(hex, p->hex) == 0;
}

/* 1: it is there and right. 0: it is not there. */
static int look(struct part *p, struct err *err)
{
    AUTO(fd_close) int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "cannot read %s", p->path);
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size == p->nbytes) {
        int r = read_there(p, fd, err);

        if (r < 0)
            return r;
        p->all->resumed += p->at;
        if (digest_is_right(p))
            return 1;
    }
    return err_set(err, ERR_CONFLICT, "%s is there already, and is another file", p->path);
}

static int open_part(struct part *p, struct err *err)
{
    struct stat st;
    int r = 0;

    p->fd = open(p->temporary, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (p->fd < 0 || fstat(p->fd, &st) < 0)
        return err_set_errno(err, errno, "cannot write %s", p->temporary);
    if ((uint64_t)st.st_size > p->nbytes && ftruncate(p->fd, 0) < 0)
        return err_set_errno(err, errno, "cannot write %s", p->temporary);
    r = read_there(p, p->fd, err);
    p->all->resumed += p->at;
    return r;
}

/* `here`: not the server's fault. */
static int failed(struct part *p, const struct err *err, bool here)
{
    progress_end(&p->all->progress);
    return here ? command_failed_here(err) : command_failed(p->all->cx, err);
}

/* Ask for what is missing until all is there. A reply that brought something is no failure. */
static int fetch(struct part *p, const char *url)
{
    AUTO(freep) char *tag = xasprintf("\"%s\"", p->hex);
    int failures = 0;

    while (p->at < p->nbytes) {
        AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;
        const struct http_sink sink = {.from = p->at, .if_range = tag, .write = on_bytes, .arg = p};
        const struct http_request rq = {.method = "GET", .path = url, .sink = &sink};
        uint64_t before = p->at;
        struct err err = {0};
        int r;

        p->fresh = true;
        r = http_call(p->all->cx->http, &rq, &reply, &err);
        if (p->err.code)
            return failed(p, &p->err, true);
        if (r == 0 && reply.status == 0) {
            progress_end(&p->all->progress);
            return command_interrupted();
        }
        if (p->at > before) {
            failures = 0;
            continue;
        }
        if (r == 0)
            r = err_set(&err, ERR_IO, "the server sends less of %s than there is", p->name);
        if ((r != ERR_IO && r != ERR_BUSY) || ++failures == TRIES)
            return failed(p, &err, false);
        (void)usleep(PAUSE_US);
    }
    return EXIT_DONE;
}

static int settle(struct part *p)
{
    struct err err = {0};

    if (!digest_is_right(p)) {
        (void)unlink(p->temporary);
        (void)err_set(&err, ERR_CHANGED, "%s is not what the job wrote: its digest differs",
                      p->name);
        return failed(p, &err, false);
    }
    if (fsync(p->fd) < 0 || rename(p->temporary, p->path) < 0) {
        (void)err_set_errno(&err, errno, "cannot write %s", p->path);
        return failed(p, &err, true);
    }
    return EXIT_DONE;
}

static int get_file(struct download *d, const char *id, const json_t *file, const char *dir)
{
    AUTO(part_done)
    struct part p = {.all = d,
                     .name = field_text(file, "name"),
                     .hex = field_text(file, "blake2b"),
                     .nbytes = (uint64_t)field_count(file, "bytes"),
                     .fd = -1};
    AUTO(freep) char *name = http_escape(p.name);
    AUTO(freep) char *url = xasprintf("/v1/artifacts/%s/files/%s", id, name);
    struct err err = {0};
    int r;

    p.path = xasprintf("%s/%s", dir, p.name);
    p.temporary = xasprintf("%s.part", p.path);
    p.hasher = hasher_new();
    r = look(&p, &err);
    if (r == 0)
        r = open_part(&p, &err);
    else if (r == 1)
        return EXIT_DONE;
    if (r < 0)
        return failed(&p, &err, true);
    r = fetch(&p, url);
    return r == EXIT_DONE ? settle(&p) : r;
}

static bool files_fine(const json_t *files, uint64_t *total)
{
    const json_t *f;
    size_t i;

    json_array_foreach(files, i, f)
    {
        if (!name_fine(field_text(f, "name")) || field_count(f, "bytes") < 0 ||
            strlen(field_text(f, "blake2b")) != DIGEST_HEX_LEN)
            return false;
        *total += (uint64_t)field_count(f, "bytes");
    }
    return json_is_array(files);
}

int download_artifact(struct context *cx, const json_t *artifact, const char *dir, bool quiet)
{
    const json_t *files = json_object_get(artifact, "files"), *f;
    AUTO(freep) char *id = http_escape(field_text(artifact, "id"));
    struct download d = {.cx = cx, .quiet = quiet, .from_ns = mono_ns()};
    struct err err = {0};
    int status = EXIT_DONE;
    size_t i;

    if (!files_fine(files, &d.total)) {
        (void)command_misused("the server answers, but not with files of an artifact");
        return EXIT_SERVER;
    }
    if (mkdir(dir, 0777) < 0 && errno != EEXIST) {
        (void)err_set_errno(&err, errno, "cannot create %s", dir);
        return command_failed_here(&err);
    }
    progress_init(&d.progress, &cx->err);
    json_array_foreach(files, i, f)
    {
        status = get_file(&d, id, f, dir);
        if (status != EXIT_DONE)
            break;
    }
    progress_end(&d.progress);
    return status;
}
