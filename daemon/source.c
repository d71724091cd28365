/* source.c: see source.h. */
#include "daemon/source.h"

#include "models/adapter.h"

#include "common/fdio.h"
#include "common/ident.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define POINTER       "/source/path"
#define FRESH_NS      2000000000ll
#define DIR_FILES_MAX 100000

static void file_done(struct source_file *f)
{
    free(f->name);
    f->name = NULL;
    fd_close(&f->fd);
}

void source_free(struct source *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_files; i++)
        file_done(&s->file[i]);
    free(s->file);
    file_done(&s->index);
    file_done(&s->config);
    file_done(&s->adapter_config);
    free(s->root);
    free(s->path);
    free(s->name);
    free(s);
}

static int open_beneath(const char *root, const char *rel)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    AUTO(fd_close) int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return -1;
    return (int)syscall(SYS_openat2, dir, *rel ? rel : ".", &how, sizeof how);
}

static int open_error(int e, const char *rel, struct err *err)
{
    switch (e) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG: /* no file system has such a name */
        return err_set_at(err, ERR_NOT_FOUND, POINTER, "there is no \"%.200s\" under a model root",
                          rel);
    case EXDEV:
    case ELOOP:
        return err_set_at(err, ERR_FORBIDDEN, POINTER,
                          "\"%.200s\" leads out of its model root; for a Hugging Face cache, whose "
                          "snapshots are links into blobs/, make the cache folder itself the "
                          "model root",
                          rel);
    case EACCES:
        return err_set_at(err, ERR_FORBIDDEN, POINTER, "\"%.200s\" is not readable for the server",
                          rel);
    default:
        return err_set_at(err, ERR_IO, POINTER, "cannot open \"%.200s\": %s", rel, strerror(e));
    }
}

static int64_t ns_of(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct file_identity identity_of(const struct stat *st)
{
    return (struct file_identity){.dev = st->st_dev,
                                  .ino = st->st_ino,
                                  .size = (uint64_t)st->st_size,
                                  .mtime_ns = ns_of(st->st_mtim),
                                  .ctime_ns = ns_of(st->st_ctim)};
}

/* Open a regular, non-empty file beneath the root; the name is kept for messages. */
static int open_file(const char *root, const char *rel, const char *name, struct source_file *out,
                     struct err *err)
{
    AUTO(fd_close) int fd = open_beneath(root, rel);
    struct stat st;

    if (fd < 0)
        return open_error(errno, rel, err);
    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "cannot stat \"%.200s\"", rel);
    if (!S_ISREG(st.st_mode))
        return err_set_at(err, ERR_UNSUPPORTED, POINTER, "\"%.200s\" is not a regular file", rel);
    if (st.st_size == 0)
        return err_set_at(err, ERR_FORMAT, POINTER, "\"%.200s\" is empty", rel);
    out->name = xstrdup(name);
    out->id = identity_of(&st);
    out->fd = fd;
    fd = -1;
    return 0;
}

static int add_file(struct source *s, const char *rel, const char *name, struct err *err)
{
    struct source_file f = {.fd = -1};
    int r = open_file(s->root, rel, name, &f, err);

    if (r < 0)
        return r;
    f.settled = s->settled;
    s->file = xrealloc(s->file, (s->n_files + 1) * sizeof *s->file);
    s->file[s->n_files++] = f;
    return 0;
}

static char *join(const char *dir, const char *name)
{
    return *dir ? xasprintf("%s/%s", dir, name) : xstrdup(name);
}

static int add_from_dir(struct source *s, const char *name, struct err *err)
{
    AUTO(freep) char *rel = join(s->path, name);

    return add_file(s, rel, name, err);
}

/* --- directories --------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

struct listing {
    char **name; /* *.safetensors, ascending */
    size_t n;
    char *index; /* an index file, or NULL */
    bool many_indexes, torch, gguf;
};

