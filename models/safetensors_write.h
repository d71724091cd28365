/* safetensors_write.h: the header of a safetensors file, and the index of several.
 *
 * A header is built from the tensors in the order of their data; what the reader (safetensors.h)
 * would refuse is refused here. Where sizes are known only after the data were written, room for
 * the header is reserved first: one built with the largest possible sizes is never shorter.
 */
#ifndef SPECTRALD_SAFETENSORS_WRITE_H
#define SPECTRALD_SAFETENSORS_WRITE_H

#include "models/tensor_table.h"

/* What "__metadata__" will hold: strings, in order, keys once each. */
struct safetensors_metadata {
    struct safetensors_pair {
        char *key, *value; /* owned */
    } * pair;
    size_t count;
};

#define SAFETENSORS_METADATA_INIT                                                                  \
    {                                                                                              \
        NULL, 0                                                                                    \
    }

void safetensors_metadata_done(struct safetensors_metadata *m);

/* Add a pair, or change the value of one that is there. */
void safetensors_metadata_set(struct safetensors_metadata *m, const char *key, const char *value);

/* A `safetensors_entry` for safetensors_read_with(): keep the pairs of a file that is read; `arg`
 * is a struct safetensors_metadata. */
int safetensors_metadata_keep(void *arg, const char *key, const char *value, size_t len,
                              struct err *err);

/* Append the first bytes of a file to `out`: the length, and the header with `n` tensors whose data
 * follow one another in this order. Of a tensor, the offset is not looked at. "format" is "pt"
 * where `m` (may be NULL) has none that loaders know. The whole is `reserve` bytes, or if that is
 * 0, the least multiple of 8. ERR_LIMIT when `reserve` is too small; ERR_FORMAT, ERR_LIMIT as the
 * reader has them. */
int safetensors_write_header(const struct tensor *t, size_t n, const struct safetensors_metadata *m,
                             uint64_t reserve, struct buf *out, struct err *err);

/* Where a tensor is. */
struct safetensors_place {
    const char *tensor, *file; /* borrowed */
};

/* Append the text of a model.safetensors.index.json; `places` is sorted by tensor. `total` is the
 * sum of the tensors' bytes. ERR_FORMAT, ERR_LIMIT as hf_index_parse() has them. */
int safetensors_write_index(struct safetensors_place *places, size_t n, uint64_t total,
                            struct buf *out, struct err *err);

#endif
