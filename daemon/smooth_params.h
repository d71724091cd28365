/* smooth_params.h: parameters of a job of kind `smooth`: a method, the layers, an output.
 */
#ifndef SPECTRALD_SMOOTH_PARAMS_H
#define SPECTRALD_SMOOTH_PARAMS_H

#include "compute/smooth.h"
#include "daemon/analyze_params.h"

#define SMOOTH_PERCENT 0.8 /* of `svd`, where nothing else is given: upstream's default */

struct smooth_params {
    bool on; /* the job is of this kind */
    struct smooth_options opt;
    bool embeddings; /* they were named */
};

/* All but the output. *layers gets the filters; the caller frees it. ERR_INVALID, ERR_LIMIT with
 * the pointer of the field. */
int smooth_params_parse(const json_t *params, struct smooth_params *out,
                        struct analyze_params *layers, struct err *err);

#endif
