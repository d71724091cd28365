/* log.c: a whole line is built first and written with one write(), so lines never interleave. */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static atomic_bool debug_on;

static void log_line(int priority, const char *fmt, va_list ap)
{
    char line[LINE_MAX_BYTES];
    int head = snprintf(line, sizeof line, "<%d>", priority);
    int n = vsnprintf(line + head, sizeof line - (size_t)head - 1, fmt, ap);
    size_t len;

    if (n < 0)
        return;
    len = strlen(line);
    /* Names from clients may hold control characters; a log line must stay one line. */
    for (size_t i = (size_t)head; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    (void)!write(STDERR_FILENO, line, len);
}

#define DEFINE_LOG(name, priority)                                                                 \
    void name(const char *fmt, ...)                                                                \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, fmt);                                                                         \
        log_line(priority, fmt, ap);                                                               \
        va_end(ap);                                                                                \
    }

DEFINE_LOG(log_error, 3)
DEFINE_LOG(log_warn, 4)
DEFINE_LOG(log_info, 6)

void log_debug(const char *fmt, ...)
{
    va_list ap;

    if (!atomic_load(&debug_on))
        return;
    va_start(ap, fmt);
    log_line(7, fmt, ap);
    va_end(ap);
}

void log_set_debug(bool on)
{
    atomic_store(&debug_on, on);
}
