/* layer_compare_data.h: a comparison as its parts share it. Private to layer_compare*.c. */
#ifndef SPECTRALD_LAYER_COMPARE_DATA_H
#define SPECTRALD_LAYER_COMPARE_DATA_H

#include "api/layer_compare.h"
#include "compute/series_trend.h"
#include "daemon/distance_store.h"
#include "daemon/row_text.h"
#include "models/layers.h"

/* An analysis, in the order of the comparison. */
struct layer_compare_item {
    char id[IDENT_MAX], model[IDENT_MAX], job[IDENT_MAX];
    double at; /* the number of its label, or its place */
    int64_t created_ms;
    uint64_t n_layers;
    struct digest rows;
};

enum layer_distance_status {
    LAYER_DISTANCE_ABSENT = 0, /* from the first analysis or the last */
    LAYER_DISTANCE_SHAPE,      /* not the same in both */
    LAYER_DISTANCE_COMPOSED,   /* made of several tensors, in one of the two */
    LAYER_DISTANCE_UNKNOWN,    /* nobody has measured it */
    LAYER_DISTANCE_IDENTICAL,
    LAYER_DISTANCE_MEASURED
};

/* Between the weights of the first analysis and those of the last. */
struct layer_distance {
    enum layer_distance_status status;
    struct digest digest[2]; /* first, last */
    bool has[2];
    char *shape;                   /* of the first that has one */
    struct distance_result result; /* seen from the last */
};
void layer_distance_free(struct layer_distance *d); /* NULL is fine */

struct layer_compare_layer {
    char *longname;
    const char *role, *type;         /* static */
    uint64_t in;                     /* bit i: in analysis i */
    char *before;                    /* content in the last analysis but one, or NULL */
    bool changed;                    /* by the last step */
    struct layer_distance *distance; /* NULL: not asked for, or in neither */
};

struct layer_compare {
    struct layer_compare_ask ask;
    struct layer_compare_item item[COMPARE_ANALYSES_MAX];
    size_t n;                                    /* analyses */
    const char *metric[COMPARE_METRICS_MAX + 1]; /* those asked for, and alpha */
    size_t n_metrics;
    size_t alpha;    /* which of them it is */
    bool known;      /* the analyses were read */
    size_t read;     /* rows of so many were read, */
    uint64_t row;    /* and of the next those before this one */
    size_t next;     /* of its layers the next is probably this one */
    size_t looked;   /* distances of so many layers were looked up */
    bool looked_all; /* or none are wanted */
    char *request;   /* JSON text: what measures distances; or NULL */
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

/* --- distances -------------------------------------------------------------------------------- */

/* Where they are asked for: the layer's content in the first analysis and the last. */
void layer_compare_note_end(const struct layer_compare *c, struct layer_compare_layer *l,
                            size_t item, const struct row_text *t);
/* Once all rows were read, until c->looked_all. */
void layer_compare_look_up_some(struct layer_compare *c, struct store *st);

/* A layer's as a member of its object; what there is of them all. */
void layer_compare_put_distance(const struct layer_compare_layer *l, struct buf *b);
void layer_compare_put_distances(const struct layer_compare *c, struct buf *b);
/* raw, euclidean, relative, cosine, cka; NaN where not known. */
#define LAYER_DISTANCE_COLUMNS 5
void layer_compare_distance_values(const struct layer_compare_layer *l,
                                   double out[LAYER_DISTANCE_COLUMNS]);

#endif
