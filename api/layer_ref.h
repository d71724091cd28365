/* layer_ref.h: one layer of an analysis, as a path names it: by layer_id (digits only) or by its
 * longname.
 */
#ifndef SPECTRALD_LAYER_REF_H
#define SPECTRALD_LAYER_REF_H

#include "api/request.h"

struct layer_ref {
    char analysis[IDENT_MAX];
    char *name; /* as in the path */
    struct layer_row row;
    struct analysis_record record;
};

/* From the arguments {analysis} and {layer} of the path; the caller owns *out. ERR_NOT_FOUND. */
int layer_ref_new(const struct request *rq, struct layer_ref **out, struct err *err);
void layer_ref_free(struct layer_ref *l);

/* Fill in `record` and `row`. On the store thread. ERR_NOT_FOUND, ERR_GONE, or a store's error.
 */
int layer_ref_read(struct layer_ref *l, struct store *st, struct err *err);

#endif
