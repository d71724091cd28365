/* text.h: strings on a terminal: cleaning, width, shortening.
 *
 * Names come out of files that anybody may have written; nothing of them may reach a terminal
 * before text_clean(). UTF-8 throughout. Widths need setlocale(LC_CTYPE, a UTF-8 locale).
 */
#ifndef SPECTRALCTL_TEXT_H
#define SPECTRALCTL_TEXT_H

#include "common/base.h"

/* Copy of `s` that is safe to print on one line: control characters, line separators,
 * bidirectional overrides and malformed bytes each become '?'. The caller frees it. */
char *text_clean(const char *s);

/* Columns that a clean string occupies. */
size_t text_width(const char *s);

/* Copy of a clean `s` of at most `width` columns, its middle replaced by ".." when it is longer.
 * The caller frees it. */
char *text_shorten(const char *s, size_t width);

/* Seconds as people read them: "0.4 s", "12 s", "3:07", "2:03:09". */
#define TEXT_SECONDS_MAX 32
void text_seconds(double seconds, char out[TEXT_SECONDS_MAX]);

#endif
