/* storage/store.h: what the service remembers, in verbs of the domain.
 *
 * Two data sets behind one handle: the queue (jobs, analyses; a returned commit survives a power
 * cut) and the cache (everything keyed by content; may be deleted at any time). SQLite today; the
 * verbs are chosen so that a database shared by several nodes can stand behind them.
 *
 * A handle belongs to one thread. Writes happen between store_begin() and store_commit(), so that
 * many requests share one fsync; the cache is committed before the queue that refers to it.
 * Text outputs are owned by the caller and released with the *_done() functions. Failing verbs
 * return ERR_IO, ERR_FULL (disk) or ERR_INTERNAL, and those listed; they leave outputs untouched.
 */
#ifndef SPECTRALD_STORE_H
#define SPECTRALD_STORE_H

#include "common/buf.h"
#include "common/digest.h"
#include "common/err.h"
#include "common/ident.h"

struct store;

/* --- jobs --------------------------------------------------------------------------------- */

enum job_state {
    JOB_QUEUED = 0,
    JOB_RUNNING,
    JOB_CANCELLING,
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_CANCELLED,
    JOB_STATE_COUNT
};
const char *job_state_name(enum job_state s); /* "queued", … */
int job_state_from_name(const char *name);    /* or -1 */
bool job_state_final(enum job_state s);

#define TRACE_ID_MAX 33 /* 32 hex digits and a NUL */

struct job_record {
    char id[IDENT_MAX];
    char trace_id[TRACE_ID_MAX]; /* of the request that made it; "" = unknown */
    char *kind;                  /* "analyze", "plan" */
    char *owner;                 /* who asked; "local" without authentication */
    enum job_state state;
    char *reason; /* closed list, or NULL: deadline_exceeded, out_of_memory, … */
    char *source; /* JSON text, as sent */
    char *params; /* JSON text, canonical: defaults filled in */
    char *labels; /* JSON text: object of strings */
    char *result; /* JSON text or NULL: {"analysis":"ana_…","plan":"pln_…"} */
    char *error;  /* JSON text or NULL: {"code","detail"}, "pointer" of the field at fault */
    int64_t created_ms, started_ms, finished_ms; /* 0 = not yet */
    uint32_t attempt;                            /* raised by every claim; a finish must match it */
    uint64_t version;                            /* raised by every stored change but progress */
    uint64_t hits, misses; /* cache; misses = eigen-solves done for this job */
    uint64_t layers_done, layers_total;
};
void job_record_done(struct job_record *j);
void job_record_copy(struct job_record *to, const struct job_record *from);

struct job_query {
    int state;          /* enum job_state or -1 for all */
    const char *kind;   /* or NULL */
    const char *labels; /* or NULL: JSON text [["key","value"],["key",null],…], all must hold; null
                           = any value */
    int64_t before_ms;  /* keyset: older than (before_ms, before_id); 0 = from the newest */
    char before_id[IDENT_MAX];
    size_t limit;
};

struct job_list {
    struct job_record *job; /* newest first */
    size_t count;
};
void job_list_done(struct job_list *l);

/* --- models and analyses ------------------------------------------------------------------- */

struct model_record {
    char id[IDENT_MAX]; /* mdl_ + digest of all tensors */
    char *format;       /* "safetensors" */
    char *model_type;   /* from config.json, or "" */
    char *name;         /* last path component first seen under */
    uint64_t n_tensors, n_params, nbytes;
    int64_t first_seen_ms, last_seen_ms;
};
void model_record_done(struct model_record *m);
struct model_list {
    struct model_record *model;
    size_t count;
};
void model_list_done(struct model_list *l);

struct analysis_record {
    char id[IDENT_MAX];
    char job[IDENT_MAX];
    char model[IDENT_MAX];
    char *owner, *labels; /* labels: JSON text */
    char *params;         /* JSON text, canonical */
    char *summary;        /* JSON text */
    struct digest rows;   /* key of its layer rows in the cache */
    uint64_t n_layers;
    uint64_t version; /* raised by every change of the labels; 1 at first, whatever is put */
    int64_t created_ms;
};
void analysis_record_done(struct analysis_record *a);
struct analysis_list {
    struct analysis_record *analysis;
    size_t count;
};
void analysis_list_done(struct analysis_list *l);

/* An analysis as a step of a labelled run. */
struct series_step {
    char analysis[IDENT_MAX];
    char *value, *step; /* of the two labels; step NULL when it has no such label */
    struct digest rows;
    uint64_t n_layers, version;
    int64_t created_ms;
};
void series_step_done(struct series_step *p);
struct series_list {
    struct series_step *step;
    size_t count;
};
void series_list_done(struct series_list *l);

