/* layer_compare_data.h: a comparison as its parts share it. Private to layer_compare*.c. */
#ifndef SPECTRALD_LAYER_COMPARE_DATA_H
#define SPECTRALD_LAYER_COMPARE_DATA_H

#include "api/layer_compare.h"
#include "compute/series_trend.h"
#include "models/layers.h"

/* An analysis, in the order of the comparison. */
struct layer_compare_item {
    char id[IDENT_MAX], model[IDENT_MAX];
    double at; /* the number of its label, or its place */
    int64_t created_ms;
    uint64_t n_layers;
    struct digest rows;
};

struct layer_compare_layer {
    char *longname;
    const char *role, *type; /* static */
    uint64_t in;             /* bit i: in analysis i */
    char *before;            /* content in the last analysis but one, or NULL */
    bool changed;            /* by the last step */
};

struct layer_compare {
    struct layer_compare_ask ask;
    struct layer_compare_item item[COMPARE_ANALYSES_MAX];
    size_t n;                                    /* analyses */
    const char *metric[COMPARE_METRICS_MAX + 1]; /* those asked for, and alpha */
    size_t n_metrics;
    size_t alpha; /* which of them it is */
    bool known;   /* the analyses were read */
    size_t read;  /* rows of so many were read, */
    uint64_t row; /* and of the next those before this one */
    size_t next;  /* of its layers the next is probably this one */
    struct layer_compare_layer *layer;
    size_t n_layers, cap;
    double *x; /* [layer][metric][analysis], NaN = none */
    json_t *index;
};

/* The values of a metric of a layer, one for each analysis. */
static inline const double *layer_compare_values(const struct layer_compare *c, size_t layer,
                                                 size_t m)
{
    return c->x + (layer * c->n_metrics + m) * c->n;
}

static inline bool layer_compare_has(const struct layer_compare *c, size_t layer, size_t i)
{
    return c->layer[layer].in >> i & 1;
}

/* Of n values in the order of the comparison; limits for exponents only. */
int layer_compare_trend(const struct layer_compare *c, size_t m, const double *x, struct trend *out,
                        struct err *err);

/* Layers by how far a metric went from the first analysis to the last; *out is malloc'ed. */
int layer_compare_moved(const struct layer_compare *c, size_t m, struct layer_move **out,
                        size_t *count, struct err *err);

/* Means over the layers that have a number in every analysis, into mean[n]; how many those are. */
size_t layer_compare_mean(const struct layer_compare *c, size_t m, double *mean);

#endif
