/* sqlite_cache.c: everything keyed by content, and what is known of files. */
#include "storage/sqlite_store.h"

#include "storage/blobs.h"

#include <stdlib.h>
#include <string.h>

#define USED_EVERY_MS 60000 /* last_used is not worth a write on every lookup */

static const char *const kind_name[] = {"spectrum", "fit", "plan", "windows", "magnitude"};
_Static_assert(ARRAY_LEN(kind_name) == CACHE_KIND_COUNT, "a directory for every kind");

/* --- files --------------------------------------------------------------------------------- */

static int file_find(struct store *base, const struct file_identity *id, struct file_record *out,
                     struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->cache,
                                   "SELECT tensors, digests FROM files WHERE dev=? AND ino=?"
                                   " AND size=? AND mtime_ns=? AND ctime_ns=?",
                                   err);
    int r;

    if (!st)
        return s->cache.failure;
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

static int file_put(struct store *base, const struct file_identity *id, const struct file_record *f,
                    struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->cache, "INSERT OR REPLACE INTO files VALUES(?,?,?,?,?,?,?)", err);

    if (!st)
        return s->cache.failure;
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

static void mark_used(struct sqlite_store *s, enum cache_kind kind, const struct digest *key)
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

/* The row first: a file without a row is waste, a row without a file a lie. */
static void forget(struct sqlite_store *s, enum cache_kind kind, const struct digest *key)
{
    sqlite3_stmt *st = sql_prepare(&s->cache, "DELETE FROM results WHERE kind=?1 AND key=?2", NULL);

    if (!st)
        return;
    bind_key(st, 1, kind, key);
    if (sql_run(&s->cache, st, NULL) == 0)
        blob_remove(s->dir, kind_name[kind], key);
    sql_done(st);
}

struct found {
    uint64_t size;
    int64_t used_ms;
    bool in_file;
    struct buf value; /* empty when in_file */
};

/* The statement ends here, so that the caller may write. */
static int find_row(struct sqlite_store *s, enum cache_kind kind, const struct digest *key,
                    struct found *f, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->cache, "SELECT size, value, last_used_ms FROM results WHERE kind=?1 AND key=?2", err);
    int r;

    if (!st)
        return s->cache.failure;
    bind_key(st, 1, kind, key);
    r = sql_next(&s->cache, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "not in the cache");
    if (r < 0)
        return r;
    f->size = sql_u64(st, 0);
    f->used_ms = sqlite3_column_int64(st, 2);
    f->in_file = sqlite3_column_type(st, 1) == SQLITE_NULL;
    if (!f->in_file)
        sql_blob(st, 1, &f->value);
    return 0;
}

static int cache_find(struct store *base, enum cache_kind kind, const struct digest *key,
                      struct buf *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    struct found f = {.value = BUF_INIT};
    int r = find_row(s, kind, key, &f, err);

    if (r == 0 && f.in_file) {
        r = blob_read(s->dir, kind_name[kind], key, f.size, &f.value, err);
        if (r == ERR_NOT_FOUND)
            forget(s, kind, key);
    }
    if (r < 0)
        return r;
    if (wall_ms() - f.used_ms > USED_EVERY_MS)
        mark_used(s, kind, key);
    *out = f.value;
    return 0;
}

/* Who is told that it is there counts on it: that is a use. */
static bool cache_known(struct store *base, enum cache_kind kind, const struct digest *key)
{
    struct sqlite_store *s = sqlite_of(base);
    sqlite3_stmt *st =
        sql_prepare(&s->cache, "SELECT last_used_ms FROM results WHERE kind=?1 AND key=?2", NULL);
    int64_t used_ms = 0;
    bool known;

    if (!st)
        return false;
    bind_key(st, 1, kind, key);
    known = sql_next(&s->cache, st, NULL) == 1;
    if (known)
        used_ms = sqlite3_column_int64(st, 0);
    sql_done(st); /* before the write */
    if (known && wall_ms() - used_ms > USED_EVERY_MS)
        mark_used(s, kind, key);
    return known;
}

static int cache_put(struct store *base, enum cache_kind kind, const struct digest *key,
                     const void *bytes, size_t len, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    bool in_file = len > s->inline_max;
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->cache,
        "INSERT OR REPLACE INTO results(kind, key, size, value, last_used_ms) VALUES(?,?,?,?,?)",
        err);
    int r = st ? 0 : s->cache.failure;

    if (r == 0 && in_file) /* the file first: a row never points to nothing */
        r = blob_write(s->dir, kind_name[kind], key, bytes, len, err);
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

/* --- what was not used for longest ------------------------------------------------------------ */

