/* err.c: writing error records. */
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int err_write(struct err *err, int code, const char *pointer, const char *fmt, va_list ap)
{
    if (!err)
        return code;
    err->code = code;
    snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    return code;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_write(err, code, "", fmt, ap);
    va_end(ap);
    return code;
}

int err_set_at(struct err *err, int code, const char *pointer, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_write(err, code, pointer, fmt, ap);
    va_end(ap);
    return code;
}

static int code_of_errno(int e)
{
    switch (e) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EXDEV:
    case ELOOP:
        return ERR_FORBIDDEN;
    case ENOSPC:
    case EDQUOT:
        return ERR_FULL;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

int err_set_errno(struct err *err, int errno_value, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(err, code_of_errno(errno_value), "%s: %s", text, strerror(errno_value));
}

const char *err_name(int code)
{
    switch ((enum err_code)code) {
    case ERR_OK:
        return "ok";
    case ERR_INVALID:
        return "invalid";
    case ERR_NOT_FOUND:
        return "not_found";
    case ERR_FORBIDDEN:
        return "forbidden";
    case ERR_CONFLICT:
        return "conflict";
    case ERR_LIMIT:
        return "limit";
    case ERR_UNSUPPORTED:
        return "unsupported";
    case ERR_FORMAT:
        return "format";
    case ERR_CHANGED:
        return "changed";
    case ERR_NUMERIC:
        return "numeric";
    case ERR_NOMEM:
        return "out_of_memory";
    case ERR_IO:
        return "io";
    case ERR_FULL:
        return "no_space";
    case ERR_BUSY:
        return "busy";
    case ERR_DEADLINE:
        return "deadline_exceeded";
    case ERR_CRASHED:
        return "worker_crashed";
    case ERR_TOO_LARGE:
        return "content_too_large";
    case ERR_QUOTA:
        return "insufficient_storage";
    case ERR_GONE:
        return "gone";
    case ERR_INTERNAL:
        return "internal";
    case ERR_KEY_REUSED:
        return "key_reused";
    case ERR_IN_FLIGHT:
        return "in_flight";
    case ERR_STALE:
        return "precondition_failed";
    }
    return "internal";
}

void err_pointer(char out[ERR_POINTER_MAX], const char *parent, const char *key)
{
    size_t n = (size_t)snprintf(out, ERR_POINTER_MAX, "%s/", parent);

    for (; *key && n + 3 < ERR_POINTER_MAX; key++) {
        if (*key == '~' || *key == '/') {
            out[n++] = '~';
            out[n++] = *key == '~' ? '0' : '1';
        } else {
            out[n++] = *key;
        }
    }
    /* Never end inside a UTF-8 sequence: the pointer goes into a JSON string. */
    while (*key && n && ((uint8_t)out[n - 1] & 0x80))
        n--;
    out[n] = '\0';
}
