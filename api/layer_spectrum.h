/* layer_spectrum.h: the cached eigenvalues of one layer of an analysis, as the fit saw them. */
#ifndef SPECTRALD_LAYER_SPECTRUM_H
#define SPECTRALD_LAYER_SPECTRUM_H

#include "api/layer_ref.h"
#include "daemon/records.h"

struct layer_esd {
    struct layer_ref *layer;
    struct buf bytes; /* as cached */
    struct spectrum_record rec;
    double *lambda; /* n of them: all slices together, scaled, ascending */
    size_t n;
    double noise; /* eigenvalues below that are not resolved; 0: all are */
};

/* From the path of a request. ERR_NOT_FOUND. */
int layer_esd_new(const struct request *rq, struct layer_esd *out, struct err *err);
void layer_esd_done(struct layer_esd *e);

/* Find it; on the store thread. ERR_NOT_FOUND also where the layer has no spectrum, and why;
 * ERR_GONE. */
int layer_esd_fetch(struct layer_esd *e, struct store *st, struct err *err);

/* Fill in everything else. ERR_CRASHED: the record is malformed. */
int layer_esd_pool(struct layer_esd *e, struct err *err);

#endif
