/* json_out.h: members of JSON objects that common/json_text.h does not know: text of any origin,
 * parts that are JSON text already (labels, params, rows; copied, not parsed again), times.
 */
#ifndef SPECTRALD_JSON_OUT_H
#define SPECTRALD_JSON_OUT_H

#include "common/json_text.h"

/* A string; bytes that are not UTF-8 (file names may hold any) become U+FFFD. NULL gives null. */
void json_out_text(struct buf *b, const char *key, const char *s);

/* JSON text as it is; NULL or "" give null. */
void json_out_raw(struct buf *b, const char *key, const char *json);

/* An RFC 3339 time from Unix milliseconds; 0 gives null. */
void json_out_time(struct buf *b, const char *key, int64_t ms);

#endif