struct series_query {
    const char *label, *value; /* analyses with this label; value NULL = any */
    const char *step_label;
    const char *after_value, *after_id; /* keyset, in order of (value, id); "" = from the start */
    size_t limit;
};

struct page_query {     /* newest first */
    const char *labels; /* as in job_query; analyses only */
    const char *model;  /* or NULL; analyses only */
    int64_t before_ms;  /* keyset as in job_query; 0 = from the newest */
    char before_id[IDENT_MAX];
    size_t limit;
};

/* --- uploads ------------------------------------------------------------------------------- */

enum upload_kind { UPLOAD_FILE = 0, UPLOAD_TAR = 1 };

/* A complete upload; its bytes are in storage/upload_files.h, under (kind, sha256). */
struct upload_record {
    char id[IDENT_MAX];
    char *owner;
    char *name; /* as sent: a file name, for people */
    enum upload_kind kind;
    struct digest sha256; /* of the body as sent */
    uint64_t nbytes;      /* of the body */
    uint64_t n_files;
    int64_t created_ms, expires_ms; /* expires_ms moves on when a job uses it */
};
void upload_record_done(struct upload_record *u);
struct upload_list {
    struct upload_record *upload;
    size_t count;
};
void upload_list_done(struct upload_list *l);

/* --- artifacts ----------------------------------------------------------------------------- */

/* A checkpoint that a job wrote: complete, at `path`. */
struct artifact_record {
    char id[IDENT_MAX];
    char job[IDENT_MAX];
    char *owner;
    char *name;     /* for people */
    char *path;     /* absolute: a directory */
    bool ours;      /* in the state directory: removed with the record */
    char *manifest; /* JSON text (row_text.h): files, sizes, digests, what was done */
    uint64_t nbytes, n_files;
    int64_t created_ms;
    int64_t expires_ms; /* 0 = never */
};
void artifact_record_done(struct artifact_record *a);
struct artifact_list {
    struct artifact_record *artifact;
    size_t count;
};
void artifact_list_done(struct artifact_list *l);

/* --- the cache ----------------------------------------------------------------------------- */

/* An unchanged file: as long as all five agree, its bytes are taken to be the same. */
struct file_identity {
    uint64_t dev, ino, size;
    int64_t mtime_ns, ctime_ns;
};

/* What is known of a file: its tensor table (models/tensor_table.h) and, once hashed, the digest
 * of every tensor in table order. Both opaque bytes here. */
struct file_record {
    struct buf table;
    struct buf digests; /* empty = not hashed */
};
void file_record_done(struct file_record *f);

/* A spectrum, a fit, the request for a plan, the eigenvalues of a matrix's windows, or a histogram
 * of magnitudes: opaque bytes under a 256-bit key. */
enum cache_kind {
    CACHE_SPECTRUM = 0,
    CACHE_FIT = 1,
    CACHE_PLAN = 2,
    CACHE_WINDOWS = 3,
    CACHE_MAGNITUDE = 4,
    CACHE_KIND_COUNT
};

/* A row of a table: a layer of an analysis, or a tensor of a model. */
struct layer_row {
    uint64_t layer_id;
    char *longname;
    char *json;             /* one object, text */
    bool has_spectrum;      /* the layer has one, under this key when it is still cached */
    struct digest spectrum; /* CACHE_SPECTRUM */
    double scale;           /* factor on its eigenvalues */
};
struct layer_row_list {
    struct layer_row *row;
    size_t count;
};
void layer_row_done(struct layer_row *r);
void layer_row_list_done(struct layer_row_list *l);

/* --- idempotency keys ---------------------------------------------------------------------- */

#define STORE_KEY_TTL_MS (24 * 3600 * 1000ll) /* how long a key stays used */

/* What a client's key was used for. */
struct key_use {
    char operation[32];        /* "createJob" */
    struct digest fingerprint; /* of the request */
    char resource[IDENT_MAX];  /* what it made */
    int64_t created_ms;
};

/* --- verbs --------------------------------------------------------------------------------- */

struct store_options {
    const char *dir;     /* state directory; created 0700 when missing */
    uint64_t inline_max; /* larger cache values become blob files; 0 = 262144 */
};

/* Open or create; applies migrations. ERR_UNSUPPORTED when written by a newer version;
 * ERR_CONFLICT when another process has it open. */
int store_open_sqlite(const struct store_options *opt, struct store **out, struct err *err);
void store_close(struct store *s);

/* When it fails, every verb fails as well until store_commit() (which fails) or store_rollback().
 */
int store_begin(struct store *s, struct err *err);
int store_commit(struct store *s, struct err *err);
void store_rollback(struct store *s);

