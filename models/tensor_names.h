/* tensor_names.h: tensors of several files, by name. */
#ifndef SPECTRALD_TENSOR_NAMES_H
#define SPECTRALD_TENSOR_NAMES_H

#include "common/base.h"
#include "models/tensor_table.h"

struct named_tensor {
    const struct tensor *t; /* borrowed from its table */
    uint32_t file, index;   /* table[file].t[index] */
};

struct tensor_names {
    struct named_tensor *v; /* by name */
    size_t n;
};

/* Those of table[first, last), which must outlive *out. tensor_names_done() afterwards. */
void tensor_names_make(const struct tensor_table *table, size_t first, size_t last,
                       struct tensor_names *out);
void tensor_names_done(struct tensor_names *n);

/* The tensor of that name, or NULL. */
const struct named_tensor *tensor_names_find(const struct tensor_names *n, const char *name);

#endif
