/* base.c: allocation that cannot fail, and the assertion that can. */
#include "common/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "<2>bug: assertion failed: %s at %s:%d\n", cond, file, line);
    abort();
}

void *xmalloc(size_t nbytes)
{
    void *p = malloc(nbytes ? nbytes : 1);

    ASSERT(p != NULL);
    return p;
}

void *xcalloc(size_t count, size_t nbytes)
{
    void *p = calloc(count ? count : 1, nbytes ? nbytes : 1);

    ASSERT(p != NULL);
    return p;
}

void *xrealloc(void *p, size_t nbytes)
{
    p = realloc(p, nbytes ? nbytes : 1);
    ASSERT(p != NULL);
    return p;
}

char *xstrdup(const char *s)
{
    char *copy = strdup(s);

    ASSERT(copy != NULL);
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&s, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    return s;
}

void freep(void *p)
{
    free(*(void **)p);
}