/* True when the last write worked; for readiness. Performs a tiny write and commit. */
int store_probe(struct store *s, struct err *err);

/* Housekeeping while nothing else is to do: moves the write-ahead logs into the databases. */
int store_idle(struct store *s, struct err *err);

/* Bytes on disk: write-ahead logs, the cache database, its blob files. Cheap. */
int store_sizes(struct store *s, uint64_t *wal_bytes, uint64_t *cache_bytes, uint64_t *blob_bytes,
                struct err *err);

/* Bytes that the cache holds: pages in use and blob files. Cheap. */
int store_cache_used(struct store *s, uint64_t *out, struct err *err);

/* Something an operator should know about the state directory, or "". Borrowed. */
const char *store_warning(const struct store *s);

/* Remember a new job in state queued. */
int store_job_submit(struct store *s, const struct job_record *j, struct err *err);
/* Take the oldest queued job for `node` until `lease_until_ms`: state running, attempt + 1.
 * ERR_NOT_FOUND when none is queued. `id` NULL = any, else that job. */
int store_job_claim(struct store *s, const char *node, const char *id, int64_t lease_until_ms,
                    struct job_record *out, struct err *err);
/* Extend the leases of every running job of `node`. */
int store_job_renew(struct store *s, const char *node, int64_t lease_until_ms, struct err *err);
/* Put back to queued every running or cancelling job of `node` (at start: they were ours before a
 * crash), or whose lease ended before now_ms. Cancelling jobs become cancelled. Returns the
 * number requeued in *n. */
int store_job_recover(struct store *s, const char *node, int64_t now_ms, size_t *n,
                      struct err *err);
/* Set counters of a running job: done layers, hits, misses (absolute values). ERR_CONFLICT when
 * `attempt` is not the current one. */
int store_job_progress(struct store *s, const char *id, uint32_t attempt, uint64_t layers_done,
                       uint64_t layers_total, uint64_t hits, uint64_t misses, struct err *err);
/* Final state, reason, result, error, counters and finished_ms from `j`. ERR_CONFLICT when
 * j->attempt is not the current one. */
int store_job_finish(struct store *s, const struct job_record *j, struct err *err);
/* queued -> cancelled at once; running -> cancelling; final states unchanged (idempotent).
 * Writes the job as it then is to *out. ERR_NOT_FOUND. */
int store_job_cancel(struct store *s, const char *id, int64_t now_ms, struct job_record *out,
                     struct err *err);
/* Remove a finished record. ERR_NOT_FOUND; ERR_CONFLICT when it is not finished. */
int store_job_delete(struct store *s, const char *id, struct err *err);
/* Replace the labels; the job as it then is to *out. ERR_NOT_FOUND. */
int store_job_label(struct store *s, const char *id, const char *labels, struct job_record *out,
                    struct err *err);
int store_job_get(struct store *s, const char *id, struct job_record *out, struct err *err);
int store_job_list(struct store *s, const struct job_query *q, struct job_list *out,
                   struct err *err);
/* Number of jobs per state, into counts[JOB_STATE_COUNT]. */
int store_job_counts(struct store *s, uint64_t *counts, struct err *err);

/* Was this key of `owner` used before, for the same operation and fingerprint as in `use`? Then 0,
 * with the id of what it made in `resource`. ERR_NOT_FOUND: not used. ERR_KEY_REUSED: used for
 * something else. */
int store_key_check(struct store *s, const char *owner, const char *key, const struct key_use *use,
                    char resource[IDENT_MAX], struct err *err);
/* Remember a key's use: in the same commit as the resource. ERR_CONFLICT when it is used. */
int store_key_put(struct store *s, const char *owner, const char *key, const struct key_use *use,
                  struct err *err);
/* Forget the keys that were used before `before_ms`. */
int store_key_expire(struct store *s, int64_t before_ms, struct err *err);

int store_model_put(struct store *s, const struct model_record *m, struct err *err);
int store_model_get(struct store *s, const char *id, struct model_record *out, struct err *err);
int store_model_list(struct store *s, const struct page_query *q, struct model_list *out,
                     struct err *err);

int store_analysis_put(struct store *s, const struct analysis_record *a, struct err *err);
int store_analysis_label(struct store *s, const char *id, const char *labels,
                         struct analysis_record *out, struct err *err);
int store_analysis_get(struct store *s, const char *id, struct analysis_record *out,
                       struct err *err);
int store_analysis_list(struct store *s, const struct page_query *q, struct analysis_list *out,
                        struct err *err);

int store_upload_put(struct store *s, const struct upload_record *u, struct err *err);
int store_upload_get(struct store *s, const char *id, struct upload_record *out, struct err *err);
/* Newest first; the filters of `q` are ignored. */
int store_upload_list(struct store *s, const struct page_query *q, struct upload_list *out,
                      struct err *err);
