/* sqlite_open.c: opening and closing.
 *
 * locking_mode=EXCLUSIVE before WAL: no second process can open the files, and there is no shared
 * memory file. One connection per file also keeps clear of SQLite's WAL-reset bug (fixed in
 * 3.51.3, present in Debian 12's 3.40), which needs two.
 */
#include "storage/sqlite_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define INLINE_DEFAULT 262144
#define INLINE_MOST    (16u << 20) /* far below what a row may hold */

static const char common_pragmas[] =
    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA foreign_keys=ON; PRAGMA busy_timeout=0;"
    "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;"
    "PRAGMA temp_store=MEMORY;";

static void close_db(struct db *db)
{
    for (size_t i = 0; i < db->n_cached; i++)
        (void)sqlite3_finalize(db->cached[i].stmt);
    (void)sqlite3_close(db->handle);
    *db = (struct db){.name = db->name};
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

/* The pragma answers with the mode it is in, which may not be the one asked for. */
static int set_journal(struct db *db, bool wal, struct err *err)
{
    sqlite3_stmt *st = NULL;
    const char *want = wal ? "wal" : "delete";
    int rc = sqlite3_prepare_v2(
        db->handle, wal ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=DELETE", -1, &st, NULL);
    int r;

    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc != SQLITE_ROW)
        r = sql_error(db, rc, err);
    else if (strcmp((const char *)sqlite3_column_text(st, 0), want) != 0)
        r = err_set(err, ERR_IO, "the %s database cannot use journal mode %s", db->name, want);
    else
        r = 0;
    (void)sqlite3_finalize(st);
    return r;
}

static int set_up(struct db *db, bool wal, bool full, struct err *err)
{
    int r = 0;

    if (!full) /* before anything is written: the first page fixes it */
        r = sql_exec(db, "PRAGMA auto_vacuum=INCREMENTAL", err);
    if (r == 0)
        r = sql_exec(db, common_pragmas, err);
    if (r == 0)
        r = set_journal(db, wal, err);
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

static int open_state(struct sqlite_store *s, bool wal, struct err *err)
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

static int try_cache(struct sqlite_store *s, const char *path, bool wal, struct err *err)
{
    int r = open_handle(&s->cache, path, err);

    if (r == 0)
        r = set_up(&s->cache, wal, false, err);
    if (r == 0)
        r = sql_migrate(&s->cache, cache_migrations, n_cache_migrations, err);
    return r;
}

/* The old journals would be replayed into the new file. */
static void drop_journals(const char *path)
{
    AUTO(freep) char *wal = xasprintf("%s-wal", path);
    AUTO(freep) char *journal = xasprintf("%s-journal", path);

    (void)unlink(wal);
    (void)unlink(journal);
}

/* A damaged cache costs time, not data: put it aside and start another. */
static int open_cache(struct sqlite_store *s, bool wal, struct err *err)
{
    AUTO(freep) char *path = xasprintf("%s/cache.db", s->dir);
    AUTO(freep) char *aside = xasprintf("%s.corrupt-%lld", path, (long long)wall_ms());
    int r = try_cache(s, path, wal, err);

    if (r == 0 || !s->cache.corrupt)
        return r;
    close_db(&s->cache);
    if (rename(path, aside) < 0)
        return err_set_errno(err, errno, "cannot put the damaged %s aside", path);
    drop_journals(path);
    snprintf(s->warning, sizeof s->warning,
             "the cache was damaged; it was put aside and a new one is in use");
    return try_cache(s, path, wal, err);
}

void sqlite_store_close(struct store *base)
{
    struct sqlite_store *s = sqlite_of(base);

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

int store_open_sqlite(const struct store_options *opt, struct store **out, struct err *err)
{
    struct sqlite_store *s = xcalloc(1, sizeof *s);
    bool wal;
    int r = 0;

    s->base.ops = &sqlite_ops;
    s->state.name = "state";
    s->cache.name = "cache";
    s->dir = xstrdup(opt->dir);
    s->inline_max = opt->inline_max ? opt->inline_max : INLINE_DEFAULT;
    if (s->inline_max > INLINE_MOST)
        s->inline_max = INLINE_MOST;
    if (mkdir(s->dir, 0700) < 0 && errno != EEXIST)
        r = err_set_errno(err, errno, "cannot create the state directory %s", s->dir);
    wal = local_fs(s->dir, s->warning, sizeof s->warning);
    if (r == 0)
        r = open_state(s, wal, err);
    if (r == 0)
        r = open_cache(s, wal, err);
    if (r < 0) {
        sqlite_store_close(&s->base);
        return r;
    }
    (void)sqlite_cache_sweep(s);
    *out = &s->base;
    return 0;
}
