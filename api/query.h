/* query.h: query parameters, with types and limits. A parameter that nobody asked for is an
 * error, and so is one given twice, but for "label": a misspelt filter must not widen a list.
 */
#ifndef SPECTRALD_QUERY_H
#define SPECTRALD_QUERY_H

#include "common/buf.h"
#include "common/err.h"

#define QUERY_PARAMS_MAX 32

struct query {
    struct query_param {
        char *name, *value; /* decoded */
        bool used;
    } param[QUERY_PARAMS_MAX];
    size_t count;
    char *text; /* owns the strings */
};

void query_done(struct query *q);

/* Parse "a=b&c" (value of c: ""). ERR_INVALID: bad escape, repeated name, too many. */
int query_parse(const char *text, struct query *out, struct err *err);

/* Value or NULL when absent; *out is borrowed. ERR_INVALID when longer than `max` bytes. */
int query_text(struct query *q, const char *name, size_t max, const char **out, struct err *err);

/* A decimal number; absent = `missing`. Above `max` gives max (a page size is coerced, not
 * refused). ERR_INVALID for anything but digits, and above 2^53 - 1. */
int query_size(struct query *q, const char *name, uint64_t missing, uint64_t max, uint64_t *out,
               struct err *err);

/* True when present without a value, or with "1" or "true". */
int query_flag(struct query *q, const char *name, bool *out, struct err *err);

/* The next of the parameters `name` that was not asked for yet: "key:value", split at the first
 * colon, or "key" (value NULL). Key NULL when there is no more. ERR_INVALID. Borrowed, split in
 * place. */
int query_pair(struct query *q, const char *name, const char **key, const char **value,
               struct err *err);

/* ERR_INVALID naming a parameter that no getter asked for. */
int query_check_unused(const struct query *q, struct err *err);

/* Append `s` percent-encoded. */
void query_escape(struct buf *out, const char *s);

#endif