/* Keep it at least until then. Fine when there is no such upload. */
int store_upload_keep(struct store *s, const char *id, int64_t until_ms, struct err *err);
/* Remove the record and write it as it was to *out. *last = no other upload has its content.
 * ERR_NOT_FOUND; ERR_CONFLICT while a job that is not finished has it as its source. */
int store_upload_remove(struct store *s, const char *id, struct upload_record *out, bool *last,
                        struct err *err);
/* At most `limit` uploads that expired before now_ms and that no unfinished job uses. */
int store_upload_expired(struct store *s, int64_t now_ms, size_t limit, struct upload_list *out,
                         struct err *err);
/* Does an upload have this content? */
int store_upload_known(struct store *s, enum upload_kind kind, const struct digest *sha256,
                       bool *out, struct err *err);
/* Bytes of all contents, each counted once. */
int store_upload_bytes(struct store *s, uint64_t *out, struct err *err);

/* In the same commit as the end of its job. */
int store_artifact_put(struct store *s, const struct artifact_record *a, struct err *err);
int store_artifact_get(struct store *s, const char *id, struct artifact_record *out,
                       struct err *err);
/* Newest first; the filters of `q` are ignored. Without manifests. */
int store_artifact_list(struct store *s, const struct page_query *q, struct artifact_list *out,
                        struct err *err);
/* Remove the record and write it as it was to *out. ERR_NOT_FOUND. */
int store_artifact_remove(struct store *s, const char *id, struct artifact_record *out,
                          struct err *err);
/* At most `limit` artifacts of ours to remove: those that expired before now_ms, and, while ours
 * have more than max_bytes together (0 = no limit), the oldest. Without manifests. */
int store_artifact_expired(struct store *s, int64_t now_ms, uint64_t max_bytes, size_t limit,
                           struct artifact_list *out, struct err *err);
/* Bytes of all that are ours. */
int store_artifact_bytes(struct store *s, uint64_t *out, struct err *err);

/* In order of (value, id). */
int store_series_list(struct store *s, const struct series_query *q, struct series_list *out,
                      struct err *err);

int store_file_find(struct store *s, const struct file_identity *id, struct file_record *out,
                    struct err *err); /* ERR_NOT_FOUND */
int store_file_put(struct store *s, const struct file_identity *id, const struct file_record *f,
                   struct err *err);

int store_cache_find(struct store *s, enum cache_kind kind, const struct digest *key,
                     struct buf *out, struct err *err); /* ERR_NOT_FOUND */
/* True when the cache has the value, as far as its index knows: a lost blob file is noticed by
 * store_cache_find() only. */
bool store_cache_known(struct store *s, enum cache_kind kind, const struct digest *key);
int store_cache_put(struct store *s, enum cache_kind kind, const struct digest *key,
                    const void *bytes, size_t len, struct err *err);

/* Forget the values of this kind that were not used for longest, until the others take at most
 * `bytes`. */
int store_cache_trim(struct store *s, enum cache_kind kind, uint64_t bytes, struct err *err);

/* Forget values of this kind in the same order when there are more than `count`, and then some, so
 * that this is cheap to call after every put. */
int store_cache_trim_count(struct store *s, enum cache_kind kind, uint64_t count, struct err *err);

/* Remove results last used before `before_ms`, the longest unused first, until they come to `bytes`
 * or are `limit`. How many there were, and their bytes. Uses are noted a minute late at most. */
int store_cache_evict(struct store *s, int64_t before_ms, uint64_t bytes, size_t limit,
                      size_t *count, uint64_t *removed, struct err *err);

/* Rows of one analysis, by content key. Putting rows that exist replaces them. */
int store_rows_put(struct store *s, const struct digest *key, const struct layer_row *row,
                   size_t count, struct err *err);
/* At most `limit` rows with layer_id >= first, in order. An unknown key gives no rows. */
int store_rows_get(struct store *s, const struct digest *key, uint64_t first, size_t limit,
                   struct layer_row_list *out, struct err *err);
/* The row with this longname. ERR_NOT_FOUND. */
int store_rows_find(struct store *s, const struct digest *key, const char *longname,
                    struct layer_row *out, struct err *err);
/* Call `fn` with every row in order, borrowed, until it returns false; it must not use the store.
 */
typedef bool store_row_fn(void *arg, const char *longname, const char *json, size_t len);
int store_rows_each(struct store *s, const struct digest *key, store_row_fn *fn, void *arg,
                    struct err *err);
int store_rows_count(struct store *s, const struct digest *key, uint64_t *out, struct err *err);

#endif
