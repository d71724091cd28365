/* store.c: what every backend shares: the records' life cycle, and the way to the backend. */
#include "storage/store_ops.h"

#include <stdlib.h>
#include <string.h>

static const char *const state_name[] = {"queued",    "running", "cancelling",
                                         "succeeded", "failed",  "cancelled"};
_Static_assert(ARRAY_LEN(state_name) == JOB_STATE_COUNT, "a name for every state");

const char *job_state_name(enum job_state s)
{
    return state_name[s];
}

int job_state_from_name(const char *name)
{
    for (int i = 0; i < JOB_STATE_COUNT; i++)
        if (strcmp(state_name[i], name) == 0)
            return i;
    return -1;
}

bool job_state_final(enum job_state s)
{
    return s == JOB_SUCCEEDED || s == JOB_FAILED || s == JOB_CANCELLED;
}

void job_record_done(struct job_record *j)
{
    free(j->kind);
    free(j->owner);
    free(j->reason);
    free(j->source);
    free(j->params);
    free(j->labels);
    free(j->result);
    free(j->error);
    memset(j, 0, sizeof *j);
}

static char *copy_text(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

void job_record_copy(struct job_record *to, const struct job_record *from)
{
    *to = *from;
    to->kind = copy_text(from->kind);
    to->owner = copy_text(from->owner);
    to->reason = copy_text(from->reason);
    to->source = copy_text(from->source);
    to->params = copy_text(from->params);
    to->labels = copy_text(from->labels);
    to->result = copy_text(from->result);
    to->error = copy_text(from->error);
}

void job_list_done(struct job_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        job_record_done(&l->job[i]);
    free(l->job);
    *l = (struct job_list){NULL, 0};
}

void model_record_done(struct model_record *m)
{
    free(m->format);
    free(m->model_type);
    free(m->name);
    memset(m, 0, sizeof *m);
}

void model_list_done(struct model_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        model_record_done(&l->model[i]);
    free(l->model);
    *l = (struct model_list){NULL, 0};
}

void artifact_record_done(struct artifact_record *a)
{
    free(a->owner);
    free(a->name);
    free(a->path);
    free(a->manifest);
    memset(a, 0, sizeof *a);
}

void artifact_list_done(struct artifact_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        artifact_record_done(&l->artifact[i]);
    free(l->artifact);
    *l = (struct artifact_list){NULL, 0};
}

void upload_record_done(struct upload_record *u)
{
    free(u->owner);
    free(u->name);
    memset(u, 0, sizeof *u);
}

void upload_list_done(struct upload_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        upload_record_done(&l->upload[i]);
    free(l->upload);
    *l = (struct upload_list){NULL, 0};
}

void analysis_record_done(struct analysis_record *a)
{
    free(a->owner);
    free(a->labels);
    free(a->params);
    free(a->summary);
    memset(a, 0, sizeof *a);
}

void analysis_list_done(struct analysis_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        analysis_record_done(&l->analysis[i]);
    free(l->analysis);
    *l = (struct analysis_list){NULL, 0};
}

void series_step_done(struct series_step *p)
{
    free(p->value);
    free(p->step);
    memset(p, 0, sizeof *p);
}

void series_list_done(struct series_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        series_step_done(&l->step[i]);
    free(l->step);
    *l = (struct series_list){NULL, 0};
}

void file_record_done(struct file_record *f)
{
    buf_done(&f->table);
    buf_done(&f->digests);
}

void layer_row_done(struct layer_row *r)
{
    free(r->longname);
    free(r->json);
    memset(r, 0, sizeof *r);
}

void layer_row_list_done(struct layer_row_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        layer_row_done(&l->row[i]);
    free(l->row);
    *l = (struct layer_row_list){NULL, 0};
}

/* --- verbs --------------------------------------------------------------------------------- */

void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}

int store_begin(struct store *s, struct err *err)
{
    return s->ops->begin(s, err);
}

int store_commit(struct store *s, struct err *err)
{
    return s->ops->commit(s, err);
}

void store_rollback(struct store *s)
{
    s->ops->rollback(s);
}

int store_probe(struct store *s, struct err *err)
{
    return s->ops->probe(s, err);
}

int store_idle(struct store *s, struct err *err)
{
    return s->ops->idle(s, err);
}

int store_sizes(struct store *s, uint64_t *wal_bytes, uint64_t *cache_bytes, uint64_t *blob_bytes,
                struct err *err)
{
    return s->ops->sizes(s, wal_bytes, cache_bytes, blob_bytes, err);
}

const char *store_warning(const struct store *s)
{
    return s->ops->warning(s);
}