/* Pages of rows that were removed are used again before the file grows. */
static int cache_used(struct store *base, uint64_t *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    static const char sql[] = "SELECT ((SELECT page_count FROM pragma_page_count()) -"
                              " (SELECT freelist_count FROM pragma_freelist_count())) *"
                              " (SELECT page_size FROM pragma_page_size()) +"
                              " (SELECT coalesce(sum(size), 0) FROM results WHERE value IS NULL)";
    AUTO(sql_donep) sqlite3_stmt *st = sql_prepare(&s->cache, sql, err);
    int r = st ? sql_next(&s->cache, st, err) : s->cache.failure;

    if (r == 1)
        *out = sql_u64(st, 0);
    return r < 0 ? r : 0;
}

struct old {
    enum cache_kind kind;
    struct digest key;
    uint64_t size;
};

/* At most `limit` of them; owned by the caller. */
static int find_old(struct sqlite_store *s, int64_t before_ms, size_t limit, struct old **out,
                    size_t *n, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->cache,
                                   "SELECT kind, key, size FROM results INDEXED BY results_by_use"
                                   " WHERE last_used_ms<? ORDER BY last_used_ms LIMIT ?",
                                   err);
    int r = st ? 0 : s->cache.failure;

    if (r < 0)
        return r;
    *out = xcalloc(limit, sizeof **out);
    *n = 0;
    sql_bind_int(st, 1, before_ms);
    sql_bind_int(st, 2, (int64_t)limit);
    while (*n < limit && (r = sql_next(&s->cache, st, err)) == 1) {
        struct old *o = &(*out)[*n];

        if (sqlite3_column_int64(st, 0) >= CACHE_KIND_COUNT ||
            sqlite3_column_bytes(st, 1) != DIGEST_LEN)
            continue; /* of a newer version */
        o->kind = (enum cache_kind)sqlite3_column_int64(st, 0);
        memcpy(o->key.b, sqlite3_column_blob(st, 1), DIGEST_LEN);
        o->size = sql_u64(st, 2);
        ++*n;
    }
    return r < 0 ? r : 0;
}

static int cache_evict(struct store *base, int64_t before_ms, uint64_t bytes, size_t limit,
                       size_t *count, uint64_t *removed, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(freep) void *memory = NULL;
    struct old *o = NULL;
    size_t n = 0;
    int r = find_old(s, before_ms, limit, &o, &n, err);

    memory = o;
    *count = 0;
    *removed = 0;
    while (r == 0 && *count < n && *removed < bytes) {
        *removed += o[*count].size;
        forget(s, o[*count].kind, &o[*count].key);
        ++*count;
    }
    return r;
}

/* Bytes of all values of a kind. */
static int kind_bytes(struct sqlite_store *s, enum cache_kind kind, uint64_t *out, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->cache, "SELECT ifnull(sum(size), 0) FROM results WHERE kind=?", err);
    int r;

    if (!st)
        return s->cache.failure;
    sql_bind_int(st, 1, kind);
    r = sql_next(&s->cache, st, err);
    if (r == 1)
        *out = sql_u64(st, 0);
    return r < 0 ? r : 0;
}

/* The value of a kind that was not used for longest. ERR_NOT_FOUND. */
static int oldest(struct sqlite_store *s, enum cache_kind kind, struct digest *key, uint64_t *size,
                  struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->cache,
        "SELECT key, size FROM results WHERE kind=? ORDER BY last_used_ms, rowid LIMIT 1", err);
    int r;

    if (!st)
        return s->cache.failure;
    sql_bind_int(st, 1, kind);
    r = sql_next(&s->cache, st, err);
    if (r < 0)
        return r;
    if (r == 0 || sqlite3_column_bytes(st, 0) != DIGEST_LEN)
        return err_set(err, ERR_NOT_FOUND, "not in the cache");
    memcpy(key->b, sqlite3_column_blob(st, 0), DIGEST_LEN);
    *size = sql_u64(st, 1);
    return 0;
}

static int cache_trim(struct store *base, enum cache_kind kind, uint64_t bytes, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    uint64_t have = 0, size = 0;
    int r = kind_bytes(s, kind, &have, err);

    while (r == 0 && have > bytes) {
        struct digest key;

        r = oldest(s, kind, &key, &size, err);
        if (r == 0)
            forget(s, kind, &key);
        have -= size < have ? size : have;
    }
    return r;
}

static int kind_count(struct sqlite_store *s, enum cache_kind kind, uint64_t *out, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->cache, "SELECT count(*) FROM results WHERE kind=?", err);
    int r;

    if (!st)
        return s->cache.failure;
    sql_bind_int(st, 1, kind);
    r = sql_next(&s->cache, st, err);
    if (r == 1)
        *out = sql_u64(st, 0);
    return r < 0 ? r : 0;
}

static int cache_trim_count(struct store *base, enum cache_kind kind, uint64_t count,
                            struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    uint64_t have = 0, size, goal;
    int r;

    if (s->room[kind] > 0) {
        s->room[kind]--;
        return 0;
    }
    r = kind_count(s, kind, &have, err);
    goal = have > count ? count - count / 20 : have;
    for (; r == 0 && have > goal; have--) {
        struct digest key;

        r = oldest(s, kind, &key, &size, err);
        if (r == 0)
            forget(s, kind, &key);
    }
    if (r == 0)
        s->room[kind] = count - have;
    return r;
}

