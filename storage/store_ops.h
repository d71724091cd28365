/* store_ops.h: what a backend of the store implements, one function per verb of store.h, with the
 * same contracts. Private to storage/.
 */
#ifndef SPECTRALD_STORE_OPS_H
#define SPECTRALD_STORE_OPS_H

#include "storage/store.h"

struct store_job_ops {
    int (*submit)(struct store *s, const struct job_record *j, struct err *err);
    int (*claim)(struct store *s, const char *node, const char *id, int64_t lease_until_ms,
                 struct job_record *out, struct err *err);
    int (*renew)(struct store *s, const char *node, int64_t lease_until_ms, struct err *err);
    int (*recover)(struct store *s, const char *node, int64_t now_ms, size_t *n, struct err *err);
    int (*progress)(struct store *s, const char *id, uint32_t attempt, uint64_t layers_done,
                    uint64_t layers_total, uint64_t hits, uint64_t misses, struct err *err);
    int (*finish)(struct store *s, const struct job_record *j, struct err *err);
    int (*cancel)(struct store *s, const char *id, int64_t now_ms, struct job_record *out,
                  struct err *err);
    int (*remove)(struct store *s, const char *id, struct err *err);
    int (*label)(struct store *s, const char *id, const char *labels, struct job_record *out,
                 struct err *err);
    int (*get)(struct store *s, const char *id, struct job_record *out, struct err *err);
    int (*list)(struct store *s, const struct job_query *q, struct job_list *out, struct err *err);
    int (*counts)(struct store *s, uint64_t *counts, struct err *err);
};

struct store_key_ops {
    int (*find)(struct store *s, const char *owner, const char *key, struct key_use *out,
                struct err *err); /* ERR_NOT_FOUND */
    int (*put)(struct store *s, const char *owner, const char *key, const struct key_use *use,
               struct err *err);
    int (*expire)(struct store *s, int64_t before_ms, struct err *err);
};

/* Models and analyses. */
struct store_model_ops {
    int (*put)(struct store *s, const struct model_record *m, struct err *err);
    int (*get)(struct store *s, const char *id, struct model_record *out, struct err *err);
    int (*list)(struct store *s, const struct page_query *q, struct model_list *out,
                struct err *err);
    int (*put_analysis)(struct store *s, const struct analysis_record *a, struct err *err);
    int (*label_analysis)(struct store *s, const char *id, const char *labels,
                          struct analysis_record *out, struct err *err);
    int (*get_analysis)(struct store *s, const char *id, struct analysis_record *out,
                        struct err *err);
    int (*list_analyses)(struct store *s, const struct page_query *q, struct analysis_list *out,
                         struct err *err);
    int (*list_series)(struct store *s, const struct series_query *q, struct series_list *out,
                       struct err *err);
};

struct store_artifact_ops {
    int (*put)(struct store *s, const struct artifact_record *a, struct err *err);
    int (*get)(struct store *s, const char *id, struct artifact_record *out, struct err *err);
    int (*list)(struct store *s, const struct page_query *q, struct artifact_list *out,
                struct err *err);
    int (*remove)(struct store *s, const char *id, struct artifact_record *out, struct err *err);
    int (*expired)(struct store *s, int64_t now_ms, uint64_t max_bytes, size_t limit,
                   struct artifact_list *out, struct err *err);
    int (*bytes)(struct store *s, uint64_t *out, struct err *err);
};

struct store_upload_ops {
    int (*put)(struct store *s, const struct upload_record *u, struct err *err);
    int (*get)(struct store *s, const char *id, struct upload_record *out, struct err *err);
    int (*list)(struct store *s, const struct page_query *q, struct upload_list *out,
                struct err *err);
    int (*keep)(struct store *s, const char *id, int64_t until_ms, struct err *err);
    int (*remove)(struct store *s, const char *id, struct upload_record *out, bool *last,
                  struct err *err);
    int (*expired)(struct store *s, int64_t now_ms, size_t limit, struct upload_list *out,
                   struct err *err);
    int (*known)(struct store *s, enum upload_kind kind, const struct digest *sha256, bool *out,
                 struct err *err);
    int (*bytes)(struct store *s, uint64_t *out, struct err *err);
};

struct store_cache_ops {
    int (*find_file)(struct store *s, const struct file_identity *id, struct file_record *out,
                     struct err *err);
    int (*put_file)(struct store *s, const struct file_identity *id, const struct file_record *f,
                    struct err *err);
    int (*find)(struct store *s, enum cache_kind kind, const struct digest *key, struct buf *out,
                struct err *err);
    bool (*known)(struct store *s, enum cache_kind kind, const struct digest *key);
    int (*put)(struct store *s, enum cache_kind kind, const struct digest *key, const void *bytes,
               size_t len, struct err *err);
    int (*trim)(struct store *s, enum cache_kind kind, uint64_t bytes, struct err *err);
    int (*trim_count)(struct store *s, enum cache_kind kind, uint64_t count, struct err *err);
    int (*used)(struct store *s, uint64_t *out, struct err *err);
    int (*evict)(struct store *s, int64_t before_ms, uint64_t bytes, size_t limit, size_t *count,
                 uint64_t *removed, struct err *err);
    int (*put_rows)(struct store *s, const struct digest *key, const struct layer_row *row,
                    size_t count, struct err *err);
    int (*get_rows)(struct store *s, const struct digest *key, uint64_t first, size_t limit,
                    struct layer_row_list *out, struct err *err);
    int (*find_row)(struct store *s, const struct digest *key, const char *longname,
                    struct layer_row *out, struct err *err);
    int (*each_row)(struct store *s, const struct digest *key, store_row_fn *fn, void *arg,
                    struct err *err);
    int (*count_rows)(struct store *s, const struct digest *key, uint64_t *out, struct err *err);
};

struct store_ops {
    void (*close)(struct store *s);
    int (*begin)(struct store *s, struct err *err);
    int (*commit)(struct store *s, struct err *err);
    void (*rollback)(struct store *s);
    int (*probe)(struct store *s, struct err *err);
    int (*idle)(struct store *s, struct err *err);
    int (*sizes)(struct store *s, uint64_t *wal_bytes, uint64_t *cache_bytes, uint64_t *blob_bytes,
                 struct err *err);
    const char *(*warning)(const struct store *s);
    const struct store_job_ops *job;
    const struct store_key_ops *key;
    const struct store_model_ops *model;
    const struct store_upload_ops *upload;
    const struct store_artifact_ops *artifact;
    const struct store_cache_ops *cache;
};

/* The first member of every backend's handle. */
struct store {
    const struct store_ops *ops;
};

#endif
