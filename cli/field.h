/* field.h: members of what the server sent. Any of them may be missing or of another type. */
#ifndef SPECTRALCTL_FIELD_H
#define SPECTRALCTL_FIELD_H

#include <jansson.h>

#include "common/base.h"

/* The text of a member, "" when it is no string. Borrowed. */
const char *field_text(const json_t *obj, const char *key);

/* True, and the number in *out, when the member is a number. */
bool field_number(const json_t *obj, const char *key, double *out);

/* An integer; 0 when it is none. */
long long field_count(const json_t *obj, const char *key);

/* Unix milliseconds of an RFC 3339 time in UTC ("2026-01-31T23:59:59.123Z"), or -1. */
int64_t field_time_ms(const json_t *obj, const char *key);

#endif
