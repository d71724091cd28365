/* json_scan.h: a strict JSON tokeniser over bytes in memory, for headers too large for a tree.
 *
 * RFC 8259 with limits: nesting is capped, strings must be well-formed UTF-8 without NUL, numbers
 * of interest are non-negative integers below 2^64. Each fault has its own text with the offset.
 */
#ifndef SPECTRALD_JSON_SCAN_H
#define SPECTRALD_JSON_SCAN_H

#include "common/buf.h"
#include "common/err.h"

#define JSON_SCAN_DEPTH_MAX 8 /* the real nesting of a header is 3 */

struct json_scan {
    const char *start, *p, *end; /* borrowed */
    struct buf text;             /* the last string, unescaped and NUL-terminated */
    struct err *err;
};

void json_scan_init(struct json_scan *s, const char *text, size_t len, struct err *err);
void json_scan_done(struct json_scan *s);

/* Next byte after white space, not consumed; 0 at the end. */
char json_scan_peek(struct json_scan *s);

/* Consume `c`, or fail saying that `what` was expected. */
int json_scan_expect(struct json_scan *s, char c, const char *what);

/* A string into s->text (length s->text.len, without the NUL that follows). */
int json_scan_string(struct json_scan *s);

/* A non-negative integer below 2^64, written without sign, fraction or exponent. */
int json_scan_u64(struct json_scan *s, const char *what, uint64_t *out);

/* Skip one value of any kind. */
int json_scan_skip(struct json_scan *s);

/* After an element: 1 = a comma, another follows; 0 = `close` was consumed. */
int json_scan_more(struct json_scan *s, char close);

/* Record a format fault at the present offset. */
int json_scan_fail(struct json_scan *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
