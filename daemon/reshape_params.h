/* reshape_params.h: parameters of a job of kind `prune` that leaves out whole experts or neurons.
 */
#ifndef SPECTRALD_RESHAPE_PARAMS_H
#define SPECTRALD_RESHAPE_PARAMS_H

#include <jansson.h>

#include "common/err.h"

enum reshape_method { RESHAPE_NONE = 0, RESHAPE_EXPERT_DROP, RESHAPE_WIDTH };

/* By what neurons are scored (compute/width_cut.h). */
enum reshape_rank {
    RESHAPE_BY_STATS = 0, /* wanda where there are statistics, else magnitude */
    RESHAPE_BY_MAGNITUDE,
    RESHAPE_BY_WANDA,
    RESHAPE_BY_WIFV
};

struct reshape_params {
    enum reshape_method method;
    double sparsity;   /* share that goes; when `keep` is 0 */
    uint64_t keep;     /* or how many stay */
    bool by_plan;      /* or what the plan says */
    uint64_t multiple; /* of a width by sparsity; 0 = what suits it */
    enum reshape_rank rank;
};

/* Read the members that these methods take; `plan` is not looked into. ERR_INVALID with the
 * pointer of the field. */
int reshape_params_parse(const json_t *params, enum reshape_method method,
                         struct reshape_params *out, struct err *err);

const char *reshape_method_name(enum reshape_method m);
const char *reshape_rank_name(enum reshape_rank r);

#endif
