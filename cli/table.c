/* table.c: see table.h. Cells lie in one array, row by row. */
#include "cli/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

#define GAP         2
#define SHRINK_LAST 8 /* less of a name says nothing */

struct cell {
    char *text; /* owned, clean */
    size_t width;
    enum colour colour;
};

struct table {
    const struct table_column *columns;
    size_t n_columns;
    struct cell *cells;
    size_t n_cells, cap;
};

/* Chosen width per column; 0 = dropped. */
struct layout {
    size_t width[TABLE_COLUMNS_MAX];
};

struct table *table_new(const struct table_column *columns, size_t n_columns)
{
    struct table *t = xcalloc(1, sizeof(*t));

    ASSERT(n_columns > 0 && n_columns <= TABLE_COLUMNS_MAX);
    t->columns = columns;
    t->n_columns = n_columns;
    return t;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i].text);
    free(t->cells);
    free(t);
}

static void put_cell(struct table *t, enum colour c, const char *raw)
{
    struct cell *cell;

    if (t->n_cells == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 256;
        t->cells = xrealloc(t->cells, t->cap * sizeof(*t->cells));
    }
    cell = &t->cells[t->n_cells++];
    cell->text = text_clean(raw);
    cell->width = text_width(cell->text);
    cell->colour = c;
}

void table_cell(struct table *t, enum colour c, const char *fmt, ...)
{
    AUTO(freep) char *raw = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&raw, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    put_cell(t, c, raw);
}

void table_number(struct table *t, enum colour c, bool has, double x, int decimals)
{
    if (!has)
        put_cell(t, COLOUR_DIM, "-");
    else if (x != 0 && (fabs(x) >= 1e6 || fabs(x) < 0.5 * pow(10, -decimals)))
        table_cell(t, c, "%.2e", x); /* fixed notation would overflow the column or show zero */
    else
        table_cell(t, c, "%.*f", decimals, x);
}

void table_json(struct table *t, const json_t *value)
{
    AUTO(freep) char *text = NULL;

    if (!value || json_is_null(value)) {
        put_cell(t, COLOUR_DIM, "-");
    } else if (json_is_string(value)) {
        put_cell(t, COLOUR_NONE, json_string_value(value));
    } else {
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        put_cell(t, COLOUR_NONE, text ? text : "?");
    }
}

static void print_csv_field(const char *text, bool last, FILE *out)
{
    bool quote = text[strcspn(text, ",\"\r\n")] != 0;

    if (quote)
        (void)fputc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            (void)fputc('"', out);
        (void)fputc(*text, out);
    }
    (void)fputs(quote ? "\"" : "", out);
    (void)fputc(last ? '\n' : ',', out);
}

void table_print_csv(const struct table *t, FILE *out)
{
    for (size_t c = 0; c < t->n_columns; c++)
        print_csv_field(t->columns[c].title, c + 1 == t->n_columns, out);
    for (size_t i = 0; i < t->n_cells; i++)
        print_csv_field(t->cells[i].text, (i + 1) % t->n_columns == 0, out);
}

static void natural_widths(const struct table *t, struct layout *l)
{
    for (size_t c = 0; c < t->n_columns; c++)
        l->width[c] = text_width(t->columns[c].title);
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t *w = &l->width[i % t->n_columns];

        if (t->cells[i].width > *w)
            *w = t->cells[i].width;
    }
}

static size_t total_width(const struct table *t, const struct layout *l)
{
    size_t sum = 0;

    for (size_t c = 0; c < t->n_columns; c++)
        if (l->width[c] > 0)
            sum += l->width[c] + (sum > 0 ? GAP : 0);
    return sum;
}

/* Hide the visible column with the highest drop number; false when none may go. */
static bool drop_one(const struct table *t, struct layout *l)
{
    size_t best = t->n_columns;

    for (size_t c = 0; c < t->n_columns; c++)
        if (l->width[c] > 0 && t->columns[c].drop > 0 &&
            (best == t->n_columns || t->columns[c].drop > t->columns[best].drop))
            best = c;
    if (best == t->n_columns)
        return false;
    l->width[best] = 0;
    return true;
}

/* Fit the table into `width` columns, as table.h promises. */
static void fit(const struct table *t, size_t width, struct layout *l)
{
    size_t none = 0;
    size_t *shrink = &none;
    size_t natural, least, total;

    natural_widths(t, l);
    for (size_t c = 0; c < t->n_columns; c++)
        if (t->columns[c].shrinks)
            shrink = &l->width[c];
    natural = *shrink;
    least = natural < TABLE_SHRINK_MIN ? natural : TABLE_SHRINK_MIN;
    *shrink = least;
    while (total_width(t, l) > width && drop_one(t, l))
        ;
    total = total_width(t, l);
    if (total < width) { /* give back what dropping left over */
        size_t room = width - total;

        *shrink += natural - least < room ? natural - least : room;
    } else if (*shrink > SHRINK_LAST && total > width) { /* nothing left to drop: cut further */
        size_t over = total - width;

        *shrink = *shrink > over + SHRINK_LAST ? *shrink - over : SHRINK_LAST;
    }
}

static void print_cell(const struct cell *cell, const struct table_column *col, size_t width,
                       bool last, const struct term *to)
{
    AUTO(freep) char *text = text_shorten(cell->text, width);
    size_t pad = width - text_width(text);
    bool coloured = cell->colour != COLOUR_NONE;

    if (col->right)
        (void)fprintf(to->out, "%*s", (int)pad, "");
    (void)fprintf(to->out, "%s%s%s", coloured ? term_colour(to, cell->colour) : "", text,
                  coloured ? term_colour(to, COLOUR_NONE) : "");
    if (!col->right && !last) /* no blanks at the end of a line */
        (void)fprintf(to->out, "%*s", (int)pad, "");
}

static void print_row(const struct table *t, const struct cell *cells, const struct layout *l,
                      const struct term *to)
{
    size_t last = 0;
    bool first = true;

    for (size_t c = 0; c < t->n_columns; c++)
        if (l->width[c] > 0 && cells[c].width > 0)
            last = c;
    for (size_t c = 0; c <= last; c++) {
        if (l->width[c] == 0)
            continue;
        if (!first)
            (void)fprintf(to->out, "%*s", GAP, "");
        first = false;
        print_cell(&cells[c], &t->columns[c], l->width[c], c == last, to);
    }
    (void)fputc('\n', to->out);
}

void table_print(const struct table *t, const struct term *to)
{
    struct cell titles[TABLE_COLUMNS_MAX];
    struct layout l;

    ASSERT(t->n_cells % t->n_columns == 0);
    fit(t, to->width, &l);
    for (size_t c = 0; c < t->n_columns; c++) {
        titles[c].text = (char *)(uintptr_t)t->columns[c].title;
        titles[c].width = text_width(t->columns[c].title);
        titles[c].colour = COLOUR_BOLD;
    }
    print_row(t, titles, &l, to);
    for (size_t i = 0; i < t->n_cells; i += t->n_columns)
        print_row(t, &t->cells[i], &l, to);
}
