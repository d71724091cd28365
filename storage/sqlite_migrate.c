/* sqlite_migrate.c: append-only lists of schema steps; a database's user_version counts them. */
#include "storage/sqlite_store.h"

#include <stdio.h>

const char *const state_migrations[] = {
    "CREATE TABLE jobs("
    " id TEXT PRIMARY KEY, kind TEXT NOT NULL, owner TEXT NOT NULL,"
    " state TEXT NOT NULL CHECK(state IN"
    "  ('queued','running','cancelling','succeeded','failed','cancelled')),"
    " reason TEXT, source TEXT NOT NULL, params TEXT NOT NULL, labels TEXT NOT NULL,"
    " result TEXT, error TEXT, created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL,"
    " finished_ms INTEGER NOT NULL, attempt INTEGER NOT NULL, version INTEGER NOT NULL,"
    " hits INTEGER NOT NULL, misses INTEGER NOT NULL, layers_done INTEGER NOT NULL,"
    " layers_total INTEGER NOT NULL, node TEXT, lease_until_ms INTEGER) STRICT;"
    "CREATE INDEX jobs_by_time ON jobs(created_ms DESC, id DESC);"
    "CREATE INDEX jobs_open ON jobs(state, created_ms, id)"
    " WHERE state IN ('queued','running','cancelling');"
    "CREATE TABLE models("
    " id TEXT PRIMARY KEY, format TEXT NOT NULL, model_type TEXT NOT NULL, name TEXT NOT NULL,"
    " n_tensors INTEGER NOT NULL, n_params INTEGER NOT NULL, nbytes INTEGER NOT NULL,"
    " first_seen_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX models_by_time ON models(first_seen_ms DESC, id DESC);"
    "CREATE TABLE analyses("
    " id TEXT PRIMARY KEY, job TEXT NOT NULL, model TEXT NOT NULL, owner TEXT NOT NULL,"
    " labels TEXT NOT NULL, params TEXT NOT NULL, summary TEXT NOT NULL, rows BLOB NOT NULL,"
    " n_layers INTEGER NOT NULL, created_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX analyses_by_time ON analyses(created_ms DESC, id DESC);"
    "CREATE TABLE probe(id INTEGER PRIMARY KEY CHECK(id = 1), at_ms INTEGER NOT NULL) STRICT;",
    /* A partial index over several states serves no query that names one. */
    "DROP INDEX jobs_open;"
    "CREATE INDEX jobs_by_state ON jobs(state, created_ms, id);",
    "CREATE TABLE idempotency_keys("
    " owner TEXT NOT NULL, key TEXT NOT NULL, operation TEXT NOT NULL, fingerprint BLOB NOT NULL,"
    " resource TEXT NOT NULL, created_ms INTEGER NOT NULL, PRIMARY KEY(owner, key))"
    " STRICT, WITHOUT ROWID;"
    "CREATE INDEX idempotency_keys_by_time ON idempotency_keys(created_ms);",
    "ALTER TABLE jobs ADD COLUMN trace_id TEXT NOT NULL DEFAULT '';",
    "CREATE TABLE uploads("
    " id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,"
    " sha256 BLOB NOT NULL, nbytes INTEGER NOT NULL, n_files INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX uploads_by_time ON uploads(created_ms DESC, id DESC);"
    "CREATE INDEX uploads_by_content ON uploads(kind, sha256, nbytes);"
    "CREATE INDEX uploads_by_end ON uploads(expires_ms);",
    "ALTER TABLE analyses ADD COLUMN version INTEGER NOT NULL DEFAULT 1;",
    /* Labels of analyses by key and value; ids are in order of time. */
    "CREATE TABLE analysis_labels("
    " key TEXT NOT NULL, value TEXT NOT NULL, analysis TEXT NOT NULL,"
    " PRIMARY KEY(key, value, analysis)) STRICT, WITHOUT ROWID;"
    "INSERT INTO analysis_labels SELECT l.key, l.value, a.id"
    " FROM analyses AS a, json_each(a.labels) AS l;"
    "CREATE TRIGGER analysis_labels_insert AFTER INSERT ON analyses BEGIN"
    " INSERT INTO analysis_labels SELECT key, value, new.id FROM json_each(new.labels);"
    "END;"
    "CREATE TRIGGER analysis_labels_delete AFTER DELETE ON analyses BEGIN"
    " DELETE FROM analysis_labels WHERE analysis=old.id"
    " AND (key, value) IN (SELECT key, value FROM json_each(old.labels));"
    "END;"
    "CREATE TRIGGER analysis_labels_update AFTER UPDATE OF labels ON analyses BEGIN"
    " DELETE FROM analysis_labels WHERE analysis=old.id"
    " AND (key, value) IN (SELECT key, value FROM json_each(old.labels));"
    " INSERT INTO analysis_labels SELECT key, value, new.id FROM json_each(new.labels);"
    "END;",
    "CREATE TABLE artifacts("
    " id TEXT PRIMARY KEY, job TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL,"
    " path TEXT NOT NULL, ours INTEGER NOT NULL, manifest TEXT NOT NULL, nbytes INTEGER NOT NULL,"
    " n_files INTEGER NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX artifacts_by_time ON artifacts(created_ms DESC, id DESC);",
};
const size_t n_state_migrations = ARRAY_LEN(state_migrations);

