/* weights.h: the tensors that a row's matrix is made of, on the way to a compute worker.
 *
 * A task's body names them where it named one matrix, and has their files first among its
 * descriptors, in the same order. row_matrix.h makes one matrix of them.
 */
#ifndef SPECTRALD_WEIGHTS_H
#define SPECTRALD_WEIGHTS_H

#include "daemon/wire.h"
#include "models/layers.h"

#define WEIGHTS_TENSORS_MAX LAYER_PARTS_MAX

struct weights {
    enum layer_made made;
    uint64_t rows, cols, n_slices; /* of the matrix that comes of it */
    size_t n;                      /* tensors: the row's own, or its parts */
    struct wire_matrix tensor[WEIGHTS_TENSORS_MAX];
    double scale; /* of the product */
    bool sparse;  /* MADE_PRODUCT: as product_spectrum() has it, from `seed` */
    bool roots;   /* MADE_PRODUCT: roots of eigenvalues */
    uint64_t seed;
    bool transposed; /* the product is tensor[1] tensor[0] */
};

void weights_of_layer(const struct layer *l, struct weights *out);

void weights_put(struct buf *b, const struct weights *w);
/* Reads and validates: every tensor as wire_get_matrix() does, and that they fit together.
 * ERR_INTERNAL. */
int weights_get(struct reader *r, struct weights *out, struct err *err);

/* The same matrix with rows and columns exchanged. */
void weights_transpose(struct weights *w);

/* As layer_is_product(): weights that only row_matrix_product() takes. */
bool weights_are_product(const struct weights *w);
/* A plain matrix, seen with rows and columns exchanged. */
bool weights_turned(const struct wire_matrix *m);
double weights_product_flops(const struct weights *w);

/* More than 32 bits are needed for an element. */
bool weights_wide(const struct weights *w);

/* Memory that a worker needs besides what it does with a matrix from one file, about. */
double weights_bytes(const struct weights *w);

#endif
