/* tensor_table.h: the flat list of tensors in one model file.
 *
 * A reader produces it from an untrusted file; it travels to the control process as bytes, and
 * tensor_table_parse() validates every row again there.
 */
#ifndef SPECTRALD_TENSOR_TABLE_H
#define SPECTRALD_TENSOR_TABLE_H

#include "common/buf.h"
#include "common/err.h"
#include "models/dtype.h"

#define TENSOR_RANK_MAX 8
#define TENSOR_NAME_MAX 65536   /* bytes */
#define TENSORS_MAX     1000000 /* per file */

struct tensor {
    const char *name; /* NUL-terminated UTF-8 without control characters, in the table's arena */
    enum dtype dtype;
    uint32_t rank;
    uint64_t dims[TENSOR_RANK_MAX]; /* outermost first; row-major, packed, little-endian */
    uint64_t offset;                /* of the first byte, from the start of the file */
    uint64_t nbytes;                /* exactly product(dims) * bits / 8 */
};

struct tensor_table {
    struct tensor *t; /* in ascending order of offset, empty tensors included */
    size_t count;
    /* private */
    size_t cap;
    char **chunks;
    size_t n_chunks, chunk_used, chunk_cap;
};

#define TENSOR_TABLE_INIT                                                                          \
    {                                                                                              \
        NULL, 0, 0, NULL, 0, 0, 0                                                                  \
    }

void tensor_table_done(struct tensor_table *tt);

/* Append a tensor; the name is copied. Checks rank, dtype, overflow and that nbytes is what the
 * shape says. ERR_LIMIT beyond TENSORS_MAX, ERR_FORMAT otherwise. */
int tensor_table_add(struct tensor_table *tt, const char *name, size_t name_len, enum dtype dtype,
                     uint32_t rank, const uint64_t *dims, uint64_t offset, uint64_t nbytes,
                     struct err *err);

/* Sort by (offset, nbytes, name) and check that no two tensors overlap, no two share a name and
 * all lie inside [0, file_size). */
int tensor_table_validate(struct tensor_table *tt, uint64_t file_size, struct err *err);

/* Bytes for the wire and the cache, and back. Parsing validates as above: the bytes may come
 * from a worker that a hostile file has taken over. */
void tensor_table_write(const struct tensor_table *tt, struct buf *out);
int tensor_table_parse(const void *bytes, size_t len, uint64_t file_size, struct tensor_table *out,
                       struct err *err);

/* Product of the dimensions; cannot overflow in a validated table. */
uint64_t tensor_elements(const struct tensor *t);

#endif
