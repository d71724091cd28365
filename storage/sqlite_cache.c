/* sqlite_cache.c: everything keyed by content, and what is known of files. */
#include "storage/sqlite.h"

#include <stdlib.h>
#include <string.h>

#define USED_EVERY_MS 60000 /* last_used is not worth a write on every lookup */

/* --- files --------------------------------------------------------------------------------- */

int store_file_find(struct store *s, const struct file_identity *id, struct file_record *out,
                    struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->cache,
                                   "SELECT tensors, digests FROM files WHERE dev=? AND ino=?"
                                   " AND size=? AND mtime_ns=? AND ctime_ns=?",
                                   err);
    int r;

    if (!st)
        return ERR_IO;
    sql_bind_int(st, 1, (int64_t)id->dev);
    sql_bind_int(st, 2, (int64_t)id->ino);
    sql_bind_int(st, 3, (int64_t)id->size);
    sql_bind_int(st, 4, id->mtime_ns);
    sql_bind_int(st, 5, id->ctime_ns);
    r = sql_next(&s->cache, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "the file is not known");
    if (r < 0)
        return r;
    *out = (struct file_record){.table = BUF_INIT, .digests = BUF_INIT};
    sql_blob(st, 0, &out->table);
    sql_blob(st, 1, &out->digests);
    return 0;
}

int store_file_put(struct store *s, const struct file_identity *id, const struct file_record *f,
                   struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->cache, "INSERT OR REPLACE INTO files VALUES(?,?,?,?,?,?,?)", err);

    if (!st)
        return ERR_IO;
    sql_bind_int(st, 1, (int64_t)id->dev);
    sql_bind_int(st, 2, (int64_t)id->ino);
    sql_bind_int(st, 3, (int64_t)id->size);
    sql_bind_int(st, 4, id->mtime_ns);
    sql_bind_int(st, 5, id->ctime_ns);
    sql_bind_blob(st, 6, f->table.data, f->table.len);
    sql_bind_blob(st, 7, f->digests.data, f->digests.len);
    return sql_run(&s->cache, st, err);
}

/* --- spectra and fits ---------------------------------------------------------------------- */

static void bind_key(sqlite3_stmt *st, int i, enum cache_kind kind, const struct digest *key)
{
    sql_bind_int(st, i, kind);
    sql_bind_blob(st, i + 1, key->b, DIGEST_LEN);
}

static void mark_used(struct store *s, enum cache_kind kind, const struct digest *key)
{
    sqlite3_stmt *st =
        sql_prepare(&s->cache, "UPDATE results SET last_used_ms=?3 WHERE kind=?1 AND key=?2", NULL);

    if (!st)
        return;
    bind_key(st, 1, kind, key);
    sql_bind_int(st, 3, wall_ms());
    (void)sql_run(&s->cache, st, NULL);
    sql_done(st);
}

static void forget(struct store *s, enum cache_kind kind, const struct digest *key)
{
    sqlite3_stmt *st = sql_prepare(&s->cache, "DELETE FROM results WHERE kind=?1 AND key=?2", NULL);

    if (!st)
        return;
    bind_key(st, 1, kind, key);
    (void)sql_run(&s->cache, st, NULL);
    sql_done(st);
}

int store_cache_find(struct store *s, enum cache_kind kind, const struct digest *key,
                     struct buf *out, struct err *err)
{
    sqlite3_stmt *st = sql_prepare(
        &s->cache, "SELECT size, value, last_used_ms FROM results WHERE kind=?1 AND key=?2", err);
    struct buf b = BUF_INIT;
    int64_t used = 0;
    int r;

    if (!st)
        return ERR_IO;
    bind_key(st, 1, kind, key);
    r = sql_next(&s->cache, st, err);
    if (r == 0)
        r = err_set(err, ERR_NOT_FOUND, "not in the cache");
    if (r == 1) {
        size_t size = (size_t)sql_u64(st, 0);
        bool in_file = sqlite3_column_type(st, 1) == SQLITE_NULL;

        used = sqlite3_column_int64(st, 2);
        if (!in_file)
            sql_blob(st, 1, &b);
        r = in_file ? blob_read(s, kind, key, size, &b, err) : 0;
        if (in_file && r == ERR_NOT_FOUND) {
            sql_done(st);
            forget(s, kind, key);
            return r;
        }
    }
    sql_done(st);
    if (r < 0)
        return r;
    if (wall_ms() - used > USED_EVERY_MS)
        mark_used(s, kind, key);
    *out = b;
    return 0;
}