int store_job_submit(struct store *s, const struct job_record *j, struct err *err)
{
    return s->ops->job->submit(s, j, err);
}

int store_job_claim(struct store *s, const char *node, const char *id, int64_t lease_until_ms,
                    struct job_record *out, struct err *err)
{
    return s->ops->job->claim(s, node, id, lease_until_ms, out, err);
}

int store_job_renew(struct store *s, const char *node, int64_t lease_until_ms, struct err *err)
{
    return s->ops->job->renew(s, node, lease_until_ms, err);
}

int store_job_recover(struct store *s, const char *node, int64_t now_ms, size_t *n, struct err *err)
{
    return s->ops->job->recover(s, node, now_ms, n, err);
}

int store_job_progress(struct store *s, const char *id, uint32_t attempt, uint64_t layers_done,
                       uint64_t layers_total, uint64_t hits, uint64_t misses, struct err *err)
{
    return s->ops->job->progress(s, id, attempt, layers_done, layers_total, hits, misses, err);
}

int store_job_finish(struct store *s, const struct job_record *j, struct err *err)
{
    return s->ops->job->finish(s, j, err);
}

int store_job_cancel(struct store *s, const char *id, int64_t now_ms, struct job_record *out,
                     struct err *err)
{
    return s->ops->job->cancel(s, id, now_ms, out, err);
}

int store_job_delete(struct store *s, const char *id, struct err *err)
{
    return s->ops->job->remove(s, id, err);
}

int store_job_label(struct store *s, const char *id, const char *labels, struct job_record *out,
                    struct err *err)
{
    return s->ops->job->label(s, id, labels, out, err);
}

int store_job_get(struct store *s, const char *id, struct job_record *out, struct err *err)
{
    return s->ops->job->get(s, id, out, err);
}

int store_job_list(struct store *s, const struct job_query *q, struct job_list *out,
                   struct err *err)
{
    return s->ops->job->list(s, q, out, err);
}

int store_job_counts(struct store *s, uint64_t *counts, struct err *err)
{
    return s->ops->job->counts(s, counts, err);
}

int store_key_check(struct store *s, const char *owner, const char *key, const struct key_use *use,
                    char resource[IDENT_MAX], struct err *err)
{
    struct key_use before;
    int r = s->ops->key->find(s, owner, key, &before, err);

    if (r < 0)
        return r;
    if (strcmp(before.operation, use->operation) != 0 ||
        !digest_equal(&before.fingerprint, &use->fingerprint))
        return err_set(err, ERR_KEY_REUSED,
                       "this Idempotency-Key was used for another request within 24 hours");
    memcpy(resource, before.resource, IDENT_MAX);
    return 0;
}

int store_key_put(struct store *s, const char *owner, const char *key, const struct key_use *use,
                  struct err *err)
{
    return s->ops->key->put(s, owner, key, use, err);
}

int store_key_expire(struct store *s, int64_t before_ms, struct err *err)
{
    return s->ops->key->expire(s, before_ms, err);
}

int store_model_put(struct store *s, const struct model_record *m, struct err *err)
{
    return s->ops->model->put(s, m, err);
}

int store_model_get(struct store *s, const char *id, struct model_record *out, struct err *err)
{
    return s->ops->model->get(s, id, out, err);
}

int store_model_list(struct store *s, const struct page_query *q, struct model_list *out,
                     struct err *err)
{
    return s->ops->model->list(s, q, out, err);
}

int store_analysis_put(struct store *s, const struct analysis_record *a, struct err *err)
{
    return s->ops->model->put_analysis(s, a, err);
}

int store_analysis_label(struct store *s, const char *id, const char *labels,
                         struct analysis_record *out, struct err *err)
{
    return s->ops->model->label_analysis(s, id, labels, out, err);
}

int store_analysis_get(struct store *s, const char *id, struct analysis_record *out,
                       struct err *err)
{
    return s->ops->model->get_analysis(s, id, out, err);
}

int store_analysis_list(struct store *s, const struct page_query *q, struct analysis_list *out,
                        struct err *err)
{
    return s->ops->model->list_analyses(s, q, out, err);
}

int store_upload_put(struct store *s, const struct upload_record *u, struct err *err)
{
    return s->ops->upload->put(s, u, err);
}

int store_upload_get(struct store *s, const char *id, struct upload_record *out, struct err *err)
{
    return s->ops->upload->get(s, id, out, err);
}

int store_upload_list(struct store *s, const struct page_query *q, struct upload_list *out,
                      struct err *err)
{
    return s->ops->upload->list(s, q, out, err);
}

int store_upload_keep(struct store *s, const char *id, int64_t until_ms, struct err *err)
{
    return s->ops->upload->keep(s, id, until_ms, err);
}

