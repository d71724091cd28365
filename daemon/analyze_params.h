/* analyze_params.h: parameters of an analyze job. */
#ifndef SPECTRALD_ANALYZE_PARAMS_H
#define SPECTRALD_ANALYZE_PARAMS_H

#include <jansson.h>

#include "compute/farms.h"
#include "compute/measure.h"
#include "daemon/locate.h"
#include "models/layers.h"

#define ANALYZE_COMPAT_NAME   "weightwatcher-0.7.5.5"
#define ANALYZE_LIST_MAX      10000 /* entries of params.layers */
#define ANALYZE_REPLICAS_MAX  100   /* of shuffled weights */
#define ANALYZE_BOOTSTRAP_MIN 50    /* replicates */
#define ANALYZE_BOOTSTRAP_MAX 10000
#define ANALYZE_NAME_MAX      4096 /* bytes of one of them that is a name */

/* What the two matrices of an adapter are taken for. */
enum adapter_mode {
    ADAPTER_DELTA = 0, /* what they add to the weights */
    ADAPTER_MERGED,    /* the base's weights with that added */
    ADAPTER_FACTORS,   /* a matrix each */
    ADAPTER_MODE_COUNT
};

/* What is measured unless it is switched off: it takes 0.4 ms of 4096 eigenvalues, whose
 * computation took two seconds. */
#define ANALYZE_MEASURES_DEFAULT (1u << MEASURE_PHASE)

struct analyze_params {
    struct layer_filter filter;
    bool have_base;
    struct source_ref base; /* whose weights are subtracted, or adapted */
    enum adapter_mode adapter;
    bool products, sparse_products; /* of neighbours */
    enum precision precision;
    struct layer_fit_options fit;
    bool want_farms;
    struct farms_params farms; /* its precision is `precision` */
    uint32_t measures;         /* bit set of 1 << enum measure */
    struct measure_options measure;
    bool compat; /* WeightWatcher 0.7.5.5's values where the default differs */
};

void analyze_params_done(struct analyze_params *p);

/* Parse and check `params` (NULL = all defaults). ERR_INVALID or ERR_LIMIT with the JSON pointer
 * of the field at fault ("/params/min_evals"). */
int analyze_params_parse(const json_t *params, struct analyze_params *out, struct err *err);

/* What parsing cannot tell: whether regular expressions compile, and the base is there. May take
 * milliseconds. */
int analyze_params_check(const struct analyze_params *p, const struct config *c, struct err *err);

/* The same parameters with every default filled in and keys in a fixed order: equal requests give
 * equal text. Owned by the caller. */
char *analyze_params_text(const struct analyze_params *p);

#endif
