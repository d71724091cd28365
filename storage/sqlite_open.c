/* sqlite_open.c: opening, transactions, housekeeping.
 *
 * locking_mode=EXCLUSIVE before WAL: no second process can open the files, and there is no shared
 * memory file. One connection per file also keeps clear of SQLite's WAL-reset bug (fixed in
 * 3.51.3, present in Debian 12's 3.40), which needs two.
 */
#include "storage/sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define APPLICATION_ID "1397769804" /* "SPEL" */
#define WAL_LIMIT      (64ll << 20)
#define INLINE_DEFAULT 262144

static const char common_pragmas[] =
    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA foreign_keys=ON; PRAGMA busy_timeout=0;"
    "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;"
    "PRAGMA temp_store=MEMORY; PRAGMA application_id=" APPLICATION_ID ";";

static void close_db(struct db *db)
{
    for (size_t i = 0; i < db->n_cached; i++)
        (void)sqlite3_finalize(db->cached[i].stmt);
    db->n_cached = 0;
    (void)sqlite3_close(db->handle);
    db->handle = NULL;
}

static int open_handle(struct db *db, const char *path, struct err *err)
{
    int rc = sqlite3_open_v2(path, &db->handle,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                 SQLITE_OPEN_EXRESCODE,
                             NULL);

    if (rc != SQLITE_OK)
        return sql_error(db, rc, err);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_limit(db->handle, SQLITE_LIMIT_ATTACHED, 0);
    return 0;
}

static bool is_corrupt(struct db *db)
{
    int rc = sqlite3_errcode(db->handle);

    return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB;
}

