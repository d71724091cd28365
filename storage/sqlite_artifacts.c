/* sqlite_artifacts.c: artifacts. */
#include "storage/sqlite_store.h"

#include <stdlib.h>
#include <string.h>

#define HEAD     "id, job, owner, name, path, ours, nbytes, n_files, created_ms, expires_ms"
#define MANIFEST ", manifest"

static void read_artifact(sqlite3_stmt *st, bool manifest, struct artifact_record *a)
{
    memset(a, 0, sizeof *a);
    sql_id(st, 0, a->id);
    sql_id(st, 1, a->job);
    a->owner = sql_text_or_empty(st, 2);
    a->name = sql_text_or_empty(st, 3);
    a->path = sql_text_or_empty(st, 4);
    a->ours = sqlite3_column_int(st, 5) != 0;
    a->nbytes = sql_u64(st, 6);
    a->n_files = sql_u64(st, 7);
    a->created_ms = sqlite3_column_int64(st, 8);
    a->expires_ms = sqlite3_column_int64(st, 9);
    if (manifest)
        a->manifest = sql_text_or_empty(st, 10);
}

static int put(struct store *base, const struct artifact_record *a, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->state,
        "INSERT OR REPLACE INTO artifacts(" HEAD MANIFEST ") VALUES(?,?,?,?,?,?,?,?,?,?,?)", err);

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, a->id);
    sql_bind_text(st, 2, a->job);
    sql_bind_text(st, 3, a->owner);
    sql_bind_text(st, 4, a->name);
    sql_bind_text(st, 5, a->path);
    sql_bind_int(st, 6, a->ours);
    sql_bind_int(st, 7, (int64_t)a->nbytes);
    sql_bind_int(st, 8, (int64_t)a->n_files);
    sql_bind_int(st, 9, a->created_ms);
    sql_bind_int(st, 10, a->expires_ms);
    sql_bind_text(st, 11, a->manifest);
    return sql_run(&s->state, st, err);
}

static int get(struct store *base, const char *id, struct artifact_record *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state, "SELECT " HEAD MANIFEST " FROM artifacts WHERE id=?", err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    r = sql_next(&s->state, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no artifact %.40s", id);
    if (r < 0)
        return r;
    read_artifact(st, true, out);
    return 0;
}

static int read_all(struct db *db, sqlite3_stmt *st, struct artifact_list *out, struct err *err)
{
    struct artifact_list l = {0};
    int r;

    while ((r = sql_next(db, st, err)) == 1) {
        l.artifact = xrealloc(l.artifact, (l.count + 1) * sizeof *l.artifact);
        read_artifact(st, false, &l.artifact[l.count++]);
    }
    if (r < 0)
        artifact_list_done(&l);
    else
        *out = l;
    return r;
}

static int list(struct store *base, const struct page_query *q, struct artifact_list *out,
                struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "SELECT " HEAD " FROM artifacts"
                                   " WHERE (created_ms, id) < (?1, ?2)"
                                   " ORDER BY created_ms DESC, id DESC LIMIT ?3",
                                   err);

    if (!st)
        return s->state.failure;
    sql_bind_before(st, 1, q->before_ms, q->before_id);
    sql_bind_int(st, 3, (int64_t)q->limit);
    return read_all(&s->state, st, out, err);
}

static int remove_artifact(struct store *base, const char *id, struct artifact_record *out,
                           struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state, "DELETE FROM artifacts WHERE id=?", err);
    struct artifact_record a = {0};
    int r;

    if (!st)
        return s->state.failure;
    r = get(base, id, &a, err);
    if (r < 0)
        return r;
    sql_bind_text(st, 1, id);
    r = sql_run(&s->state, st, err);
    if (r < 0)
        artifact_record_done(&a);
    else
        *out = a;
    return r;
}

static int expired(struct store *base, int64_t now_ms, uint64_t max_bytes, size_t limit,
                   struct artifact_list *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->state,
        "SELECT " HEAD " FROM (SELECT *, sum(nbytes) OVER (ORDER BY created_ms DESC, id DESC) AS"
        " newer FROM artifacts WHERE ours)"
        " WHERE (expires_ms > 0 AND expires_ms < ?1) OR (?2 > 0 AND newer > ?2)"
        " ORDER BY created_ms, id LIMIT ?3",
        err);

    if (!st)
        return s->state.failure;
    sql_bind_int(st, 1, now_ms);
    sql_bind_int(st, 2, (int64_t)max_bytes);
    sql_bind_int(st, 3, (int64_t)limit);
    return read_all(&s->state, st, out, err);
}

static int bytes(struct store *base, uint64_t *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state, "SELECT coalesce(sum(nbytes), 0) FROM artifacts WHERE ours", err);
    int r;

    if (!st)
        return s->state.failure;
    r = sql_next(&s->state, st, err);
    if (r < 0)
        return r;
    *out = sql_u64(st, 0);
    return 0;
}

const struct store_artifact_ops sqlite_artifact_ops = {
    .put = put,
    .get = get,
    .list = list,
    .remove = remove_artifact,
    .expired = expired,
    .bytes = bytes,
};