int store_upload_remove(struct store *s, const char *id, struct upload_record *out, bool *last,
                        struct err *err)
{
    return s->ops->upload->remove(s, id, out, last, err);
}

int store_upload_expired(struct store *s, int64_t now_ms, size_t limit, struct upload_list *out,
                         struct err *err)
{
    return s->ops->upload->expired(s, now_ms, limit, out, err);
}

int store_upload_known(struct store *s, enum upload_kind kind, const struct digest *sha256,
                       bool *out, struct err *err)
{
    return s->ops->upload->known(s, kind, sha256, out, err);
}

int store_upload_bytes(struct store *s, uint64_t *out, struct err *err)
{
    return s->ops->upload->bytes(s, out, err);
}

int store_series_list(struct store *s, const struct series_query *q, struct series_list *out,
                      struct err *err)
{
    return s->ops->model->list_series(s, q, out, err);
}

int store_file_find(struct store *s, const struct file_identity *id, struct file_record *out,
                    struct err *err)
{
    return s->ops->cache->find_file(s, id, out, err);
}

int store_file_put(struct store *s, const struct file_identity *id, const struct file_record *f,
                   struct err *err)
{
    return s->ops->cache->put_file(s, id, f, err);
}

int store_cache_find(struct store *s, enum cache_kind kind, const struct digest *key,
                     struct buf *out, struct err *err)
{
    return s->ops->cache->find(s, kind, key, out, err);
}

bool store_cache_known(struct store *s, enum cache_kind kind, const struct digest *key)
{
    return s->ops->cache->known(s, kind, key);
}

int store_cache_used(struct store *s, uint64_t *out, struct err *err)
{
    return s->ops->cache->used(s, out, err);
}

int store_cache_evict(struct store *s, int64_t before_ms, uint64_t bytes, size_t limit,
                      size_t *count, uint64_t *removed, struct err *err)
{
    return s->ops->cache->evict(s, before_ms, bytes, limit, count, removed, err);
}

int store_cache_put(struct store *s, enum cache_kind kind, const struct digest *key,
                    const void *bytes, size_t len, struct err *err)
{
    return s->ops->cache->put(s, kind, key, bytes, len, err);
}

int store_cache_trim(struct store *s, enum cache_kind kind, uint64_t bytes, struct err *err)
{
    return s->ops->cache->trim(s, kind, bytes, err);
}

int store_cache_trim_count(struct store *s, enum cache_kind kind, uint64_t count, struct err *err)
{
    return s->ops->cache->trim_count(s, kind, count, err);
}

int store_rows_put(struct store *s, const struct digest *key, const struct layer_row *row,
                   size_t count, struct err *err)
{
    return s->ops->cache->put_rows(s, key, row, count, err);
}

int store_rows_get(struct store *s, const struct digest *key, uint64_t first, size_t limit,
                   struct layer_row_list *out, struct err *err)
{
    return s->ops->cache->get_rows(s, key, first, limit, out, err);
}

int store_rows_find(struct store *s, const struct digest *key, const char *longname,
                    struct layer_row *out, struct err *err)
{
    return s->ops->cache->find_row(s, key, longname, out, err);
}

int store_rows_each(struct store *s, const struct digest *key, store_row_fn *fn, void *arg,
                    struct err *err)
{
    return s->ops->cache->each_row(s, key, fn, arg, err);
}

int store_rows_count(struct store *s, const struct digest *key, uint64_t *out, struct err *err)
{
    return s->ops->cache->count_rows(s, key, out, err);
}

int store_artifact_put(struct store *s, const struct artifact_record *a, struct err *err)
{
    return s->ops->artifact->put(s, a, err);
}

int store_artifact_get(struct store *s, const char *id, struct artifact_record *out,
                       struct err *err)
{
    return s->ops->artifact->get(s, id, out, err);
}

int store_artifact_list(struct store *s, const struct page_query *q, struct artifact_list *out,
                        struct err *err)
{
    return s->ops->artifact->list(s, q, out, err);
}

int store_artifact_remove(struct store *s, const char *id, struct artifact_record *out,
                          struct err *err)
{
    return s->ops->artifact->remove(s, id, out, err);
}

int store_artifact_expired(struct store *s, int64_t now_ms, uint64_t max_bytes, size_t limit,
                           struct artifact_list *out, struct err *err)
{
    return s->ops->artifact->expired(s, now_ms, max_bytes, limit, out, err);
}

int store_artifact_bytes(struct store *s, uint64_t *out, struct err *err)
{
    return s->ops->artifact->bytes(s, out, err);
}