static int set_up(struct db *db, bool wal, bool full, struct err *err)
{
    int r = sql_exec(db, common_pragmas, err);

    if (r == 0 && !full) /* must precede the first table */
        r = sql_exec(db, "PRAGMA auto_vacuum=INCREMENTAL", err);
    if (r == 0)
        r = sql_exec(db, wal ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=DELETE", err);
    if (r == 0)
        r = sql_exec(db, "PRAGMA journal_size_limit=67108864; PRAGMA wal_autocheckpoint=0", err);
    if (r == 0)
        r = sql_exec(db, full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", err);
    if (r == 0) /* takes the lock, so that a second process is refused now and not later */
        r = sql_exec(db, "BEGIN EXCLUSIVE; COMMIT", err);
    return r;
}

/* On anything but a local file system WAL does not work. */
static bool local_fs(const char *dir, char *warning, size_t size)
{
    static const struct {
        long magic;
        const char *name;
    } remote[] = {{0x6969, "NFS"},      {0x65735546, "FUSE"},     {0x01021997, "9P"},
                  {0xff534d42, "CIFS"}, {0x6a656a63, "virtiofs"}, {0x517b, "SMB"}};
    struct statfs fs;

    if (statfs(dir, &fs) < 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(remote); i++)
        if ((long)fs.f_type == remote[i].magic) {
            snprintf(warning, size,
                     "the state directory lies on %s: slower, and safe only if nobody else writes "
                     "there",
                     remote[i].name);
            return false;
        }
    return true;
}

static int open_state(struct store *s, bool wal, struct err *err)
{
    AUTO(freep) char *path = xasprintf("%s/state.db", s->dir);
    int r = open_handle(&s->state, path, err);

    if (r == 0)
        r = set_up(&s->state, wal, true, err);
    if (r == 0)
        r = sql_migrate(&s->state, state_migrations, n_state_migrations, err);
    if (r == ERR_CONFLICT)
        return err_set(err, ERR_CONFLICT, "another spectrald uses the state directory %s", s->dir);
    return r;
}

static int try_cache(struct store *s, const char *path, bool wal, struct err *err)
{
    int r = open_handle(&s->cache, path, err);

    if (r == 0)
        r = set_up(&s->cache, wal, false, err);
    if (r == 0)
        r = sql_migrate(&s->cache, cache_migrations, n_cache_migrations, err);
    return r;
}

/* A damaged cache costs time, not data: put it aside and start another. */
static int open_cache(struct store *s, bool wal, struct err *err)
{
    AUTO(freep) char *path = xasprintf("%s/cache.db", s->dir);
    AUTO(freep) char *aside = xasprintf("%s.corrupt-%lld", path, (long long)wall_ms());
    int r = try_cache(s, path, wal, err);

    if (r == 0 || !s->cache.handle || !is_corrupt(&s->cache))
        return r;
    close_db(&s->cache);
    if (rename(path, aside) < 0)
        return err_set_errno(err, errno, "cannot put the damaged %s aside", path);
    snprintf(s->warning, sizeof s->warning,
             "the cache was damaged; it was put aside and a new one is in use");
    return try_cache(s, path, wal, err);
}

int store_open_sqlite(const struct store_options *opt, struct store **out, struct err *err)
{
    struct store *s = xcalloc(1, sizeof *s);
    bool wal;
    int r = 0;

    s->state.name = "state";
    s->cache.name = "cache";
    s->dir = xstrdup(opt->dir);
    s->inline_max = opt->inline_max ? opt->inline_max : INLINE_DEFAULT;
    if (mkdir(s->dir, 0700) < 0 && errno != EEXIST)
        r = err_set_errno(err, errno, "cannot create the state directory %s", s->dir);
    wal = local_fs(s->dir, s->warning, sizeof s->warning);
    if (r == 0)
        r = open_state(s, wal, err);
    if (r == 0)
        r = open_cache(s, wal, err);
    if (r < 0)
        store_close(s);
    else
        *out = s;
    return r;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    if (s->cache.handle)
        (void)sqlite3_wal_checkpoint_v2(s->cache.handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                        NULL);
    if (s->state.handle)
        (void)sqlite3_wal_checkpoint_v2(s->state.handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                        NULL);
    close_db(&s->cache);
    close_db(&s->state);
    free(s->dir);
    free(s);
}

const char *store_warning(const struct store *s)
{
    return s->warning;
}

/* --- transactions -------------------------------------------------------------------------- */

static void roll_back(struct db *db)
{
    if (db->in_transaction && !sqlite3_get_autocommit(db->handle))
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    db->in_transaction = false;
}

void store_rollback(struct store *s)
{
    roll_back(&s->cache);
    roll_back(&s->state);
}

static int begin(struct db *db, struct err *err)
{
    int r = sql_exec(db, "BEGIN IMMEDIATE", err);

    db->in_transaction = r == 0;
    return r;
}

int store_begin(struct store *s, struct err *err)
{
    int r = begin(&s->cache, err);

    if (r == 0)
        r = begin(&s->state, err);
    if (r < 0)
        store_rollback(s);
    return r;
}

/* A statement that hit a full disk may already have ended the transaction. */
static int commit(struct db *db, struct err *err)
{
    int r;

    if (!db->in_transaction)
        return 0;
    if (sqlite3_get_autocommit(db->handle)) {
        db->in_transaction = false;
        return err_set(err, ERR_FULL, "the %s database lost its transaction: the disk may be full",
                       db->name);
    }
    r = sql_exec(db, "COMMIT", err);
    if (r < 0)
        roll_back(db);
    db->in_transaction = false;
    return r;
}

int store_commit(struct store *s, struct err *err)
{
    int r = commit(&s->cache, err);

    if (r == 0)
        r = commit(&s->state, err);
    if (r < 0)
        store_rollback(s);
    return r;
}

int store_probe(struct store *s, struct err *err)
{
    sqlite3_stmt *st = sql_prepare(&s->state, "INSERT OR REPLACE INTO probe VALUES(1, ?)", err);
    int r;

    if (!st)
        return ERR_IO;
    sql_bind_int(st, 1, wall_ms());
    r = sql_run(&s->state, st, err);
    sql_done(st);
    return r;
}

/* --- housekeeping -------------------------------------------------------------------------- */

static int64_t wal_size(const struct store *s, const char *name)
{
    AUTO(freep) char *path = xasprintf("%s/%s.db-wal", s->dir, name);
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : 0;
}

static int checkpoint(struct store *s, struct db *db, struct err *err)
{
    int mode =
        wal_size(s, db->name) > WAL_LIMIT ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    int rc = sqlite3_wal_checkpoint_v2(db->handle, NULL, mode, NULL, NULL);

    return rc == SQLITE_OK ? 0 : sql_error(db, rc, err);
}

int store_idle(struct store *s, struct err *err)
{
    int r = checkpoint(s, &s->cache, err);

    return r < 0 ? r : checkpoint(s, &s->state, err);
}

int store_sizes(struct store *s, uint64_t *wal_bytes, uint64_t *cache_bytes, uint64_t *blob_bytes,
                struct err *err)
{
    static const char sql[] = "SELECT (SELECT page_count FROM pragma_page_count()) *"
                              " (SELECT page_size FROM pragma_page_size()),"
                              " (SELECT coalesce(sum(size), 0) FROM results WHERE value IS NULL)";
    AUTO(sql_donep) sqlite3_stmt *st = sql_prepare(&s->cache, sql, err);
    int r = st ? sql_next(&s->cache, st, err) : ERR_IO;

    if (r < 0)
        return r;
    *wal_bytes = (uint64_t)(wal_size(s, "cache") + wal_size(s, "state"));
    *cache_bytes = sql_u64(st, 0);
    *blob_bytes = sql_u64(st, 1);
    return 0;
}
