/* sqlite_stmt.c: statements, bindings, columns, error codes. */
#include "storage/sqlite_stmt.h"

#include <errno.h>
#include <string.h>

/* A file size limit or a quota is a full disk to whoever has to act on it. */
static bool out_of_space(int e)
{
    return e == ENOSPC || e == EDQUOT || e == EFBIG;
}

/* SQLite keeps the system's error for a failed open or read, but not for a failed COMMIT. */
static int code_of_io(const struct db *db, int errno_value)
{
    if (db->handle && out_of_space(sqlite3_system_errno(db->handle)))
        return ERR_FULL;
    return out_of_space(errno_value) ? ERR_FULL : ERR_IO;
}

static int code_of(const struct db *db, int rc, int errno_value)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_CONFLICT;
    case SQLITE_IOERR:
        return code_of_io(db, errno_value);
    case SQLITE_CONSTRAINT:
    case SQLITE_MISUSE:
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
        return ERR_INTERNAL;
    default:
        return ERR_IO;
    }
}

int sql_error(struct db *db, int rc, struct err *err)
{
    int errno_value = errno;

    if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
        db->corrupt = true;
    db->failure = code_of(db, rc, errno_value);
    return err_set(err, db->failure, "the %s database failed: %s", db->name,
                   db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc));
}

/* A failed write can end the whole transaction inside SQLite. What follows would then be
 * committed one by one, although the group is going to be reported as failed. */
int sql_check_transaction(struct db *db, struct err *err)
{
    if (!db->in_transaction || !sqlite3_get_autocommit(db->handle))
        return 0;
    if (db->failure == 0)
        db->failure = ERR_IO;
    return err_set(err, db->failure, "the %s database is outside a transaction after a failure",
                   db->name);
}

sqlite3_stmt *sql_prepare(struct db *db, const char *sql, struct err *err)
{
    sqlite3_stmt *st = NULL;
    int rc;

    if (sql_check_transaction(db, err) < 0)
        return NULL;
    for (size_t i = 0; i < db->n_cached; i++)
        if (db->cached[i].sql == sql)
            return db->cached[i].stmt;
    ASSERT(db->n_cached < STATEMENTS_MAX);
    rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL);
    if (rc != SQLITE_OK) {
        (void)sql_error(db, rc, err);
        return NULL;
    }
    db->cached[db->n_cached].sql = sql;
    db->cached[db->n_cached++].stmt = st;
    return st;
}

void sql_done(sqlite3_stmt *st)
{
    if (!st)
        return;
    (void)sqlite3_reset(st);
    (void)sqlite3_clear_bindings(st);
}

int sql_next(struct db *db, sqlite3_stmt *st, struct err *err)
{
    int rc;

    errno = 0; /* so that sql_error() sees this step's */
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW)
        return 1;
    return rc == SQLITE_DONE ? 0 : sql_error(db, rc, err);
}

int sql_run(struct db *db, sqlite3_stmt *st, struct err *err)
{
    int r = sql_next(db, st, err);

    return r < 0 ? r : 0;
}

int sql_exec(struct db *db, const char *sql, struct err *err)
{
    int rc;

    errno = 0;
    rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : sql_error(db, rc, err);
}

void sql_bind_text(sqlite3_stmt *st, int i, const char *s)
{
    (void)(s ? sqlite3_bind_text(st, i, s, -1, SQLITE_STATIC) : sqlite3_bind_null(st, i));
}

void sql_bind_int(sqlite3_stmt *st, int i, int64_t v)
{
    (void)sqlite3_bind_int64(st, i, v);
}

void sql_bind_before(sqlite3_stmt *st, int i, int64_t before_ms, const char *before_id)
{
    sql_bind_int(st, i, before_ms ? before_ms : INT64_MAX);
    sql_bind_text(st, i + 1, before_id);
}

void sql_bind_blob(sqlite3_stmt *st, int i, const void *p, size_t len)
{
    (void)(len ? sqlite3_bind_blob64(st, i, p, len, SQLITE_STATIC)
               : sqlite3_bind_zeroblob(st, i, 0));
}

char *sql_text(sqlite3_stmt *st, int i)
{
    const char *s = (const char *)sqlite3_column_text(st, i);

    return s ? xstrdup(s) : NULL;
}

char *sql_text_or_empty(sqlite3_stmt *st, int i)
{
    const char *s = (const char *)sqlite3_column_text(st, i);

    return xstrdup(s ? s : "");
}

void sql_id(sqlite3_stmt *st, int i, char out[IDENT_MAX])
{
    const char *s = (const char *)sqlite3_column_text(st, i);
    size_t n = s ? strnlen(s, IDENT_MAX - 1) : 0;

    memcpy(out, s ? s : "", n);
    out[n] = '\0';
}

void sql_blob(sqlite3_stmt *st, int i, struct buf *out)
{
    const void *p = sqlite3_column_blob(st, i);
    size_t n = (size_t)sqlite3_column_bytes(st, i);

    buf_put(out, p, n);
}

uint64_t sql_u64(sqlite3_stmt *st, int i)
{
    return (uint64_t)sqlite3_column_int64(st, i);
}
