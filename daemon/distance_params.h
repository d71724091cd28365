/* distance_params.h: parameters of a job of kind `distances`: the other model, and which layers. */
#ifndef SPECTRALD_DISTANCE_PARAMS_H
#define SPECTRALD_DISTANCE_PARAMS_H

#include "daemon/analyze_params.h"

struct distance_params {
    bool cka;     /* the similarity that costs products of matrices, too */
    json_t *body; /* what was asked for, with defaults; owned */
};

void distance_params_done(struct distance_params *p);

/* *layers gets the other model, as its base, and the filters; the caller frees both. ERR_INVALID,
 * ERR_LIMIT with the pointer of the field at fault. */
int distance_params_parse(const json_t *params, struct distance_params *out,
                          struct analyze_params *layers, struct err *err);

/* The same parameters with defaults filled in and keys in order. Owned by the caller. */
char *distance_params_text(const struct distance_params *p);

#endif
