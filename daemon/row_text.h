/* row_text.h: a stored row, one JSON object as text, taken apart without building a tree.
 *
 * Rows were written by this program (daemon/analyze_report.c); a text that is not one flat
 * object is refused, not repaired.
 */
#ifndef SPECTRALD_ROW_TEXT_H
#define SPECTRALD_ROW_TEXT_H

#include "common/buf.h"

#define ROW_MEMBERS_MAX 224

/* Borrowed pieces of the row's text. */
struct row_member {
    const char *name; /* without quotes */
    size_t name_len;
    const char *value; /* JSON text: a string with its quotes, a number, an array, … */
    size_t len;
};

struct row_text {
    struct row_member member[ROW_MEMBERS_MAX];
    size_t count;
};

/* False when it is no such object, or has too many members. */
bool row_text_parse(const char *json, struct row_text *out);

/* The member of that name, or NULL. `hint`: where to look first. */
const struct row_member *row_text_find(const struct row_text *r, const char *name, size_t hint);

/* The number of that name; NaN: there is none, or it is null or no number. */
double row_text_real(const struct row_text *r, const char *name);

/* The number that a needle of row_text_needle() finds in a row of `len` bytes, without taking the
 * row apart; NULL when there is none or it is null. *n = its length. */
const char *row_text_number(const char *json, size_t len, const struct buf *needle, size_t *n);
/* True when the row holds what the needle says. */
bool row_text_holds(const char *json, size_t len, const struct buf *needle);
/* What to look for: the member `name`, or the member with the string `value`. The name needs no
 * escape. */
void row_text_needle(const char *name, const char *value, struct buf *out);

/* Append the plain text of a string value: escapes undone. False when it is no string. */
bool row_text_plain(const struct row_member *m, struct buf *out);

/* True when the value is the string `text`, or contains it. */
bool row_text_matches(const struct row_member *m, const char *text, bool contains);

#endif
