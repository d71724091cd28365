/* sqlite_jobs.c: the queue. */
#include "storage/sqlite_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOB_COLUMNS                                                                                \
    "id, kind, owner, state, reason, source, params, labels, result, error, created_ms,"           \
    " started_ms, finished_ms, attempt, version, hits, misses, layers_done, layers_total, "        \
    "trace_id"

static int read_job(sqlite3_stmt *st, struct job_record *out, struct err *err)
{
    struct job_record j = {0};
    const char *state = (const char *)sqlite3_column_text(st, 3);
    int s = state ? job_state_from_name(state) : -1;

    if (s < 0)
        return err_set(err, ERR_INTERNAL, "a stored job has no valid state");
    sql_id(st, 0, j.id);
    j.kind = sql_text_or_empty(st, 1);
    j.owner = sql_text_or_empty(st, 2);
    j.state = (enum job_state)s;
    j.reason = sql_text(st, 4);
    j.source = sql_text_or_empty(st, 5);
    j.params = sql_text_or_empty(st, 6);
    j.labels = sql_text_or_empty(st, 7);
    j.result = sql_text(st, 8);
    j.error = sql_text(st, 9);
    j.created_ms = sqlite3_column_int64(st, 10);
    j.started_ms = sqlite3_column_int64(st, 11);
    j.finished_ms = sqlite3_column_int64(st, 12);
    j.attempt = (uint32_t)sqlite3_column_int64(st, 13);
    j.version = sql_u64(st, 14);
    j.hits = sql_u64(st, 15);
    j.misses = sql_u64(st, 16);
    j.layers_done = sql_u64(st, 17);
    j.layers_total = sql_u64(st, 18);
    snprintf(j.trace_id, sizeof j.trace_id, "%s", (const char *)sqlite3_column_text(st, 19));
    *out = j;
    return 0;
}

static int job_get(struct store *base, const char *id, struct job_record *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state, "SELECT " JOB_COLUMNS " FROM jobs WHERE id=?", err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    r = sql_next(&s->state, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no job %.40s", id);
    return r < 0 ? r : read_job(st, out, err);
}

static int job_submit(struct store *base, const struct job_record *j, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "INSERT INTO jobs(" JOB_COLUMNS ") VALUES(?,?,?,'queued',NULL,"
                                   "?,?,?,NULL,NULL,?,0,0,0,1,0,0,0,0,?)",
                                   err);
    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, j->id);
    sql_bind_text(st, 2, j->kind);
    sql_bind_text(st, 3, j->owner);
    sql_bind_text(st, 4, j->source);
    sql_bind_text(st, 5, j->params);
    sql_bind_text(st, 6, j->labels);
    sql_bind_int(st, 7, j->created_ms);
    sql_bind_text(st, 8, j->trace_id);
    return sql_run(&s->state, st, err);
}

#define CLAIM_SET                                                                                  \
    "UPDATE jobs SET state='running', node=?1, lease_until_ms=?2, attempt=attempt+1,"              \
    " version=version+1, started_ms=CASE started_ms WHEN 0 THEN ?3 ELSE started_ms END"

static int job_claim(struct store *base, const char *node, const char *id, int64_t lease_until_ms,
                     struct job_record *out, struct err *err)
{
    static const char any[] = CLAIM_SET
        " WHERE id=(SELECT id FROM jobs WHERE state='queued' ORDER BY created_ms, id LIMIT 1)"
        " RETURNING " JOB_COLUMNS;
    static const char one[] = CLAIM_SET " WHERE id=?4 AND state='queued' RETURNING " JOB_COLUMNS;
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep) sqlite3_stmt *st = sql_prepare(&s->state, id ? one : any, err);
    struct job_record j;
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, node);
    sql_bind_int(st, 2, lease_until_ms);
    sql_bind_int(st, 3, wall_ms());
    if (id)
        sql_bind_text(st, 4, id);
    r = sql_next(&s->state, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "no job is queued");
    if (r > 0)
        r = read_job(st, &j, err);
    if (r < 0)
        return r;
    r = sql_run(&s->state, st, err); /* outside a transaction the change is committed only here */
    if (r < 0)
        job_record_done(&j);
    else
        *out = j;
    return r;
}

