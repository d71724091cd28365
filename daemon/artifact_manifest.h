/* artifact_manifest.h: the files that an artifact's manifest lists.
 *
 * A manifest is the text of one JSON object without blanks between its tokens (row_text.h). Its
 * member `files` is an array of {"name", "bytes", "blake2b", …}; the others are for clients.
 */
#ifndef SPECTRALD_ARTIFACT_MANIFEST_H
#define SPECTRALD_ARTIFACT_MANIFEST_H

#include "common/digest.h"

#define ARTIFACT_FILES_MAX 4096
#define ARTIFACT_NAME_MAX  255

struct artifact_file {
    char *name; /* of a file in the artifact's directory: no slash */
    uint64_t nbytes;
    struct digest blake2b;
};
struct artifact_manifest {
    struct artifact_file *file;
    size_t count;
};
void artifact_manifest_done(struct artifact_manifest *m);

/* ERR_INTERNAL when it is no such text. */
int artifact_manifest_parse(const char *text, struct artifact_manifest *out, struct err *err);

/* The file of that name, or NULL. */
const struct artifact_file *artifact_manifest_find(const struct artifact_manifest *m,
                                                   const char *name);

#endif
