/* sqlite_stmt.h: one database connection: statements, bindings, columns, error codes.
 *
 * Statements are prepared once and found again by the address of their text. Private to storage/.
 */
#ifndef SPECTRALD_SQLITE_STMT_H
#define SPECTRALD_SQLITE_STMT_H

#include <sqlite3.h>

#include "common/buf.h"
#include "common/ident.h"
#include "common/err.h"

#define STATEMENTS_MAX 64

struct db {
    sqlite3 *handle;
    const char *name; /* "state", "cache" */
    struct {
        const char *sql;
        sqlite3_stmt *stmt;
    } cached[STATEMENTS_MAX];
    size_t n_cached;
    int failure; /* enum err_code of the last error */
    bool in_transaction;
    bool corrupt; /* an error said so */
};

/* Turn a result code into an error; never 0. Also kept in db->failure. */
int sql_error(struct db *db, int rc, struct err *err);

/* The code of the failure that ended the transaction under us; 0 when all is well. */
int sql_check_transaction(struct db *db, struct err *err);

/* The prepared statement for `sql` (a string literal), reset and without bindings; NULL with
 * *err and db->failure set when it cannot be had. Release with sql_done() in the same function. */
sqlite3_stmt *sql_prepare(struct db *db, const char *sql, struct err *err);
void sql_done(sqlite3_stmt *st);
static inline void sql_donep(sqlite3_stmt **st)
{
    sql_done(*st);
}

/* Step a statement that returns no row: 0, or an error. */
int sql_run(struct db *db, sqlite3_stmt *st, struct err *err);
/* Step: 1 = a row, 0 = no more, or an error. */
int sql_next(struct db *db, sqlite3_stmt *st, struct err *err);
/* Run literal SQL without results. */
int sql_exec(struct db *db, const char *sql, struct err *err);

void sql_bind_text(sqlite3_stmt *st, int i, const char *s); /* NULL binds NULL */
void sql_bind_int(sqlite3_stmt *st, int i, int64_t v);
/* Two parameters from `i`: a keyset page's upper end; 0 = above everything. */
void sql_bind_before(sqlite3_stmt *st, int i, int64_t before_ms, const char *before_id);
void sql_bind_blob(sqlite3_stmt *st, int i, const void *p, size_t len);

/* Column as an owned copy; NULL stays NULL. */
char *sql_text(sqlite3_stmt *st, int i);
/* Column as an owned, never-NULL copy. */
char *sql_text_or_empty(sqlite3_stmt *st, int i);
void sql_id(sqlite3_stmt *st, int i, char out[IDENT_MAX]);
void sql_blob(sqlite3_stmt *st, int i, struct buf *out);
uint64_t sql_u64(sqlite3_stmt *st, int i);

#endif