static void listing_done(struct listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->name[i]);
    free(l->name);
    free(l->index);
}

static void note_entry(struct listing *l, const char *name)
{
    if (ends_with(name, ".safetensors.index.json")) {
        bool standard = strcmp(name, "model.safetensors.index.json") == 0;

        l->many_indexes = l->index && !standard && !l->many_indexes &&
                          strcmp(l->index, "model.safetensors.index.json") != 0;
        if (!l->index || standard) {
            free(l->index);
            l->index = xstrdup(name);
        }
    } else if (hf_shard_name_ok(name, strlen(name))) {
        l->name = xrealloc(l->name, (l->n + 1) * sizeof *l->name);
        l->name[l->n++] = xstrdup(name);
    }
    l->torch = l->torch || (strncmp(name, "pytorch_model", 13) == 0 && ends_with(name, ".bin")) ||
               ends_with(name, ".pth") || ends_with(name, ".pt");
    l->gguf = l->gguf || ends_with(name, ".gguf");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_dir(int fd, struct listing *l, struct err *err)
{
    DIR *d = fdopendir(fd);
    struct dirent *e;
    size_t seen = 0;

    if (!d) {
        int saved = errno;

        (void)close(fd);
        return err_set_errno(err, saved, "cannot list the model directory");
    }
    while ((e = readdir(d)) != NULL && seen++ < DIR_FILES_MAX)
        note_entry(l, e->d_name);
    (void)closedir(d);
    if (seen > DIR_FILES_MAX)
        return err_set_at(err, ERR_LIMIT, POINTER, "the directory has more than %d entries",
                          DIR_FILES_MAX);
    if (l->n)
        qsort(l->name, l->n, sizeof *l->name, by_name);
    return 0;
}

static int no_model(const struct listing *l, struct err *err)
{
    const char *seen = l->torch  ? "; it has PyTorch files, which this version does not read"
                       : l->gguf ? "; it has GGUF files, which this version does not read"
                                 : "";

    return err_set_at(err, ERR_UNSUPPORTED, POINTER, "the directory has no *.safetensors file%s",
                      seen);
}

/* Without an index: model.safetensors, or the only file, or all files of one numbered series. */
static int choose_files(struct source *s, const struct listing *l, struct err *err)
{
    size_t series = 0;
    int r = 0;

    if (l->n == 0)
        return no_model(l, err);
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->name[i], "model.safetensors") == 0)
            return add_from_dir(s, l->name[i], err);
    if (l->n == 1)
        return add_from_dir(s, l->name[0], err);
    for (size_t i = 0; i < l->n; i++)
        series += strncmp(l->name[i], "model-", 6) == 0;
    if (series == 0)
        return err_set_at(
            err, ERR_INVALID, POINTER,
            "the directory has %zu *.safetensors files and no index; name one of them", l->n);
    if (series > SOURCE_FILES_MAX)
        return err_set_at(err, ERR_LIMIT, POINTER, "%zu shards, the limit is %d", series,
                          SOURCE_FILES_MAX);
    for (size_t i = 0; r == 0 && i < l->n; i++)
        if (strncmp(l->name[i], "model-", 6) == 0)
            r = add_from_dir(s, l->name[i], err);
    return r;
}

static int open_side_file(struct source *s, const char *name, struct source_file *out,
                          struct err *err)
{
    AUTO(freep) char *rel = join(s->path, name);

    return open_file(s->root, rel, name, out, err);
}

static int open_dir(struct source *s, int fd, struct err *err)
{
    struct listing l = {0};
    int r = list_dir(fd, &l, err);

    s->is_dir = true;
    if (r == 0 && l.many_indexes)
        r = err_set_at(err, ERR_INVALID, POINTER,
                       "the directory has several *.safetensors.index.json files");
    if (r == 0 && l.index)
        r = open_side_file(s, l.index, &s->index, err);
    else if (r == 0)
        r = choose_files(s, &l, err);
    listing_done(&l);
    if (r < 0)
        return r;
    /* config.json only helps: without a readable one, names and shapes decide. */
    (void)open_side_file(s, "config.json", &s->config, NULL);
    (void)open_side_file(s, ADAPTER_CONFIG_NAME, &s->adapter_config, NULL);
    return 0;
}

