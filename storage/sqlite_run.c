/* sqlite_run.c: transactions over both databases, and housekeeping. */
#include "storage/sqlite_store.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <string.h>

#define WAL_LIMIT (64ll << 20)

/* --- transactions -------------------------------------------------------------------------- */

static void roll_back(struct db *db)
{
    if (db->in_transaction && !sqlite3_get_autocommit(db->handle))
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    db->in_transaction = false;
}

static void do_rollback(struct store *base)
{
    struct sqlite_store *s = sqlite_of(base);

    roll_back(&s->cache);
    roll_back(&s->state);
    memset(s->room, 0, sizeof s->room); /* what made it is undone */
}

static int begin(struct db *db, struct err *err)
{
    int r = sql_exec(db, "BEGIN IMMEDIATE", err);

    db->in_transaction = r == 0;
    return r;
}

static int do_begin(struct store *base, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    int r = begin(&s->cache, err);

    if (r == 0)
        r = begin(&s->state, err);
    if (r == 0)
        return 0;
    do_rollback(base);
    /* sql_check_transaction() then refuses every verb, up to commit or rollback. */
    s->cache.in_transaction = s->state.in_transaction = true;
    s->cache.failure = s->state.failure = r;
    return r;
}

static int commit(struct db *db, struct err *err)
{
    int r;

    if (!db->in_transaction)
        return 0;
    r = sql_check_transaction(db, err);
    if (r == 0)
        r = sql_exec(db, "COMMIT", err);
    if (r < 0)
        roll_back(db);
    db->in_transaction = false;
    return r;
}

static int do_commit(struct store *base, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    int r = commit(&s->cache, err);

    if (r == 0)
        r = commit(&s->state, err);
    if (r < 0)
        do_rollback(base);
    return r;
}

static int do_probe(struct store *base, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    sqlite3_stmt *st = sql_prepare(&s->state, "INSERT OR REPLACE INTO probe VALUES(1, ?)", err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_int(st, 1, wall_ms());
    r = sql_run(&s->state, st, err);
    sql_done(st);
    return r;
}

/* --- housekeeping -------------------------------------------------------------------------- */

static int64_t wal_size(const struct sqlite_store *s, const char *name)
{
    AUTO(freep) char *path = xasprintf("%s/%s.db-wal", s->dir, name);
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : 0;
}

static int checkpoint(struct sqlite_store *s, struct db *db, struct err *err)
{
    bool big = wal_size(s, db->name) > WAL_LIMIT;
    int rc;

    /* An open read would pin the log. */
    for (sqlite3_stmt *st = NULL; (st = sqlite3_next_stmt(db->handle, st)) != NULL;)
        ASSERT(!sqlite3_stmt_busy(st));
    rc = sqlite3_wal_checkpoint_v2(
        db->handle, NULL, big ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return rc == SQLITE_OK ? 0 : sql_error(db, rc, err);
}

static int do_idle(struct store *base, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    int r = checkpoint(s, &s->cache, err);

    return r < 0 ? r : checkpoint(s, &s->state, err);
}

static int do_sizes(struct store *base, uint64_t *wal_bytes, uint64_t *cache_bytes,
                    uint64_t *blob_bytes, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    static const char sql[] = "SELECT (SELECT page_count FROM pragma_page_count()) *"
                              " (SELECT page_size FROM pragma_page_size()),"
                              " (SELECT coalesce(sum(size), 0) FROM results WHERE value IS NULL)";
    AUTO(sql_donep) sqlite3_stmt *st = sql_prepare(&s->cache, sql, err);
    int r = st ? sql_next(&s->cache, st, err) : s->cache.failure;

    if (r < 0)
        return r;
    *wal_bytes = (uint64_t)(wal_size(s, "cache") + wal_size(s, "state"));
    *cache_bytes = sql_u64(st, 0);
    *blob_bytes = sql_u64(st, 1);
    return 0;
}

static const char *do_warning(const struct store *base)
{
    return ((const struct sqlite_store *)base)->warning;
}

const struct store_ops sqlite_ops = {
    .close = sqlite_store_close,
    .begin = do_begin,
    .commit = do_commit,
    .rollback = do_rollback,
    .probe = do_probe,
    .idle = do_idle,
    .sizes = do_sizes,
    .warning = do_warning,
    .job = &sqlite_job_ops,
    .key = &sqlite_key_ops,
    .model = &sqlite_model_ops,
    .upload = &sqlite_upload_ops,
    .artifact = &sqlite_artifact_ops,
    .cache = &sqlite_cache_ops,
};