int store_cache_put(struct store *s, enum cache_kind kind, const struct digest *key,
                    const void *bytes, size_t len, struct err *err)
{
    bool in_file = len > s->inline_max;
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->cache,
        "INSERT OR REPLACE INTO results(kind, key, size, value, last_used_ms) VALUES(?,?,?,?,?)",
        err);
    int r = st ? 0 : ERR_IO;

    if (r == 0 && in_file) /* the file first: a row never points to nothing */
        r = blob_write(s, kind, key, bytes, len, err);
    if (r < 0)
        return r;
    bind_key(st, 1, kind, key);
    sql_bind_int(st, 3, (int64_t)len);
    if (in_file)
        sql_bind_text(st, 4, NULL);
    else
        sql_bind_blob(st, 4, bytes, len);
    sql_bind_int(st, 5, wall_ms());
    return sql_run(&s->cache, st, err);
}

/* --- layer rows ---------------------------------------------------------------------------- */

int store_rows_put(struct store *s, const struct digest *key, const struct layer_row *row,
                   size_t count, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->cache, "INSERT OR REPLACE INTO layer_rows VALUES(?,?,?,?)", err);
    int r = st ? 0 : ERR_IO;

    for (size_t i = 0; r == 0 && i < count; i++) {
        sql_bind_blob(st, 1, key->b, DIGEST_LEN);
        sql_bind_int(st, 2, (int64_t)row[i].layer_id);
        sql_bind_text(st, 3, row[i].longname);
        sql_bind_text(st, 4, row[i].json);
        r = sql_run(&s->cache, st, err);
        sql_done(st);
    }
    return r;
}

static void read_row(sqlite3_stmt *st, struct layer_row *r)
{
    r->layer_id = sql_u64(st, 0);
    r->longname = sql_text_or_empty(st, 1);
    r->json = sql_text_or_empty(st, 2);
}

int store_rows_get(struct store *s, const struct digest *key, uint64_t first, size_t limit,
                   struct layer_row_list *out, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->cache,
                                   "SELECT layer_id, longname, json FROM layer_rows WHERE key=?"
                                   " AND layer_id>=? ORDER BY layer_id LIMIT ?",
                                   err);
    struct layer_row_list l = {0};
    size_t cap = 0;
    int r;

    if (!st)
        return ERR_IO;
    sql_bind_blob(st, 1, key->b, DIGEST_LEN);
    sql_bind_int(st, 2, first > INT64_MAX ? INT64_MAX : (int64_t)first);
    sql_bind_int(st, 3, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    while ((r = sql_next(&s->cache, st, err)) == 1) {
        if (l.count == cap) {
            cap = cap ? 2 * cap : 64;
            l.row = xrealloc(l.row, cap * sizeof *l.row);
        }
        read_row(st, &l.row[l.count++]);
    }
    if (r < 0)
        layer_row_list_done(&l);
    else
        *out = l;
    return r;
}

int store_rows_find(struct store *s, const struct digest *key, const char *longname,
                    struct layer_row *out, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->cache,
                                   "SELECT layer_id, longname, json FROM layer_rows WHERE key=?"
                                   " AND longname=? ORDER BY layer_id LIMIT 1",
                                   err);
    int r;

    if (!st)
        return ERR_IO;
    sql_bind_blob(st, 1, key->b, DIGEST_LEN);
    sql_bind_text(st, 2, longname);
    r = sql_next(&s->cache, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no layer \"%.100s\"", longname);
    if (r > 0)
        read_row(st, out);
    return r < 0 ? r : 0;
}

int store_rows_count(struct store *s, const struct digest *key, uint64_t *out, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->cache, "SELECT count(*) FROM layer_rows WHERE key=?", err);
    int r;

    if (!st)
        return ERR_IO;
    sql_bind_blob(st, 1, key->b, DIGEST_LEN);
    r = sql_next(&s->cache, st, err);
    if (r == 1)
        *out = sql_u64(st, 0);
    return r < 0 ? r : 0;
}
