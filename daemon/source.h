/* source.h: from a path in a request to open, checked file descriptors. File thread only.
 *
 * Everything is opened beneath a model root with openat2(RESOLVE_BENEATH), so neither "..", nor
 * absolute links, nor links that leave the root lead out. Files are opened once; the descriptor
 * and the identity recorded here are what the whole job uses.
 */
#ifndef SPECTRALD_SOURCE_H
#define SPECTRALD_SOURCE_H

#include "daemon/config.h"
#include "models/hf.h"
#include "storage/store.h"

#define SOURCE_PATH_MAX  4096
#define SOURCE_FILES_MAX 4096

struct source_file {
    char *name; /* relative to the model's directory, for messages */
    int fd;
    struct file_identity id;
    bool settled; /* nobody can write to it any more */
};

struct source {
    char *root; /* model root */
    char *path; /* beneath it: the file, or the directory */
    char *name; /* last component, a name for people */
    bool is_dir;
    bool settled;             /* its files are ours and complete: an upload */
    struct source_file *file; /* the tensors' files, in order of name */
    size_t n_files;
    struct source_file index;          /* fd -1 when there is none */
    struct source_file config;         /* fd -1 when there is none */
    struct source_file adapter_config; /* beside adapter_model.safetensors; fd -1 likewise */
};

/* Resolve `path` (absolute inside a model root, longest match; or relative to one) and open what
 * is there: a safetensors file, or a Hugging Face directory with one file, an index, or an index
 * to be read first (then n_files is 0 until source_open_shards()).
 * ERR_INVALID, ERR_NOT_FOUND, ERR_FORBIDDEN, ERR_UNSUPPORTED with pointer "/source/path". */
int source_open(const struct config *c, const char *path, struct source **out, struct err *err);

/* The same for what lies at `rel` ("" = the directory itself) beneath `root`, wherever that is;
 * `name` is what people call it, NULL =
 * its last component; `settled`: nobody can write to the files any more. */
int source_open_at(const char *root, const char *rel, const char *name, bool settled,
                   struct source **out, struct err *err);

/* Open the shards an index names. ERR_NOT_FOUND names a missing one. */
int source_open_shards(struct source *s, const struct hf_index *ix, struct err *err);

/* The other regular files of a model's directory: configuration, tokenizer, index; no weights in
 * any format, nothing hidden, no directories. None when the source is a file. ERR_LIMIT. */
#define SOURCE_SIDE_MAX       1000
#define SOURCE_SIDE_BYTES_MAX (1ull << 30) /* of one */
struct source_side_files {
    struct source_file *file; /* in order of name */
    size_t count;
};
int source_side_files(const struct source *s, struct source_side_files *out, struct err *err);
void source_side_files_done(struct source_side_files *f);

void source_free(struct source *s);
DEFINE_AUTO(struct source, source_free)

/* ERR_CHANGED when any file is not what it was when it was opened. Only fstat: any thread. */
int source_unchanged(const struct source *s, struct err *err);

/* True when the file was modified so recently, seen from `now_ms`, that a further write might not
 * show in its times: what is learnt of it must not be remembered. Never of a settled file. */
bool source_file_fresh(const struct source_file *f, int64_t now_ms);

#endif