static int job_renew(struct store *base, const char *node, int64_t lease_until_ms, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "UPDATE jobs SET lease_until_ms=? WHERE node=?"
                                   " AND state IN ('running','cancelling')",
                                   err);
    if (!st)
        return s->state.failure;
    sql_bind_int(st, 1, lease_until_ms);
    sql_bind_text(st, 2, node);
    return sql_run(&s->state, st, err);
}

static int job_recover(struct store *base, const char *node, int64_t now_ms, size_t *n,
                       struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *end = sql_prepare(&s->state,
                                    "UPDATE jobs SET state='cancelled', finished_ms=?2,"
                                    " version=version+1, node=NULL WHERE state='cancelling'"
                                    " AND (node=?1 OR lease_until_ms<?2)",
                                    err);
    AUTO(sql_donep)
    sqlite3_stmt *back = sql_prepare(&s->state,
                                     "UPDATE jobs SET state='queued', version=version+1, node=NULL"
                                     " WHERE state='running' AND (node=?1 OR lease_until_ms<?2)",
                                     err);
    int r;

    if (!end || !back)
        return s->state.failure;
    sql_bind_text(end, 1, node);
    sql_bind_int(end, 2, now_ms);
    sql_bind_text(back, 1, node);
    sql_bind_int(back, 2, now_ms);
    r = sql_run(&s->state, end, err);
    if (r == 0)
        r = sql_run(&s->state, back, err);
    if (r == 0)
        *n = (size_t)sqlite3_changes(s->state.handle);
    return r;
}

/* After an UPDATE that was to touch one row: did it? */
static int touched(const struct sqlite_store *s, const char *id, struct err *err)
{
    if (sqlite3_changes(s->state.handle) > 0)
        return 0;
    return err_set(err, ERR_CONFLICT, "job %s is not in this attempt any more", id);
}

static int job_progress(struct store *base, const char *id, uint32_t attempt, uint64_t layers_done,
                        uint64_t layers_total, uint64_t hits, uint64_t misses, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "UPDATE jobs SET layers_done=?, layers_total=?, hits=?,"
                                   " misses=? WHERE id=? AND attempt=?"
                                   " AND state IN ('running','cancelling')",
                                   err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_int(st, 1, (int64_t)layers_done);
    sql_bind_int(st, 2, (int64_t)layers_total);
    sql_bind_int(st, 3, (int64_t)hits);
    sql_bind_int(st, 4, (int64_t)misses);
    sql_bind_text(st, 5, id);
    sql_bind_int(st, 6, attempt);
    r = sql_run(&s->state, st, err);
    return r < 0 ? r : touched(s, id, err);
}

static int job_finish(struct store *base, const struct job_record *j, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->state,
        "UPDATE jobs SET state=?, reason=?, result=?, error=?, finished_ms=?, layers_done=?,"
        " layers_total=?, hits=?, misses=?, version=version+1, node=NULL"
        " WHERE id=? AND attempt=? AND state IN ('running','cancelling')",
        err);
    int r;

    if (!st)
        return s->state.failure;
    if (!job_state_final(j->state))
        return err_set(err, ERR_INTERNAL, "a job cannot finish as %s", job_state_name(j->state));
    sql_bind_text(st, 1, job_state_name(j->state));
    sql_bind_text(st, 2, j->reason);
    sql_bind_text(st, 3, j->result);
    sql_bind_text(st, 4, j->error);
    sql_bind_int(st, 5, j->finished_ms);
    sql_bind_int(st, 6, (int64_t)j->layers_done);
    sql_bind_int(st, 7, (int64_t)j->layers_total);
    sql_bind_int(st, 8, (int64_t)j->hits);
    sql_bind_int(st, 9, (int64_t)j->misses);
    sql_bind_text(st, 10, j->id);
    sql_bind_int(st, 11, j->attempt);
    r = sql_run(&s->state, st, err);
    return r < 0 ? r : touched(s, j->id, err);
}

