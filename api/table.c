/* table.c: see table.h. */
#include "api/table.h"

#include "api/csv.h"
#include "common/json_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request looks at no more rows than this: a filter that matches little gives short pages. */
#define SCAN_MAX    TABLE_PAGE_MAX
#define SCAN_CHUNK  1000
#define COLUMNS_LEN 4096 /* bytes of the parameter */

const struct immutable_form table_forms[] = {
    {"json", "application/json", "application/json"},
    {"csv", "text/csv", "text/csv; charset=utf-8"},
};
const size_t table_n_forms = ARRAY_LEN(table_forms);

static void table_page_free(struct table_page *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < TABLE_FILTERS_MAX; i++)
        free(p->filter[i]);
    layer_row_list_done(&p->rows);
    free(p->url);
    free(p);
}
DEFINE_AUTO(struct table_page, table_page_free)

/* --- the question ------------------------------------------------------------------------------
 */

static const char *find_column(const struct table *t, const char *name, size_t len)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strlen(t->column[i]) == len && memcmp(t->column[i], name, len) == 0)
            return t->column[i];
    for (size_t i = 0; t->more && t->more(i); i++)
        if (strlen(t->more(i)) == len && memcmp(t->more(i), name, len) == 0)
            return t->more(i);
    return NULL;
}

static int add_column(struct table_page *p, const char *name, size_t len, struct err *err)
{
    const char *column = find_column(p->table, name, len);
    int shown = len < 64 ? (int)len : 64;

    if (!column)
        return err_set_at(err, ERR_INVALID, "?columns",
                          "query parameter columns: there is no column \"%.*s\"", shown, name);
    for (size_t i = 0; i < p->n_columns; i++)
        if (p->column[i] == column)
            return err_set_at(err, ERR_INVALID, "?columns",
                              "query parameter columns: \"%s\" is given twice", column);
    ASSERT(p->n_columns < TABLE_COLUMNS_MAX);
    p->column[p->n_columns++] = column;
    return 0;
}

static int read_columns(struct table_page *p, struct query *q, struct err *err)
{
    const char *s;
    int r = query_text(q, "columns", COLUMNS_LEN, &s, err);

    while (r == 0 && s) {
        size_t len = strcspn(s, ",");

        r = add_column(p, s, len, err);
        s = s[len] ? s + len + 1 : NULL;
    }
    return r;
}

static size_t characters(const char *utf8)
{
    size_t n = 0;

    for (; *utf8; utf8++)
        n += ((unsigned char)*utf8 & 0xc0) != 0x80;
    return n;
}

static int read_filters(struct table_page *p, struct query *q, struct err *err)
{
    for (size_t i = 0; i < p->table->n_filters; i++) {
        const struct table_filter *f = &p->table->filter[i];
        const char *s;
        int r = query_text(q, f->param, 4 * f->max, &s, err);

        if (r < 0)
            return r;
        if (s && characters(s) > f->max) {
            AUTO(freep) char *pointer = xasprintf("?%s", f->param);

            return err_set_at(err, ERR_INVALID, pointer,
                              "query parameter %s: expected at most %zu characters", f->param,
                              f->max);
        }
        if (s && f->known && !f->known(s)) {
            AUTO(freep) char *pointer = xasprintf("?%s", f->param);

            return err_set_at(err, ERR_INVALID, pointer, "query parameter %s: expected %s",
                              f->param, f->expected);
        }
        p->filter[i] = s ? xstrdup(s) : NULL;
    }
    return 0;
}

/* A token is good for the same rows in the same form. */
static void scope_of(const struct table_page *p, struct digest *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, p->table->name);
    hasher_add_str(h, p->resource);
    hasher_add_str(h, p->form->word);
    hasher_add_u64(h, p->n_columns);
    for (size_t i = 0; i < p->n_columns; i++)
        hasher_add_str(h, p->column[i]);
    for (size_t i = 0; i < p->table->n_filters; i++) {
        hasher_add_u64(h, p->filter[i] != NULL);
        hasher_add_str(h, p->filter[i] ? p->filter[i] : "");
    }
    hasher_finish(h, out);
}