const char *const cache_migrations[] = {
    "CREATE TABLE files("
    " dev INTEGER NOT NULL, ino INTEGER NOT NULL, size INTEGER NOT NULL,"
    " mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, tensors BLOB NOT NULL,"
    " digests BLOB NOT NULL, PRIMARY KEY(dev, ino)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE results("
    " kind INTEGER NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL,"
    " value BLOB," /* NULL: in a blob file */
    " last_used_ms INTEGER NOT NULL, PRIMARY KEY(kind, key)) STRICT;"
    "CREATE TABLE layer_rows("
    " key BLOB NOT NULL, layer_id INTEGER NOT NULL, longname TEXT NOT NULL, json TEXT NOT NULL,"
    " PRIMARY KEY(key, layer_id)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX layer_rows_by_name ON layer_rows(key, longname);",
    /* The sum of blob files without reading the rows. */
    "CREATE INDEX results_in_files ON results(size) WHERE value IS NULL;",
    /* Where a row's spectrum is, and the factor on its eigenvalues. */
    ("ALTER TABLE layer_rows ADD COLUMN spectrum BLOB;"
     "ALTER TABLE layer_rows ADD COLUMN scale REAL;"),
    "CREATE INDEX results_by_use ON results(last_used_ms, size);",
    /* What of a kind was not used for longest. */
    "CREATE INDEX results_of_kind ON results(kind, last_used_ms);",
};
const size_t n_cache_migrations = ARRAY_LEN(cache_migrations);

static int read_number(struct db *db, const char *pragma, int64_t *out, struct err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db->handle, pragma, -1, &st, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    else
        (void)sql_error(db, rc, err);
    (void)sqlite3_finalize(st);
    return rc == SQLITE_ROW ? 0 : db->failure;
}

static int one_step(struct db *db, const char *sql, size_t version, struct err *err)
{
    char set[96];
    int r = sql_exec(db, "BEGIN IMMEDIATE", err);

    snprintf(set, sizeof set, "PRAGMA application_id=%d; PRAGMA user_version=%zu", SQLITE_OWNER_ID,
             version);
    if (r == 0)
        r = sql_exec(db, sql, err);
    if (r == 0)
        r = sql_exec(db, set, err);
    if (r == 0)
        r = sql_exec(db, "COMMIT", err);
    if (r < 0)
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

/* Refuse what is not ours before anything is written to it. */
static int check_owner(struct db *db, int64_t *version, struct err *err)
{
    int64_t owner = 0, objects = 0;
    int r = read_number(db, "PRAGMA application_id", &owner, err);

    if (r == 0)
        r = read_number(db, "PRAGMA user_version", version, err);
    if (r == 0)
        r = read_number(db, "SELECT count(*) FROM sqlite_schema", &objects, err);
    if (r < 0)
        return r;
    if (owner != SQLITE_OWNER_ID && (owner != 0 || objects != 0))
        return err_set(err, ERR_UNSUPPORTED, "the %s database belongs to another program",
                       db->name);
    return 0;
}

int sql_migrate(struct db *db, const char *const *steps, size_t n_steps, struct err *err)
{
    int64_t version = 0;
    int r = check_owner(db, &version, err);

    if (r == 0 && (version < 0 || (uint64_t)version > n_steps))
        return err_set(err, ERR_UNSUPPORTED,
                       "the %s database has version %lld, this program knows %zu: it was written "
                       "by a newer one",
                       db->name, (long long)version, n_steps);
    for (size_t v = (size_t)version; r == 0 && v < n_steps; v++)
        r = one_step(db, steps[v], v + 1, err);
    return r;
}