int source_open_shards(struct source *s, const struct hf_index *ix, struct err *err)
{
    if (ix->n_shards > SOURCE_FILES_MAX)
        return err_set(err, ERR_LIMIT, "the index names %zu shards, the limit is %d", ix->n_shards,
                       SOURCE_FILES_MAX);
    for (size_t i = 0; i < ix->n_shards; i++) {
        int r = add_from_dir(s, ix->shard[i], err);

        if (r == ERR_NOT_FOUND)
            return err_set(err, ERR_FORMAT, "the shard \"%.200s\" that the index names is missing",
                           ix->shard[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- other files of the directory ----------------------------------------------------------- */

void source_side_files_done(struct source_side_files *f)
{
    for (size_t i = 0; i < f->count; i++)
        file_done(&f->file[i]);
    free(f->file);
    *f = (struct source_side_files){NULL, 0};
}

static bool is_side_file(const char *name)
{
    static const char *const weights[] = {".safetensors", ".bin", ".pt",   ".pth", ".gguf",
                                          ".ckpt",        ".h5",  ".onnx", ".npz", ".msgpack"};

    for (size_t i = 0; i < ARRAY_LEN(weights); i++)
        if (ends_with(name, weights[i]))
            return false;
    return name[0] != '.' && !ends_with(name, ".index.json");
}

static int by_file_name(const void *a, const void *b)
{
    return strcmp(((const struct source_file *)a)->name, ((const struct source_file *)b)->name);
}

static int add_side_file(const struct source *s, const char *name, struct source_side_files *out,
                         struct err *err)
{
    AUTO(freep) char *rel = join(s->path, name);
    struct source_file f = {.fd = -1};

    /* A directory, an empty file, a link that leads out: not part of the model. */
    if (open_file(s->root, rel, name, &f, NULL) < 0)
        return 0;
    if (f.id.size > SOURCE_SIDE_BYTES_MAX || out->count == SOURCE_SIDE_MAX) {
        file_done(&f);
        return err_set(err, ERR_LIMIT,
                       "\"%.100s\": a model has at most %d files beside its weights, each of at "
                       "most %llu bytes",
                       name, SOURCE_SIDE_MAX, SOURCE_SIDE_BYTES_MAX);
    }
    out->file = xrealloc(out->file, (out->count + 1) * sizeof *out->file);
    out->file[out->count++] = f;
    return 0;
}

int source_side_files(const struct source *s, struct source_side_files *out, struct err *err)
{
    struct source_side_files side = {NULL, 0};
    const struct dirent *e;
    DIR *d = NULL;
    int fd, r = 0;

    if (s->is_dir) {
        fd = open_beneath(s->root, s->path);
        d = fd < 0 ? NULL : fdopendir(fd);
        if (!d)
            return err_set_errno(err, errno, "cannot list the model directory");
    }
    while (d && r == 0 && (e = readdir(d)) != NULL)
        if (is_side_file(e->d_name))
            r = add_side_file(s, e->d_name, &side, err);
    if (s->index.fd >= 0 && r == 0)
        r = add_side_file(s, s->index.name, &side, err);
    if (d)
        (void)closedir(d);
    if (r < 0) {
        source_side_files_done(&side);
        return r;
    }
    if (side.count)
        qsort(side.file, side.count, sizeof *side.file, by_file_name);
    *out = side;
    return 0;
}

/* --- finding the root ---------------------------------------------------------------------- */

static const char *skip_slashes(const char *p)
{
    return p + strspn(p, "/");
}

/* The longest root that `path` lies in; its rest in *rel. */
static const char *root_of(const struct config *c, const char *path, const char **rel)
{
    const char *best = NULL;

    for (size_t i = 0; i < c->n_model_roots; i++) {
        const char *root = c->model_root[i];
        size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);

        if (strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == '\0') &&
            (!best || n > strlen(best))) {
            best = root;
            *rel = skip_slashes(path + n);
        }
    }
    return best;
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* What lies beside an adapter that is named itself. */
static void open_adapter_config(struct source *s)
{
    const char *last = last_component(s->path);
    AUTO(freep) char *rel = NULL;

    if (strcmp(last, "adapter_model.safetensors") != 0)
        return;
    rel = xasprintf("%.*s" ADAPTER_CONFIG_NAME, (int)(last - s->path), s->path);
    (void)open_file(s->root, rel, ADAPTER_CONFIG_NAME, &s->adapter_config, NULL);
}

int source_open_at(const char *root, const char *rel, const char *name, bool settled,
                   struct source **out, struct err *err)
{
    AUTO(source_freep) struct source *s = xcalloc(1, sizeof *s);
    struct stat st;
    size_t n = strlen(rel);
    int fd, r;

    s->index.fd = s->config.fd = s->adapter_config.fd = -1;
    s->settled = settled;
    s->root = xstrdup(root);
    while (n > 0 && rel[n - 1] == '/')
        n--;
    s->path = xasprintf("%.*s", (int)n, rel);
    s->name = xstrdup(name ? name : last_component(*s->path ? s->path : root));
    fd = open_beneath(root, s->path);
    if (fd < 0)
        return open_error(errno, s->path, err);
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        r = open_dir(s, fd, err);
    } else {
        (void)close(fd);
        r = add_file(s, s->path, s->name, err);
        open_adapter_config(s);
    }
    if (r == 0)
        *out = TAKE(s);
    return r;
}

int source_open(const struct config *c, const char *path, struct source **out, struct err *err)
{
    const char *root, *rel = NULL;
    int r = ERR_NOT_FOUND;

    if (strlen(path) >= SOURCE_PATH_MAX)
        return err_set_at(err, ERR_LIMIT, POINTER, "the path has more than %d bytes",
                          SOURCE_PATH_MAX - 1);
    if (c->n_model_roots == 0)
        return err_set_at(err, ERR_FORBIDDEN, POINTER,
                          "this server has no model root; start it with --model-root DIR");
    if (*path == '/') {
        root = root_of(c, path, &rel);
        if (!root)
            return err_set_at(err, ERR_FORBIDDEN, POINTER,
                              "the path lies outside every model root");
        return source_open_at(root, rel, NULL, false, out, err);
    }
    for (size_t i = 0; i < c->n_model_roots; i++) {
        r = source_open_at(c->model_root[i], path, NULL, false, out, err);
        if (r != ERR_NOT_FOUND)
            return r;
    }
    return r;
}

/* --- did it change? ------------------------------------------------------------------------ */

static int file_unchanged(const struct source_file *f, struct err *err)
{
    struct stat st;
    struct file_identity now;

    if (fstat(f->fd, &st) < 0)
        return err_set_errno(err, errno, "cannot stat \"%.200s\"", f->name);
    now = identity_of(&st);
    if (now.dev != f->id.dev || now.ino != f->id.ino || now.size != f->id.size ||
        now.mtime_ns != f->id.mtime_ns)
        return err_set(err, ERR_CHANGED, "\"%.200s\" changed while it was read", f->name);
    return 0;
}

int source_unchanged(const struct source *s, struct err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < s->n_files; i++)
        r = file_unchanged(&s->file[i], err);
    return r;
}

bool source_file_fresh(const struct source_file *f, int64_t now_ms)
{
    int64_t now_ns = now_ms * 1000000;

    if (f->settled)
        return false;
    return now_ns - f->id.mtime_ns < FRESH_NS || now_ns - f->id.ctime_ns < FRESH_NS;
}
