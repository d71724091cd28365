/* base.h: the few macros every file uses.
 *
 * ASSERT is for our own bugs only and stays on in production; input, disk, network and
 * database never assert.
 */
#ifndef SPECTRALD_BASE_H
#define SPECTRALD_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Run `fn(&var)` when the variable leaves its scope. */
#define AUTO(fn) __attribute__((cleanup(fn)))

/* Move a pointer out of `p`, leaving NULL behind. */
#define TAKE(p)                                                                                    \
    ({                                                                                             \
        __typeof__(p) take_tmp_ = (p);                                                             \
        (p) = NULL;                                                                                \
        take_tmp_;                                                                                 \
    })

/* Define cleanup function `fn##p` for AUTO() from a free-like function. */
#define DEFINE_AUTO(type, fn)                                                                      \
    static inline void fn##p(type **p_)                                                            \
    {                                                                                              \
        fn(*p_);                                                                                   \
    }

#define ARRAY_LEN(a)           (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK             __attribute__((warn_unused_result))

#define ASSERT(cond) ((cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__))

/* Print the broken invariant to stderr and abort(). */
_Noreturn void assert_failed(const char *cond, const char *file, int line);

/* malloc family that aborts when memory is exhausted: for small, bounded allocations of the
 * control process. Sizes that a user controls go through plain malloc and an error. */
void *xmalloc(size_t nbytes);
void *xcalloc(size_t count, size_t nbytes);
void *xrealloc(void *p, size_t nbytes);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* free(*p); for AUTO(freep) on malloc'ed pointers. */
void freep(void *p);

#endif
