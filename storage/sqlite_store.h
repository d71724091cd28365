/* sqlite_store.h: the SQLite backend's handle and what its files share. Private to storage/.
 *
 * Two connections: `state` (queue, analyses; synchronous=FULL) and `cache` (rebuildable;
 * synchronous=NORMAL).
 */
#ifndef SPECTRALD_SQLITE_STORE_H
#define SPECTRALD_SQLITE_STORE_H

#include "storage/sqlite_stmt.h"
#include "storage/store_ops.h"

#define SQLITE_OWNER_ID 0x5350464c /* application_id: "SPFL" */

struct sqlite_store {
    struct store base; /* first: see sqlite_of() */
    struct db state, cache;
    char *dir;
    uint64_t inline_max;
    uint64_t room[CACHE_KIND_COUNT]; /* values that fit before they need counting again */
    char warning[256];
};

static inline struct sqlite_store *sqlite_of(struct store *s)
{
    return (struct sqlite_store *)s;
}

void sqlite_store_close(struct store *base);

/* Remove blob files that no row refers to; returns how many. */
size_t sqlite_cache_sweep(struct sqlite_store *s);

/* A condition for WHERE: the JSON object in column `labels` has all of parameter `p`, which is as
 * in job_query.labels. */
#define SQL_HAS_LABELS(labels, p)                                                                  \
    " NOT EXISTS(SELECT 1 FROM json_each(" p ") AS want WHERE NOT EXISTS("                         \
    "SELECT 1 FROM json_each(" labels ") AS have"                                                  \
    " WHERE have.key = json_extract(want.value, '$[0]')"                                           \
    " AND ifnull(json_extract(want.value, '$[1]') = have.value, 1)))"

extern const struct store_ops sqlite_ops;
extern const struct store_job_ops sqlite_job_ops;
extern const struct store_key_ops sqlite_key_ops;
extern const struct store_model_ops sqlite_model_ops;
extern const struct store_upload_ops sqlite_upload_ops;
extern const struct store_artifact_ops sqlite_artifact_ops;
extern const struct store_cache_ops sqlite_cache_ops;

/* Bring a database to the newest version this program knows. ERR_UNSUPPORTED when it is newer or
 * another program's. */
int sql_migrate(struct db *db, const char *const *steps, size_t n_steps, struct err *err);
extern const char *const state_migrations[];
extern const size_t n_state_migrations;
extern const char *const cache_migrations[];
extern const size_t n_cache_migrations;

#endif
