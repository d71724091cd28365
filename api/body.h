/* body.h: JSON request bodies. */
#ifndef SPECTRALD_BODY_H
#define SPECTRALD_BODY_H

#include <jansson.h>

#include "common/buf.h"
#include "common/err.h"

/* Deepest nesting of arrays and objects that is parsed at all. */
#define BODY_DEPTH_MAX 64

/* Parse an object without repeated keys; the caller owns *out. The depth is checked before
 * parsing. ERR_INVALID saying where; the text repeats nothing of the body. */
int body_parse(const struct buf *body, json_t **out, struct err *err);

/* Members of `obj` must be among the `n` names. ERR_INVALID with the member's pointer. */
int body_check_members(const json_t *obj, const char *const *names, size_t n, struct err *err);

#define LABELS_MAX      32
#define LABEL_KEY_MAX   64
#define LABEL_VALUE_MAX 256

/* 1 to LABEL_KEY_MAX characters of A-Z a-z 0-9 . _ - / */
bool body_label_key_valid(const char *key);

/* Labels: an object of at most LABELS_MAX strings; keys of [A-Za-z0-9._/-]. ERR_INVALID with the
 * pointer of the label. */
int body_check_labels(const json_t *labels, struct err *err);

/* Write "`parent`/`key`" with RFC 6901 escapes to `out` (ERR_POINTER_MAX bytes), cut at its end. */
void body_pointer(char *out, const char *parent, const char *key);

#endif
