/* path.h: the path of a request target, split and percent-decoded.
 *
 * Segments are split before they are decoded, so "%2F" stays inside its segment. A custom verb
 * ("/v1/jobs/{job}:cancel") is what follows the last unescaped colon of the last segment.
 */
#ifndef SPECTRALD_PATH_H
#define SPECTRALD_PATH_H

#include "common/err.h"

/* The longest route has 6 segments. */
#define PATH_SEGMENTS_MAX 16

struct path {
    char *segment[PATH_SEGMENTS_MAX]; /* decoded, without the verb */
    size_t count;
    char *verb;        /* of the last segment, or NULL */
    const char *query; /* what follows '?', still encoded, borrowed from the target; "" if none */
    char *text;        /* owns the segments */
};

void path_done(struct path *p);

/* Split `target`: origin form "/a/b?q", or absolute form "http://host/a/b?q". ERR_INVALID: a bad
 * escape or a NUL; ERR_NOT_FOUND: not a path, or more segments than any resource has. */
int path_parse(const char *target, struct path *out, struct err *err);

/* Decode percent escapes in place, and '+' to a space when `plus`. False: a bad escape or NUL. */
bool path_unescape(char *s, bool plus);

#endif
