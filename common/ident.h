/* ident.h: resource ids and clocks. */
#ifndef SPECTRALD_IDENT_H
#define SPECTRALD_IDENT_H

#include "common/base.h"

/* Prefix (at most 4 bytes with its underscore), 26 base-32 digits, NUL. */
#define IDENT_MAX 32

/* A new id: `prefix`, then 48 bits of Unix milliseconds and 80 random bits in Crockford
 * base 32, so ids sort by time. */
void ident_new(char out[IDENT_MAX], const char *prefix);

/* An id that is a function of content: `prefix`, then the first 130 bits of the digest. */
void ident_of_bytes(char out[IDENT_MAX], const char *prefix, const uint8_t bytes[17]);

/* True when `s` is `prefix` followed by 26 base-32 digits. */
bool ident_valid(const char *s, const char *prefix);

int64_t wall_ms(void); /* Unix time in milliseconds */
int64_t mono_ns(void); /* CLOCK_MONOTONIC in nanoseconds */

#define TIME_TEXT_MAX 32
/* RFC 3339 in UTC with milliseconds: 2026-01-31T23:59:59.123Z */
void time_text(int64_t unix_ms, char out[TIME_TEXT_MAX]);

#endif
