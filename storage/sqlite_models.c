/* sqlite_models.c: models and analyses. */
#include "storage/sqlite_store.h"

#include <stdlib.h>
#include <string.h>

#define MODEL_COLUMNS                                                                              \
    "id, format, model_type, name, n_tensors, n_params, nbytes, first_seen_ms, last_seen_ms"
#define ANALYSIS_COLUMNS                                                                           \
    "id, job, model, owner, labels, params, summary, rows, n_layers, created_ms, version"

static void read_model(sqlite3_stmt *st, struct model_record *m)
{
    memset(m, 0, sizeof *m);
    sql_id(st, 0, m->id);
    m->format = sql_text_or_empty(st, 1);
    m->model_type = sql_text_or_empty(st, 2);
    m->name = sql_text_or_empty(st, 3);
    m->n_tensors = sql_u64(st, 4);
    m->n_params = sql_u64(st, 5);
    m->nbytes = sql_u64(st, 6);
    m->first_seen_ms = sqlite3_column_int64(st, 7);
    m->last_seen_ms = sqlite3_column_int64(st, 8);
}

static int model_put(struct store *base, const struct model_record *m, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "INSERT INTO models(" MODEL_COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?)"
                                   " ON CONFLICT(id) DO UPDATE SET"
                                   " last_seen_ms=excluded.last_seen_ms",
                                   err);
    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, m->id);
    sql_bind_text(st, 2, m->format);
    sql_bind_text(st, 3, m->model_type);
    sql_bind_text(st, 4, m->name);
    sql_bind_int(st, 5, (int64_t)m->n_tensors);
    sql_bind_int(st, 6, (int64_t)m->n_params);
    sql_bind_int(st, 7, (int64_t)m->nbytes);
    sql_bind_int(st, 8, m->first_seen_ms);
    sql_bind_int(st, 9, m->last_seen_ms);
    return sql_run(&s->state, st, err);
}

static int model_get(struct store *base, const char *id, struct model_record *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state, "SELECT " MODEL_COLUMNS " FROM models WHERE id=?", err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    r = sql_next(&s->state, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no model %.40s", id);
    if (r > 0)
        read_model(st, out);
    return r < 0 ? r : 0;
}

static int model_list(struct store *base, const struct page_query *q, struct model_list *out,
                      struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "SELECT " MODEL_COLUMNS " FROM models"
                                   " WHERE (first_seen_ms, id) < (?1, ?2)"
                                   " ORDER BY first_seen_ms DESC, id DESC LIMIT ?3",
                                   err);
    struct model_list l = {0};
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_before(st, 1, q->before_ms, q->before_id);
    sql_bind_int(st, 3, (int64_t)q->limit);
    while ((r = sql_next(&s->state, st, err)) == 1) {
        l.model = xrealloc(l.model, (l.count + 1) * sizeof *l.model);
        read_model(st, &l.model[l.count++]);
    }
    if (r < 0)
        model_list_done(&l);
    else
        *out = l;
    return r;
}

static int read_analysis(sqlite3_stmt *st, struct analysis_record *a, struct err *err)
{
    if (sqlite3_column_bytes(st, 7) != DIGEST_LEN)
        return err_set(err, ERR_INTERNAL, "a stored analysis has no rows key");
    memset(a, 0, sizeof *a);
    sql_id(st, 0, a->id);
    sql_id(st, 1, a->job);
    sql_id(st, 2, a->model);
    a->owner = sql_text_or_empty(st, 3);
    a->labels = sql_text_or_empty(st, 4);
    a->params = sql_text_or_empty(st, 5);
    a->summary = sql_text_or_empty(st, 6);
    memcpy(a->rows.b, sqlite3_column_blob(st, 7), DIGEST_LEN);
    a->n_layers = sql_u64(st, 8);
    a->created_ms = sqlite3_column_int64(st, 9);
    a->version = sql_u64(st, 10);
    return 0;
}

static int analysis_put(struct store *base, const struct analysis_record *a, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(&s->state,
                                   "INSERT INTO analyses(" ANALYSIS_COLUMNS ")"
                                   " VALUES(?,?,?,?,?,?,?,?,?,?,1)",
                                   err);
    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, a->id);
    sql_bind_text(st, 2, a->job);
    sql_bind_text(st, 3, a->model);
    sql_bind_text(st, 4, a->owner);
    sql_bind_text(st, 5, a->labels);
    sql_bind_text(st, 6, a->params);
    sql_bind_text(st, 7, a->summary);
    sql_bind_blob(st, 8, a->rows.b, DIGEST_LEN);
    sql_bind_int(st, 9, (int64_t)a->n_layers);
    sql_bind_int(st, 10, a->created_ms);
    return sql_run(&s->state, st, err);
}

