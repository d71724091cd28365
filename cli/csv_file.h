/* csv_file.h: a file that the user has, as text and as rows (RFC 4180; lines may end with \n). */
#ifndef SPECTRALCTL_CSV_FILE_H
#define SPECTRALCTL_CSV_FILE_H

#include <jansson.h>

#include "common/buf.h"
#include "common/err.h"

#define TEXT_FILE_MAX (16 << 20)

/* All of a file of at most TEXT_FILE_MAX bytes, "-" for standard input; ends in a NUL that is not
 * counted in `len`. The caller frees *out with buf_done(). */
int text_file_read(const char *path, struct buf *out, struct err *err);

/* An array of arrays of texts; empty lines are left out, every row has as many cells as the first.
 * The caller owns *out. ERR_FORMAT with the line. */
int csv_read(const char *text, json_t **out, struct err *err);

#endif
