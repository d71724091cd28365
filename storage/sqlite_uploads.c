/* sqlite_uploads.c: uploads. A job that is not finished holds its upload: its source names it, or
 * what else it reads. */
#include "storage/sqlite_store.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS "id, owner, name, kind, sha256, nbytes, n_files, created_ms, expires_ms"
#define IN_USE                                                                                     \
    "EXISTS(SELECT 1 FROM jobs WHERE state IN ('queued','running','cancelling')"                   \
    " AND uploads.id IN (json_extract(source, '$.upload'), json_extract(params, '$.base.upload')," \
    " json_extract(params, '$.stats.upload')))"

static int read_upload(sqlite3_stmt *st, struct upload_record *u, struct err *err)
{
    if (sqlite3_column_bytes(st, 4) != DIGEST_LEN)
        return err_set(err, ERR_INTERNAL, "a stored upload has no digest");
    memset(u, 0, sizeof *u);
    sql_id(st, 0, u->id);
    u->owner = sql_text_or_empty(st, 1);
    u->name = sql_text_or_empty(st, 2);
    u->kind = sqlite3_column_int(st, 3) == UPLOAD_TAR ? UPLOAD_TAR : UPLOAD_FILE;
    memcpy(u->sha256.b, sqlite3_column_blob(st, 4), DIGEST_LEN);
    u->nbytes = sql_u64(st, 5);
    u->n_files = sql_u64(st, 6);
    u->created_ms = sqlite3_column_int64(st, 7);
    u->expires_ms = sqlite3_column_int64(st, 8);
    return 0;
}

static int put(struct store *base, const struct upload_record *u, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state, "INSERT INTO uploads(" COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?)", err);

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, u->id);
    sql_bind_text(st, 2, u->owner);
    sql_bind_text(st, 3, u->name);
    sql_bind_int(st, 4, u->kind);
    sql_bind_blob(st, 5, u->sha256.b, DIGEST_LEN);
    sql_bind_int(st, 6, (int64_t)u->nbytes);
    sql_bind_int(st, 7, (int64_t)u->n_files);
    sql_bind_int(st, 8, u->created_ms);
    sql_bind_int(st, 9, u->expires_ms);
    return sql_run(&s->state, st, err);
}

static int get(struct store *base, const char *id, struct upload_record *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state, "SELECT " COLUMNS " FROM uploads WHERE id=?", err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    r = sql_next(&s->state, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no upload %.40s", id);
    return r < 0 ? r : read_upload(st, out, err);
}

static int read_all(struct db *db, sqlite3_stmt *st, struct upload_list *out, struct err *err)
{
    struct upload_list l = {0};
    int r;

    while ((r = sql_next(db, st, err)) == 1) {
        l.upload = xrealloc(l.upload, (l.count + 1) * sizeof *l.upload);
        r = read_upload(st, &l.upload[l.count], err);
        if (r < 0)
            break;
        l.count++;
    }
    if (r < 0)
        upload_list_done(&l);
    else
        *out = l;
    return r;
}

static int list(struct store *base, const struct page_query *q, struct upload_list *out,
                struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "SELECT " COLUMNS " FROM uploads"
                                   " WHERE (created_ms, id) < (?1, ?2)"
                                   " ORDER BY created_ms DESC, id DESC LIMIT ?3",
                                   err);

    if (!st)
        return s->state.failure;
    sql_bind_before(st, 1, q->before_ms, q->before_id);
    sql_bind_int(st, 3, (int64_t)q->limit);
    return read_all(&s->state, st, out, err);
}

static int keep(struct store *base, const char *id, int64_t until_ms, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->state, "UPDATE uploads SET expires_ms=max(expires_ms, ?2) WHERE id=?1", err);

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    sql_bind_int(st, 2, until_ms);
    return sql_run(&s->state, st, err);
}

static int in_use(struct sqlite_store *s, const char *id, bool *out, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state, "SELECT 1 FROM uploads WHERE id=? AND " IN_USE, err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    r = sql_next(&s->state, st, err);
    *out = r == 1;
    return r < 0 ? r : 0;
}

static int known(struct store *base, enum upload_kind kind, const struct digest *sha256, bool *out,
                 struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state, "SELECT 1 FROM uploads WHERE kind=? AND sha256=? LIMIT 1", err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_int(st, 1, kind);
    sql_bind_blob(st, 2, sha256->b, DIGEST_LEN);
    r = sql_next(&s->state, st, err);
    if (r >= 0)
        *out = r == 1;
    return r < 0 ? r : 0;
}

static int delete_row(struct sqlite_store *s, const char *id, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state, "DELETE FROM uploads WHERE id=?", err);

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    return sql_run(&s->state, st, err);
}

static int remove_upload(struct store *base, const char *id, struct upload_record *out, bool *last,
                         struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    struct upload_record u = {0};
    bool used = false, others = false;
    int r = get(base, id, &u, err);

    if (r == 0)
        r = in_use(s, id, &used, err);
    if (r == 0 && used)
        r = err_set(err, ERR_CONFLICT, "a job that is not finished uses this upload");
    if (r == 0)
        r = delete_row(s, id, err);
    if (r == 0)
        r = known(base, u.kind, &u.sha256, &others, err);
    if (r < 0) {
        upload_record_done(&u);
        return r;
    }
    *out = u;
    *last = !others;
    return 0;
}

static int expired(struct store *base, int64_t now_ms, size_t limit, struct upload_list *out,
                   struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "SELECT " COLUMNS " FROM uploads WHERE expires_ms < ?1"
                                   " AND NOT " IN_USE " ORDER BY expires_ms LIMIT ?2",
                                   err);

    if (!st)
        return s->state.failure;
    sql_bind_int(st, 1, now_ms);
    sql_bind_int(st, 2, (int64_t)limit);
    return read_all(&s->state, st, out, err);
}

static int bytes(struct store *base, uint64_t *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "SELECT coalesce(sum(nbytes), 0) FROM"
                                   " (SELECT DISTINCT kind, sha256, nbytes FROM uploads)",
                                   err);
    int r;

    if (!st)
        return s->state.failure;
    r = sql_next(&s->state, st, err);
    if (r == 1)
        *out = sql_u64(st, 0);
    return r < 0 ? r : 0;
}

const struct store_upload_ops sqlite_upload_ops = {
    .put = put,
    .get = get,
    .list = list,
    .keep = keep,
    .remove = remove_upload,
    .expired = expired,
    .known = known,
    .bytes = bytes,
};
