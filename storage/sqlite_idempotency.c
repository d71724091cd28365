/* sqlite_idempotency.c: keys that clients send so that a repeated request makes one thing. */
#include "storage/sqlite_store.h"

#include <stdio.h>
#include <string.h>

static int read_use(sqlite3_stmt *st, struct key_use *out, struct err *err)
{
    const char *operation = (const char *)sqlite3_column_text(st, 0);

    if (!operation || sqlite3_column_bytes(st, 1) != DIGEST_LEN)
        return err_set(err, ERR_INTERNAL, "a stored idempotency key is damaged");
    snprintf(out->operation, sizeof out->operation, "%s", operation);
    memcpy(out->fingerprint.b, sqlite3_column_blob(st, 1), DIGEST_LEN);
    sql_id(st, 2, out->resource);
    out->created_ms = sqlite3_column_int64(st, 3);
    return 0;
}

static int key_find(struct store *base, const char *owner, const char *key, struct key_use *out,
                    struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "SELECT operation, fingerprint, resource, created_ms"
                                   " FROM idempotency_keys WHERE owner=? AND key=?",
                                   err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, owner);
    sql_bind_text(st, 2, key);
    r = sql_next(&s->state, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "this Idempotency-Key was not used");
    return r < 0 ? r : read_use(st, out, err);
}

static int key_put(struct store *base, const char *owner, const char *key,
                   const struct key_use *use, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "INSERT INTO idempotency_keys VALUES(?,?,?,?,?,?)"
                                   " ON CONFLICT DO NOTHING",
                                   err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, owner);
    sql_bind_text(st, 2, key);
    sql_bind_text(st, 3, use->operation);
    sql_bind_blob(st, 4, use->fingerprint.b, DIGEST_LEN);
    sql_bind_text(st, 5, use->resource);
    sql_bind_int(st, 6, use->created_ms);
    r = sql_run(&s->state, st, err);
    if (r == 0 && sqlite3_changes(s->state.handle) == 0)
        return err_set(err, ERR_CONFLICT, "this Idempotency-Key is used already");
    return r;
}

static int key_expire(struct store *base, int64_t before_ms, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state, "DELETE FROM idempotency_keys WHERE created_ms < ?", err);

    if (!st)
        return s->state.failure;
    sql_bind_int(st, 1, before_ms);
    return sql_run(&s->state, st, err);
}

const struct store_key_ops sqlite_key_ops = {
    .find = key_find,
    .put = key_put,
    .expire = key_expire,
};
