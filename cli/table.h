/* table.h: aligned columns that fit a terminal.
 *
 * Cells are cleaned (cli/text.h) as they come in. When the table is wider than the terminal, the
 * one column marked `shrinks` is cut in the middle down to SHRINK_MIN columns; when that is not
 * enough, columns with the highest `drop` number go first, then those with the next.
 */
#ifndef SPECTRALCTL_TABLE_H
#define SPECTRALCTL_TABLE_H

#include <jansson.h>

#include "cli/term.h"

#define TABLE_COLUMNS_MAX 16
#define TABLE_SHRINK_MIN  32

struct table_column {
    const char *title;
    bool right;    /* aligned to the right */
    bool shrinks;  /* at most one */
    unsigned drop; /* 0 = never */
};

struct table;

/* `columns` must outlive the table. Free with table_free(). */
struct table *table_new(const struct table_column *columns, size_t n_columns);
void table_free(struct table *t);
DEFINE_AUTO(struct table, table_free)

/* Append a cell; rows fill from left to right, n_columns cells each. */
void table_cell(struct table *t, enum colour c, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* A decimal number, or "-" when there is none (`has` false). */
void table_number(struct table *t, enum colour c, bool has, double x, int decimals);

/* Any JSON value: null is "-", a number has as many digits as it takes. */
void table_json(struct table *t, const json_t *value);

/* Titles and rows as CSV (RFC 4180, but lines end with \n); nothing is cut. */
void table_print_csv(const struct table *t, FILE *out);

/* Title line and rows; the last row must be complete. */
void table_print(const struct table *t, const struct term *to);

#endif
