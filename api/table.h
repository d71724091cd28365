/* table.h: tables of immutable rows: forms, columns, filters and pages; layers and tensors.
 *
 * Rows are kept as JSON text in the order of their numbers (store_rows_get()). A page in JSON is
 * {"<name>":[…],"next_page_token":""}; in CSV it is a header line and the rows, and the next page
 * is in the Link header only.
 */
#ifndef SPECTRALD_TABLE_H
#define SPECTRALD_TABLE_H

#include "api/immutable.h"

#define TABLE_FILTERS_MAX 8
#define TABLE_COLUMNS_MAX 192
#define TABLE_PAGE        1000
#define TABLE_PAGE_MAX    10000

struct table_filter {
    const char *param, *column;
    bool contains;                    /* the parameter is a part of the value, not all of it */
    size_t max;                       /* characters of the parameter */
    bool (*known)(const char *value); /* or NULL: any value */
    const char *expected;             /* when it is not known */
};

struct table {
    const char *name; /* member of the JSON form */
    const char *const *column;
    size_t n_columns;
    const char *(*more)(
        size_t i); /* columns that only some tables have, NULL at the end; or NULL */
    const struct table_filter *filter;
    size_t n_filters;
};

extern const struct immutable_form table_forms[];
extern const size_t table_n_forms;

/* One page that was asked for, and its rows once they are read. */
struct table_page {
    const struct table *table;
    const struct immutable_form *form;
    char resource[IDENT_MAX];
    struct page page;
    const char *column[TABLE_COLUMNS_MAX]; /* in the order asked for; the table's names */
    size_t n_columns;                      /* 0 = all */
    char *filter[TABLE_FILTERS_MAX];       /* NULL = any */
    char *url;                             /* path with all parameters but the token */
    struct layer_row_list rows;
    bool more;
    uint64_t next; /* row number at which the next page starts */
};

/* The rows of the page that pass the filters. On the store thread. */
int table_fetch(struct table_page *p, struct store *st, const struct digest *key, struct err *err);

/* Answer a list request: from memory, or by having its page made. The table's URL is `above`,
 * `resource`, `below`. `ops`: read, the table's own, which calls table_fetch(); and the two that
 * all tables share. */
struct reply *table_reply(struct request *rq, const struct table *t, const char *above,
                          const char *resource, const char *below, const struct immutable_ops *ops);
struct reply *table_write(void *page, struct immutable_text *out);
void table_free(void *page);

#endif
