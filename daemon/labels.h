/* labels.h: the clients' own keys and values on jobs and analyses. */
#ifndef SPECTRALD_LABELS_H
#define SPECTRALD_LABELS_H

#include <jansson.h>

#include "common/err.h"

#define LABELS_MAX      32
#define LABEL_KEY_MAX   64
#define LABEL_VALUE_MAX 256

/* 1 to LABEL_KEY_MAX characters of A-Z a-z 0-9 . _ - / */
bool label_key_valid(const char *key);

/* Labels: an object of at most LABELS_MAX strings; keys of [A-Za-z0-9._/-]. ERR_INVALID with the
 * pointer of the label. */
int labels_check(const json_t *labels, struct err *err);

/* A merge patch of labels (RFC 7396): the same, but a null removes. */
int labels_check_patch(const json_t *patch, struct err *err);

/* What `patch` makes of `stored` (JSON text): owned JSON text. ERR_INVALID when the result has too
 * many labels. */
int labels_merge(const char *stored, const json_t *patch, char **out, struct err *err);

#endif