static int analysis_get(struct store *base, const char *id, struct analysis_record *out,
                        struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state, "SELECT " ANALYSIS_COLUMNS " FROM analyses WHERE id=?", err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    r = sql_next(&s->state, st, err);
    if (r == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no analysis %.40s", id);
    return r < 0 ? r : read_analysis(st, out, err);
}

static int analysis_label(struct store *base, const char *id, const char *labels,
                          struct analysis_record *out, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state, "UPDATE analyses SET labels=?2, version=version+1 WHERE id=?1", err);
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, id);
    sql_bind_text(st, 2, labels);
    r = sql_run(&s->state, st, err);
    return r < 0 ? r : analysis_get(base, id, out, err);
}

static int analysis_list(struct store *base, const struct page_query *q, struct analysis_list *out,
                         struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st =
        sql_prepare(&s->state,
                    "SELECT " ANALYSIS_COLUMNS " FROM analyses WHERE (?1 IS NULL OR model=?1)"
                    " AND" SQL_HAS_LABELS("analyses.labels",
                                          "?2") " AND (created_ms, id) < (?3, ?4)"
                                                " ORDER BY created_ms DESC, id DESC LIMIT ?5",
                    err);
    struct analysis_list l = {0};
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, q->model);
    sql_bind_text(st, 2, q->labels);
    sql_bind_before(st, 3, q->before_ms, q->before_id);
    sql_bind_int(st, 5, (int64_t)q->limit);
    while ((r = sql_next(&s->state, st, err)) == 1) {
        l.analysis = xrealloc(l.analysis, (l.count + 1) * sizeof *l.analysis);
        r = read_analysis(st, &l.analysis[l.count], err);
        if (r < 0)
            break;
        l.count++;
    }
    if (r < 0)
        analysis_list_done(&l);
    else
        *out = l;
    return r;
}

/* --- series -------------------------------------------------------------------------------- */

static int read_step(sqlite3_stmt *st, struct series_step *p, struct err *err)
{
    if (sqlite3_column_bytes(st, 3) != DIGEST_LEN)
        return err_set(err, ERR_INTERNAL, "a stored analysis has no rows key");
    memset(p, 0, sizeof *p);
    sql_id(st, 0, p->analysis);
    p->value = sql_text_or_empty(st, 1);
    p->step = sql_text(st, 2);
    memcpy(p->rows.b, sqlite3_column_blob(st, 3), DIGEST_LEN);
    p->n_layers = sql_u64(st, 4);
    p->version = sql_u64(st, 5);
    p->created_ms = sqlite3_column_int64(st, 6);
    return 0;
}

/* A blob is above every text: without a value, the upper end is open. */
static void bind_upper_end(sqlite3_stmt *st, int i, const char *value)
{
    if (value)
        sql_bind_text(st, i, value);
    else
        sql_bind_blob(st, i, NULL, 0);
}

static int series_list(struct store *base, const struct series_query *q, struct series_list *out,
                       struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    AUTO(sql_donep)
    sqlite3_stmt *st = sql_prepare(
        &s->state,
        "SELECT a.id, l.value, json_extract(a.labels, '$.\"' || ?2 || '\"'), a.rows, a.n_layers,"
        " a.version, a.created_ms"
        " FROM analysis_labels AS l JOIN analyses AS a ON a.id=l.analysis"
        " WHERE l.key=?1 AND (l.value, l.analysis) > (?3, ?4) AND l.value <= ?5"
        " ORDER BY l.value, l.analysis LIMIT ?6",
        err);
    bool first = !*q->after_id;
    struct series_list l = {0};
    int r;

    if (!st)
        return s->state.failure;
    sql_bind_text(st, 1, q->label);
    sql_bind_text(st, 2, q->step_label);
    sql_bind_text(st, 3, first && q->value ? q->value : q->after_value);
    sql_bind_text(st, 4, q->after_id);
    bind_upper_end(st, 5, q->value);
    sql_bind_int(st, 6, (int64_t)q->limit);
    l.step = xcalloc(q->limit, sizeof *l.step);
    while ((r = sql_next(&s->state, st, err)) == 1) {
        r = read_step(st, &l.step[l.count], err);
        if (r < 0)
            break;
        l.count++;
    }
    if (r < 0)
        series_list_done(&l);
    else
        *out = l;
    return r;
}

const struct store_model_ops sqlite_model_ops = {
    .put = model_put,
    .get = model_get,
    .list = model_list,
    .put_analysis = analysis_put,
    .label_analysis = analysis_label,
    .get_analysis = analysis_get,
    .list_analyses = analysis_list,
    .list_series = series_list,
};
