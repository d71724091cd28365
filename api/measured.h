/* measured.h: the layers that a decision is made on: a metric of every tensor, from the rows of an
 * analysis or sent along by the client.
 */
#ifndef SPECTRALD_MEASURED_H
#define SPECTRALD_MEASURED_H

#include <jansson.h>

#include "models/layers.h"
#include "storage/store.h"

#define MEASURED_MAX        50000 /* tensors */
#define MEASURED_METRIC_MAX 64    /* bytes of a metric's name */

#define MEASURED_NUMBERS  7
#define MEASURED_TEXT_MAX 26

struct measured_tensor {
    char *name;   /* longname of a row; as sent */
    char *tensor; /* full name of the tensor; as sent */
    char *block;  /* "" outside any */
    enum layer_type type;
    enum layer_role role;
    double value; /* the metric; NaN = none. The others, too */
    double n_eigs, lambda_max, norm, alpha, D, alpha_weighted;
    /* The same as text, as a row has it, so that nobody needs to format it again; "" = not known.
     * Order: value, n_eigs, … */
    char text[MEASURED_NUMBERS][MEASURED_TEXT_MAX];
};

struct measured {
    struct measured_tensor *t;
    size_t count;
    char metric[MEASURED_METRIC_MAX + 1];
    bool sent; /* by the client, in its order; else rows, in natural order of their names */
};

void measured_done(struct measured *m);

/* A dense matrix or a convolution: not an embedding, nor anything without a spectrum. */
bool measured_is_matrix(const struct measured_tensor *t);

/* The metric that is asked for. `name` NULL: alpha_mid; for metrics sent along, the first of
 * alpha_mid, alpha, alpha_peak that a tensor has. ERR_INVALID at /metric. */
int measured_choose(struct measured *m, const json_t *name, const json_t *sent, struct err *err);

/* Add rows of an analysis. ERR_LIMIT, ERR_INTERNAL. */
int measured_add_rows(struct measured *m, const struct layer_row_list *rows, struct err *err);

/* Add a tensor that the client named; its block is read from the name where `block` is NULL. */
struct measured_tensor *measured_add_named(struct measured *m, const char *name, const char *block);
/* An array of at most eight whole numbers from 0. */
bool measured_is_shape(const json_t *value);

/* Where no row has the usual metric, because they were written before it was computed: alpha. */
void measured_fall_back(struct measured *m);

/* Take {tensor: {"<metric>": number or null, …, "num_evals", "block": text}, …}. ERR_INVALID with
 * the pointer. */
int measured_take_sent(struct measured *m, const json_t *metrics, struct err *err);

#endif
