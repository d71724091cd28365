/* err.h: error codes and the caller-supplied error record.
 *
 * Functions return 0 or a negative `enum err_code`. The function that detects a fault writes the
 * text with err_set(); callers pass it up untouched. Outputs are untouched on failure.
 */
#ifndef SPECTRALD_ERR_H
#define SPECTRALD_ERR_H

#include "common/base.h"

enum err_code {
    ERR_OK = 0,
    ERR_INVALID = -1,     /* the request is malformed: names the field */
    ERR_NOT_FOUND = -2,   /* no such resource, or no such file under the root */
    ERR_FORBIDDEN = -3,   /* outside every model root, or not allowed */
    ERR_CONFLICT = -4,    /* the resource's state forbids this now */
    ERR_LIMIT = -5,       /* a stated limit would be passed */
    ERR_UNSUPPORTED = -6, /* well-formed, but not something we read */
    ERR_FORMAT = -7,      /* a model file breaks its format */
    ERR_CHANGED = -8,     /* a file changed while it was read */
    ERR_NUMERIC = -9,     /* an iteration did not converge, or data are not finite */
    ERR_NOMEM = -10,      /* memory is exhausted */
    ERR_IO = -11,         /* reading or writing failed */
    ERR_FULL = -12,       /* no space left, or quota used up */
    ERR_BUSY = -13,       /* queue full, shutting down: try later */
    ERR_DEADLINE = -14,   /* ran out of time */
    ERR_CRASHED = -15,    /* a worker died */
    ERR_INTERNAL = -16,   /* our bug */
    ERR_KEY_REUSED = -17, /* an idempotency key was used for another request */
    ERR_IN_FLIGHT = -18,  /* the same request is being worked on: ask again soon */
    ERR_STALE = -19,      /* the resource is no longer what the request expects */
    ERR_TOO_LARGE = -20,  /* a body larger than one may be */
    ERR_QUOTA = -21,      /* no room for what the client wants to store */
    ERR_GONE = -22,       /* the cache under a resource was removed */
};

/* The longest JSON pointer kept with an error. */
#define ERR_POINTER_MAX 128
#define ERR_TEXT_MAX    512

struct err {
    int code;                      /* enum err_code; 0 when nothing was set */
    char pointer[ERR_POINTER_MAX]; /* JSON pointer of the field at fault ("/params/min_evals"), or
                                      "" */
    char text[ERR_TEXT_MAX];       /* one English sentence without a final stop */
};

/* Record `code` and a text in `err` (which may be NULL) and return `code`. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same, naming the field of the request that is at fault. */
int err_set_at(struct err *err, int code, const char *pointer, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* The same, with ": strerror(errno_value)" appended; code chosen from errno_value
 * (ENOENT -> NOT_FOUND, EACCES/EPERM -> FORBIDDEN, ENOSPC/EDQUOT -> FULL, ENOMEM -> NOMEM,
 * else IO). */
int err_set_errno(struct err *err, int errno_value, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Write "`parent`/`key`" with RFC 6901 escapes to `out`, cut at its end. */
void err_pointer(char out[ERR_POINTER_MAX], const char *parent, const char *key);

/* Stable lower-case name of a code ("invalid", "not_found", …), for problem+json and logs. */
const char *err_name(int code);

#endif
