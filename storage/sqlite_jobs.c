/* sqlite_jobs.c: the queue. */
#include "storage/sqlite.h"

#include <stdlib.h>
#include <string.h>

#define JOB_COLUMNS                                                                                \
    "id, kind, owner, state, reason, source, params, labels, result, error, created_ms,"           \
    " started_ms, finished_ms, attempt, version, hits, misses, layers_done, layers_total"

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
    *out = j;
    return 0;
}

int store_job_submit(struct store *s, const struct job_record *j, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "INSERT INTO jobs(" JOB_COLUMNS ") VALUES(?,?,?,'queued',NULL,"
                                   "?,?,?,NULL,NULL,?,0,0,0,1,0,0,0,0)",
                                   err);
    if (!st)
        return ERR_IO;
    sql_bind_text(st, 1, j->id);
    sql_bind_text(st, 2, j->kind);
    sql_bind_text(st, 3, j->owner);
    sql_bind_text(st, 4, j->source);
    sql_bind_text(st, 5, j->params);
    sql_bind_text(st, 6, j->labels);
    sql_bind_int(st, 7, j->created_ms);
    return sql_run(&s->state, st, err);
}

int store_job_claim(struct store *s, const char *node, const char *id, int64_t lease_until_ms,
                    struct job_record *out, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->state,
        "UPDATE jobs SET state='running', node=?1, lease_until_ms=?2, attempt=attempt+1,"
        " version=version+1, started_ms=CASE started_ms WHEN 0 THEN ?3 ELSE started_ms END"
        " WHERE id=(SELECT id FROM jobs WHERE state='queued' AND (?4 IS NULL OR id=?4)"
        " ORDER BY created_ms, id LIMIT 1) RETURNING " JOB_COLUMNS,
        err);
    int r;

    if (!st)
        return ERR_IO;
    sql_bind_text(st, 1, node);
    sql_bind_int(st, 2, lease_until_ms);
    sql_bind_int(st, 3, wall_ms());
    sql_bind_text(st, 4, id);
    r = sql_next(&s->state, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "no job is queued");
    return r < 0 ? r : read_job(st, out, err);
}

int store_job_renew(struct store *s, const char *node, int64_t lease_until_ms, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "UPDATE jobs SET lease_until_ms=? WHERE node=?"
                                   " AND state IN ('running','cancelling')",
                                   err);
    if (!st)
        return ERR_IO;
    sql_bind_int(st, 1, lease_until_ms);
    sql_bind_text(st, 2, node);
    return sql_run(&s->state, st, err);
}

int store_job_recover(struct store *s, const char *node, int64_t now_ms, size_t *n, struct err *err)
{
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
        return ERR_IO;
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
static int touched(struct store *s, const char *id, struct err *err)
{
    if (sqlite3_changes(s->state.handle) > 0)
        return 0;
    return err_set(err, ERR_CONFLICT, "job %s is not in this attempt any more", id);
}

int store_job_progress(struct store *s, const char *id, uint32_t attempt, uint64_t layers_done,
                       uint64_t layers_total, uint64_t hits, uint64_t misses, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "UPDATE jobs SET layers_done=?, layers_total=?, hits=?,"
                                   " misses=?, version=version+1 WHERE id=? AND attempt=?"
                                   " AND state IN ('running','cancelling')",
                                   err);
    int r;

    if (!st)
        return ERR_IO;
    sql_bind_int(st, 1, (int64_t)layers_done);
    sql_bind_int(st, 2, (int64_t)layers_total);
    sql_bind_int(st, 3, (int64_t)hits);
    sql_bind_int(st, 4, (int64_t)misses);
    sql_bind_text(st, 5, id);
    sql_bind_int(st, 6, attempt);
    r = sql_run(&s->state, st, err);
    return r < 0 ? r : touched(s, id, err);
}

int store_job_finish(struct store *s, const struct job_record *j, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->state,
        "UPDATE jobs SET state=?, reason=?, result=?, error=?, finished_ms=?, layers_done=?,"
        " layers_total=?, hits=?, misses=?, version=version+1, node=NULL"
        " WHERE id=? AND attempt=? AND state IN ('running','cancelling')",
        err);
    int r;

    if (!st)
        return ERR_IO;
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

int store_job_cancel(struct store *s, const char *id, int64_t now_ms, struct job_record *out,
                     struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->state,
        "UPDATE jobs SET finished_ms=CASE state WHEN 'queued' THEN ?2 ELSE finished_ms END,"
        " state=CASE state WHEN 'queued' THEN 'cancelled' ELSE 'cancelling' END,"
        " version=version+1 WHERE id=?1 AND state IN ('queued','running')",
        err);
    int r;

    if (!st)
        return ERR_IO;
    sql_bind_text(st, 1, id);
    sql_bind_int(st, 2, now_ms);
    r = sql_run(&s->state, st, err);
    return r < 0 ? r : store_job_get(s, id, out, err);
}

int store_job_delete(struct store *s, const char *id, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "DELETE FROM jobs WHERE id=?"
                                   " AND state IN ('succeeded','failed','cancelled')",
                                   err);
    struct job_record j = {0};
    int r;

    if (!st)
        return ERR_IO;
    sql_bind_text(st, 1, id);
    r = sql_run(&s->state, st, err);
    if (r < 0 || sqlite3_changes(s->state.handle) > 0)
        return r;
    r = store_job_get(s, id, &j, err);
    if (r == 0)
        r = err_set(err, ERR_CONFLICT, "job %s is %s; only a finished job can be deleted", id,
                    job_state_name(j.state));
    job_record_done(&j);
    return r;
}

int store_job_get(struct store *s, const char *id, struct job_record *out, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state, "SELECT " JOB_COLUMNS " FROM jobs WHERE id=?", err);
    int r;

    if (!st)
        return ERR_IO;
    sql_bind_text(st, 1, id);
    r = sql_next(&s->state, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no job %.40s", id);
    return r < 0 ? r : read_job(st, out, err);
}

int store_job_list(struct store *s, const struct job_query *q, struct job_list *out,
                   struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->state,
        "SELECT " JOB_COLUMNS " FROM jobs WHERE (?1 IS NULL OR state=?1)"
        " AND (?2 IS NULL OR kind=?2)"
        " AND (?3 IS NULL OR EXISTS(SELECT 1 FROM json_each(labels) WHERE key=?3 AND value=?4))"
        " AND (?5=0 OR (created_ms, id) < (?5, ?6))"
        " ORDER BY created_ms DESC, id DESC LIMIT ?7",
        err);
    struct job_list l = {0};
    int r;

    if (!st)
        return ERR_IO;
    sql_bind_text(st, 1, q->state >= 0 ? job_state_name((enum job_state)q->state) : NULL);
    sql_bind_text(st, 2, q->kind);
    sql_bind_text(st, 3, q->label_key);
    sql_bind_text(st, 4, q->label_value);
    sql_bind_int(st, 5, q->before_ms);
    sql_bind_text(st, 6, q->before_id);
    sql_bind_int(st, 7, (int64_t)q->limit);
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

int store_job_counts(struct store *s, uint64_t *counts, struct err *err)
{
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state, "SELECT state, count(*) FROM jobs GROUP BY state", err);
    int r;

    if (!st)
        return ERR_IO;
    memset(counts, 0, JOB_STATE_COUNT * sizeof *counts);
    while ((r = sql_next(&s->state, st, err)) == 1) {
        int state = job_state_from_name((const char *)sqlite3_column_text(st, 0));

        if (state >= 0)
            counts[state] = sql_u64(st, 1);
    }
    return r;
}