struct sweep {
    struct sqlite_store *s;
    enum cache_kind kind;
};

static bool blob_known(void *arg, const struct digest *key)
{
    const struct sweep *w = arg;
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &w->s->cache, "SELECT 1 FROM results WHERE kind=?1 AND key=?2 AND value IS NULL", NULL);

    if (!st)
        return true; /* keep what cannot be judged */
    bind_key(st, 1, w->kind, key);
    return sql_next(&w->s->cache, st, NULL) != 0;
}

size_t sqlite_cache_sweep(struct sqlite_store *s)
{
    size_t n = 0;

    for (int kind = 0; kind < CACHE_KIND_COUNT; kind++) {
        struct sweep w = {s, (enum cache_kind)kind};

        n += blob_sweep(s->dir, kind_name[kind], blob_known, &w);
    }
    return n;
}

/* --- layer rows ---------------------------------------------------------------------------- */

static int rows_put(struct store *base, const struct digest *key, const struct layer_row *row,
                    size_t count, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->cache, "INSERT OR REPLACE INTO layer_rows VALUES(?,?,?,?,?,?)", err);
    int r = st ? 0 : s->cache.failure;

    for (size_t i = 0; r == 0 && i < count; i++) {
        sql_bind_blob(st, 1, key->b, DIGEST_LEN);
        sql_bind_int(st, 2, (int64_t)row[i].layer_id);
        sql_bind_text(st, 3, row[i].longname);
        sql_bind_text(st, 4, row[i].json);
        if (row[i].has_spectrum) {
            sql_bind_blob(st, 5, row[i].spectrum.b, DIGEST_LEN);
            (void)sqlite3_bind_double(st, 6, row[i].scale);
        } /* else NULL: bindings were cleared */
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
    r->has_spectrum = sqlite3_column_bytes(st, 3) == DIGEST_LEN;
    if (r->has_spectrum)
        memcpy(r->spectrum.b, sqlite3_column_blob(st, 3), DIGEST_LEN);
    r->scale = sqlite3_column_double(st, 4);
}

static int rows_get(struct store *base, const struct digest *key, uint64_t first, size_t limit,
                    struct layer_row_list *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->cache,
                                   "SELECT layer_id, longname, json, spectrum, scale"
                                   " FROM layer_rows WHERE key=?"
                                   " AND layer_id>=? ORDER BY layer_id LIMIT ?",
                                   err);
    struct layer_row_list l = {0};
    size_t cap = 0;
    int r;

    if (!st)
        return s->cache.failure;
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

static int rows_find(struct store *base, const struct digest *key, const char *longname,
                     struct layer_row *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->cache,
                                   "SELECT layer_id, longname, json, spectrum, scale"
                                   " FROM layer_rows WHERE key=?"
                                   " AND longname=? ORDER BY layer_id LIMIT 1",
                                   err);
    int r;

    if (!st)
        return s->cache.failure;
    sql_bind_blob(st, 1, key->b, DIGEST_LEN);
    sql_bind_text(st, 2, longname);
    r = sql_next(&s->cache, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no layer \"%.100s\"", longname);
    if (r > 0)
        read_row(st, out);
    return r < 0 ? r : 0;
}

static int rows_each(struct store *base, const struct digest *key, store_row_fn *fn, void *arg,
                     struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->cache, "SELECT longname, json FROM layer_rows WHERE key=? ORDER BY layer_id", err);
    int r;

    if (!st)
        return s->cache.failure;
    sql_bind_blob(st, 1, key->b, DIGEST_LEN);
    while ((r = sql_next(&s->cache, st, err)) == 1) {
        const char *longname = (const char *)sqlite3_column_text(st, 0);
        const char *json = (const char *)sqlite3_column_text(st, 1);

        if (longname && json && !fn(arg, longname, json, (size_t)sqlite3_column_bytes(st, 1)))
            return 0;
    }
    return r;
}

static int rows_count(struct store *base, const struct digest *key, uint64_t *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->cache, "SELECT count(*) FROM layer_rows WHERE key=?", err);
    int r;

    if (!st)
        return s->cache.failure;
    sql_bind_blob(st, 1, key->b, DIGEST_LEN);
    r = sql_next(&s->cache, st, err);
    if (r == 1)
        *out = sql_u64(st, 0);
    return r < 0 ? r : 0;
}

const struct store_cache_ops sqlite_cache_ops = {
    .find_file = file_find,
    .put_file = file_put,
    .find = cache_find,
    .known = cache_known,
    .put = cache_put,
    .used = cache_used,
    .evict = cache_evict,
    .trim = cache_trim,
    .trim_count = cache_trim_count,
    .put_rows = rows_put,
    .get_rows = rows_get,
    .find_row = rows_find,
    .each_row = rows_each,
    .count_rows = rows_count,
};