static char *url_of(const struct table_page *p, const char *path)
{
    struct buf url = BUF_INIT;

    buf_printf(&url, "%s?", path);
    if (p->form != &table_forms[0])
        buf_printf(&url, "format=%s&", p->form->word);
    for (size_t i = 0; i < p->n_columns; i++)
        buf_printf(&url, "%s%s", i ? "," : "columns=", p->column[i]);
    buf_printf(&url, "%s", p->n_columns ? "&" : "");
    for (size_t i = 0; i < p->table->n_filters; i++) {
        if (!p->filter[i])
            continue;
        buf_printf(&url, "%s=", p->table->filter[i].param);
        query_escape(&url, p->filter[i]);
        buf_put_u8(&url, '&');
    }
    buf_printf(&url, "page_size=%zu", p->page.size);
    buf_put_u8(&url, '\0');
    return (char *)url.data;
}

/* Read the query. NULL and an owned *out, or a problem. */
static struct reply *read_ask(struct request *rq, const struct table *t, const char *resource,
                              const char *path, const struct immutable_wish *wish,
                              struct table_page **out)
{
    AUTO(table_page_freep) struct table_page *p = xcalloc(1, sizeof *p);
    struct reply *no = immutable_choose(rq, table_forms, table_n_forms, wish, &p->form);
    struct digest scope;
    struct err err;

    ASSERT(t->n_filters <= TABLE_FILTERS_MAX && t->n_columns <= TABLE_COLUMNS_MAX);
    if (no)
        return no;
    p->table = t;
    snprintf(p->resource, sizeof p->resource, "%s", resource);
    if (read_columns(p, &rq->query, &err) < 0 || read_filters(p, &rq->query, &err) < 0)
        return reply_err(&err);
    scope_of(p, &scope);
    if (page_read(&rq->query, &rq->api->page_key, &scope, TABLE_PAGE, TABLE_PAGE_MAX, &p->page,
                  &err) < 0 ||
        query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    p->url = url_of(p, path);
    *out = TAKE(p);
    return NULL;
}

/* --- the rows ----------------------------------------------------------------------------------
 */

static bool has_filters(const struct table_page *p)
{
    for (size_t i = 0; i < p->table->n_filters; i++)
        if (p->filter[i])
            return true;
    return false;
}

static bool passes(const struct table_page *p, const struct layer_row *row)
{
    struct row_text text;

    if (!row_text_parse(row->json, &text))
        return false;
    for (size_t i = 0; i < p->table->n_filters; i++) {
        const struct table_filter *f = &p->table->filter[i];
        const struct row_member *m;

        if (!p->filter[i])
            continue;
        m = row_text_find(&text, f->column, 0);
        if (!m || !row_text_matches(m, p->filter[i], f->contains))
            return false;
    }
    return true;
}

/* Move the rows of `chunk` that pass to the page, up to its size. */
static void take_chunk(struct table_page *p, struct layer_row_list *chunk)
{
    for (size_t i = 0; i < chunk->count; i++) {
        if (!passes(p, &chunk->row[i]))
            continue;
        if (p->rows.count == p->page.size) {
            p->more = true;
            p->next = chunk->row[i].layer_id;
            return;
        }
        p->rows.row[p->rows.count++] = chunk->row[i];
        chunk->row[i] = (struct layer_row){.longname = NULL};
    }
}

static int fetch_filtered(struct table_page *p, struct store *st, const struct digest *key,
                          struct err *err)
{
    uint64_t at = p->page.from.first;

    p->rows.row = xcalloc(p->page.size, sizeof *p->rows.row);
    for (size_t scanned = 0; !p->more;) {
        struct layer_row_list chunk = {0};
        int r = store_rows_get(st, key, at, SCAN_CHUNK, &chunk, err);

        if (r < 0)
            return r;
        if (chunk.count == 0)
            return 0;
        at = chunk.row[chunk.count - 1].layer_id + 1;
        scanned += chunk.count;
        take_chunk(p, &chunk);
        layer_row_list_done(&chunk);
        if (!p->more && scanned >= SCAN_MAX) {
            p->more = true;
            p->next = at;
        }
    }
    return 0;
}

int table_fetch(struct table_page *p, struct store *st, const struct digest *key, struct err *err)
{
    struct layer_row *last;
    int r;

    if (has_filters(p))
        return fetch_filtered(p, st, key, err);
    r = store_rows_get(st, key, p->page.from.first, p->page.size + 1, &p->rows, err);
    if (r == 0 && p->rows.count > p->page.size) {
        last = &p->rows.row[--p->rows.count];
        p->more = true;
        p->next = last->layer_id;
        layer_row_done(last);
    }
    return r;
}

/* --- the page ----------------------------------------------------------------------------------
 */

static void write_json_row(const struct table_page *p, const struct row_text *row, struct buf *b)
{
    buf_put_u8(b, '{');
    for (size_t i = 0; i < p->n_columns; i++) {
        const struct row_member *m = row_text_find(row, p->column[i], i);

        json_text_key(b, p->column[i]);
        if (m)
            buf_put(b, m->value, m->len);
        else
            buf_put(b, "null", 4);
    }
    buf_put_u8(b, '}');
}

static void write_csv_row(const char *const *column, size_t n, const struct row_text *row,
                          struct buf *b)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            csv_comma(b);
        csv_value(b, row_text_find(row, column[i], i));
    }
    csv_end(b);
}

