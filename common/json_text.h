/* json_text.h: JSON written straight into a buffer, for large results.
 *
 * Numbers are the shortest text that reads back as the same double; what is not finite becomes
 * null, because JSON has no such numbers.
 */
#ifndef SPECTRALD_JSON_TEXT_H
#define SPECTRALD_JSON_TEXT_H

#include "common/buf.h"

void json_text_real(struct buf *b, double x);
void json_text_string(struct buf *b, const char *s); /* quoted and escaped; NULL becomes null */

/* `,"key":` with the comma left out after an opening brace. The key is written as it is. */
void json_text_key(struct buf *b, const char *key);
void json_text_key_real(struct buf *b, const char *key, double x);
void json_text_key_int(struct buf *b, const char *key, int64_t x);
/* An array of n whole numbers. */
void json_text_key_counts(struct buf *b, const char *key, const uint64_t *x, size_t n);
void json_text_key_string(struct buf *b, const char *key, const char *s);

#endif
