/* member.h: typed members of JSON bodies. A member that is missing or null leaves *out as it is:
 * the default. ERR_INVALID names the member and what it may be. `parent`: "" or "/assign".
 */
#ifndef SPECTRALD_MEMBER_H
#define SPECTRALD_MEMBER_H

#include <jansson.h>

#include "common/err.h"

/* lo <= number <= hi. */
int member_real(const json_t *obj, const char *parent, const char *name, double lo, double hi,
                double *out, struct err *err);
/* A whole number, hi at most 2^53. */
int member_count(const json_t *obj, const char *parent, const char *name, uint64_t lo, uint64_t hi,
                 uint64_t *out, struct err *err);
/* The same for a value that stands alone: true when it is one. 7.0 is a whole number, too. */
bool member_whole(const json_t *v, uint64_t lo, uint64_t hi, uint64_t *out);
int member_flag(const json_t *obj, const char *parent, const char *name, bool *out,
                struct err *err);
/* One of the words; *out is its index. */
int member_word(const json_t *obj, const char *parent, const char *name, const char *const *word,
                size_t n, int *out, struct err *err);

/* Members of `obj` must be among the `n` names. ERR_INVALID with the member's pointer. */
int member_check(const json_t *obj, const char *const *names, size_t n, struct err *err);

/* An object of the body, all of whose members are among the `n` names. *out is borrowed, NULL when
 * it is missing. */
int member_object(const json_t *body, const char *name, const char *const *members, size_t n,
                  const json_t **out, struct err *err);

#endif