/* The columns of a table in CSV: those asked for, or all that its rows have; rows of a table all
 * have the same. */
static size_t shown_columns(const struct table_page *p, const char *column[TABLE_COLUMNS_MAX])
{
    const struct table *t = p->table;
    size_t n = p->n_columns ? p->n_columns : t->n_columns;
    struct row_text first;

    memcpy(column, p->n_columns ? p->column : t->column, n * sizeof *column);
    if (p->n_columns || !t->more || p->rows.count == 0 ||
        !row_text_parse(p->rows.row[0].json, &first))
        return n;
    for (size_t i = 0; n < TABLE_COLUMNS_MAX && t->more(i); i++)
        if (row_text_find(&first, t->more(i), n))
            column[n++] = t->more(i);
    return n;
}

static int write_rows(const struct table_page *p, bool csv, struct buf *b, struct err *err)
{
    const char *column[TABLE_COLUMNS_MAX];
    size_t n = shown_columns(p, column);
    struct row_text row;

    for (size_t i = 0; i < p->rows.count; i++) {
        const char *json = p->rows.row[i].json;

        if (i > 0 && !csv)
            buf_put_u8(b, ',');
        if (!csv && !p->n_columns) { /* as it is kept */
            buf_put(b, json, strlen(json));
            continue;
        }
        if (!row_text_parse(json, &row))
            return err_set(err, ERR_INTERNAL, "row %zu of %s is malformed", i, p->resource);
        if (csv)
            write_csv_row(column, n, &row, b);
        else
            write_json_row(p, &row, b);
    }
    return 0;
}

static void write_csv_head(const struct table_page *p, struct buf *b)
{
    const char *column[TABLE_COLUMNS_MAX];
    size_t n = shown_columns(p, column);

    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s%s", i ? "," : "", column[i]);
    csv_end(b);
}

/* Fails on malformed rows. */
static int write_page(const struct table_page *p, struct immutable_text *out, struct err *err)
{
    bool csv = strcmp(p->form->word, "csv") == 0;
    struct page_cursor next = {.first = p->next};
    char token[PAGE_TOKEN_MAX] = "";
    struct buf *b = &out->body;
    int r;

    if (p->more)
        page_token(&p->page, &next, token);
    if (csv)
        write_csv_head(p, b);
    else
        buf_printf(b, "{\"%s\":[", p->table->name);
    r = write_rows(p, csv, b, err);
    if (r < 0)
        return r;
    if (!csv)
        buf_printf(b, "],\"next_page_token\":\"%s\"}", token);
    out->type = p->form->type;
    if (p->more)
        out->link = xasprintf("<%s&page_token=%s>; rel=\"next\"", p->url, token);
    return 0;
}

/* --- the answer --------------------------------------------------------------------------------
 */

struct reply *table_write(void *page, struct immutable_text *out)
{
    struct err err;

    return write_page(page, out, &err) < 0 ? reply_err(&err) : NULL;
}

void table_free(void *page)
{
    table_page_free(page);
}

struct reply *table_reply(struct request *rq, const struct table *t, const char *above,
                          const char *resource, const char *below, const struct immutable_ops *ops)
{
    struct immutable_wish wish;
    struct table_page *p;
    struct reply *r = immutable_find(rq, table_forms, table_n_forms, &wish);
    AUTO(freep) char *path = NULL;

    if (r)
        return r;
    path = xasprintf("%s%s%s", above, resource, below);
    r = read_ask(rq, t, resource, path, &wish, &p);
    return r ? r : immutable_make(rq, &wish, ops, p);
}
