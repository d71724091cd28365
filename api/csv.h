/* csv.h: comma-separated values (RFC 4180): CRLF line ends, quotes only where they are needed. */
#ifndef SPECTRALD_CSV_H
#define SPECTRALD_CSV_H

#include "daemon/row_text.h"

/* One field of text. */
void csv_text(struct buf *out, const char *s, size_t len);

/* The field of a JSON value: null and a missing value (NULL) are empty, strings are plain text,
 * the elements of an array are separated by semicolons, the rest stays as it is. */
void csv_value(struct buf *out, const struct row_member *m);

void csv_comma(struct buf *out);
void csv_end(struct buf *out);

#endif
