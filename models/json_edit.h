/* json_edit.h: change one member of a JSON object, given as text, and no other byte.
 *
 * For configuration files that belong to somebody else: order, spacing and the way numbers are
 * written stay. A path names members from the outside in: {"text_config", "num_experts"}.
 * Functions append the whole new text to `out`, and nothing on failure.
 *
 * ERR_FORMAT: the text is no JSON object, names a member twice, or is nested more than
 * JSON_SCAN_DEPTH_MAX (json_scan.h) beneath a member on the way. ERR_NOT_FOUND: the object that the
 * member belongs to is not there, or is no object.
 */
#ifndef SPECTRALD_JSON_EDIT_H
#define SPECTRALD_JSON_EDIT_H

#include "common/buf.h"
#include "common/err.h"

/* Give a member the value `json` (JSON text; ERR_INVALID when it is not). One that is not there
 * comes last in its object, spaced like the one before it. Lines after the first of `json` are
 * indented as far as the member. */
int json_edit_set(const char *text, size_t len, const char *const *path, size_t n_path,
                  const char *json, struct buf *out, struct err *err);

/* Remove a member with its comma. Also ERR_NOT_FOUND when it is not there. */
int json_edit_remove(const char *text, size_t len, const char *const *path, size_t n_path,
                     struct buf *out, struct err *err);

#endif