static int job_cancel(struct store *base, const char *id, int64_t now_ms, struct job_record *out,
                      struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->state,
        "UPDATE jobs SET finished_ms=CASE state WHEN 'queued' THEN ?2 ELSE finished_ms END,"
        " state=CASE state WHEN 'queued' THEN 'cancelled' ELSE 'cancelling' END,"
        " version=version+1 WHERE id=?1 AND state IN ('queued','running')",
        err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    sql_bind_int(st, 2, now_ms);
    r = sql_run(&s->state, st, err);
    return r < 0 ? r : job_get(base, id, out, err);
}

static int job_delete(struct store *base, const char *id, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "DELETE FROM jobs WHERE id=?"
                                   " AND state IN ('succeeded','failed','cancelled')",
                                   err);
    struct job_record j = {0};
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    r = sql_run(&s->state, st, err);
    if (r < 0 || sqlite3_changes(s->state.handle) > 0)
        return r;
    r = job_get(base, id, &j, err);
    if (r == 0)
        r = err_set(err, ERR_CONFLICT, "job %s is %s; only a finished job can be deleted", id,
                    job_state_name(j.state));
    job_record_done(&j);
    return r;
}

static int job_label(struct store *base, const char *id, const char *labels, struct job_record *out,
                     struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state, "UPDATE jobs SET labels=?2, version=version+1 WHERE id=?1", err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    sql_bind_text(st, 2, labels);
    r = sql_run(&s->state, st, err);
    return r < 0 ? r : job_get(base, id, out, err);
}

static int job_list(struct store *base, const struct job_query *q, struct job_list *out,
                    struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->state,
        "SELECT " JOB_COLUMNS " FROM jobs WHERE (?1 IS NULL OR state=?1)"
        " AND (?2 IS NULL OR kind=?2)"
        " AND" SQL_HAS_LABELS("jobs.labels", "?3") " AND (created_ms, id) < (?4, ?5)"
                                                   " ORDER BY created_ms DESC, id DESC LIMIT ?6",
        err);
    struct job_list l = {0};
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, q->state >= 0 ? job_state_name((enum job_state)q->state) : NULL);
    sql_bind_text(st, 2, q->kind);
    sql_bind_text(st, 3, q->labels);
    sql_bind_before(st, 4, q->before_ms, q->before_id);
    sql_bind_int(st, 6, (int64_t)q->limit);
    while ((r = sql_next(&s->state, st, err)) == 1) {
        l.job = xrealloc(l.job, (l.count + 1) * sizeof *l.job);
        r = read_job(st, &l.job[l.count], err);
        if (r < 0)
            break;
        l.count++;
    }
    if (r < 0)
        job_list_done(&l);
    else
        *out = l;
    return r;
}

static int job_counts(struct store *base, uint64_t *counts, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state, "SELECT state, count(*) FROM jobs GROUP BY state", err);
    uint64_t found[JOB_STATE_COUNT] = {0};
    int r;

    if (!st)
        return s->state.failure;
    while ((r = sql_next(&s->state, st, err)) == 1) {
        int state = job_state_from_name((const char *)sqlite3_column_text(st, 0));

        if (state >= 0)
            found[state] = sql_u64(st, 1);
    }
    if (r == 0)
        memcpy(counts, found, sizeof found);
    return r;
}

const struct store_job_ops sqlite_job_ops = {
    .submit = job_submit,
    .claim = job_claim,
    .renew = job_renew,
    .recover = job_recover,
    .progress = job_progress,
    .finish = job_finish,
    .cancel = job_cancel,
    .remove = job_delete,
    .label = job_label,
    .get = job_get,
    .list = job_list,
    .counts = job_counts,
};
