/* sqlite.h: the SQLite backend's shared parts. Private to storage/.
 *
 * Two connections: `state` (queue, analyses; synchronous=FULL) and `cache` (rebuildable;
 * synchronous=NORMAL). Statements are prepared once and found again by the address of their text.
 */
#ifndef SPECTRALD_SQLITE_H
#define SPECTRALD_SQLITE_H

#include <sqlite3.h>

#include "storage/store.h"

#define STATEMENTS_MAX 64

struct db {
    sqlite3 *handle;
    const char *name; /* "state", "cache" */
    struct {
        const char *sql;
        sqlite3_stmt *stmt;
    } cached[STATEMENTS_MAX];
    size_t n_cached;
    bool in_transaction;
};

struct store {
    struct db state, cache;
    char *dir;
    uint64_t inline_max;
    char warning[256];
};

/* Turn a result code into an error; never 0. */
int sql_error(struct db *db, int rc, struct err *err);

/* The prepared statement for `sql` (a string literal), reset and without bindings; NULL with
 * *err set when it cannot be prepared. Release with sql_done() in the same function. */
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
void sql_bind_blob(sqlite3_stmt *st, int i, const void *p, size_t len);

/* Column as an owned copy; NULL stays NULL. */
char *sql_text(sqlite3_stmt *st, int i);
/* Column as an owned, never-NULL copy. */
char *sql_text_or_empty(sqlite3_stmt *st, int i);
void sql_id(sqlite3_stmt *st, int i, char out[IDENT_MAX]);
void sql_blob(sqlite3_stmt *st, int i, struct buf *out);
uint64_t sql_u64(sqlite3_stmt *st, int i);

/* Bring a database to the newest version this program knows. */
int sql_migrate(struct db *db, const char *const *steps, size_t n_steps, struct err *err);
extern const char *const state_migrations[];
extern const size_t n_state_migrations;
extern const char *const cache_migrations[];
extern const size_t n_cache_migrations;

/* Blob files: values too large for a row, under DIR/blobs/<kind>/ab/<hex of key>. */
int blob_write(const struct store *s, enum cache_kind kind, const struct digest *key,
               const void *bytes, size_t len, struct err *err);
/* ERR_NOT_FOUND when it is missing or has another size. */
int blob_read(const struct store *s, enum cache_kind kind, const struct digest *key, size_t len,
              struct buf *out, struct err *err);

#endif
