/* tensor_table.c: the flat table, checked once when it is built and again when it is parsed.
 *
 * Names live in chunks that are never moved, so a tensor's name stays valid while others are added.
 */
#include "models/tensor_table.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (1u << 16)
#define TABLE_MAGIC 0x31545453u /* "STT1" */

void tensor_table_done(struct tensor_table *tt)
{
    for (size_t i = 0; i < tt->n_chunks; i++)
        free(tt->chunks[i]);
    free(tt->chunks);
    free(tt->t);
    *tt = (struct tensor_table)TENSOR_TABLE_INIT;
}

static char *keep_name(struct tensor_table *tt, const char *name, size_t len)
{
    char *copy;

    if (tt->n_chunks == 0 || tt->chunk_cap - tt->chunk_used < len + 1) {
        tt->chunk_cap = len + 1 > CHUNK_BYTES ? len + 1 : CHUNK_BYTES;
        tt->chunk_used = 0;
        tt->chunks = xrealloc(tt->chunks, (tt->n_chunks + 1) * sizeof *tt->chunks);
        tt->chunks[tt->n_chunks++] = xmalloc(tt->chunk_cap);
    }
    copy = tt->chunks[tt->n_chunks - 1] + tt->chunk_used;
    memcpy(copy, name, len);
    copy[len] = '\0';
    tt->chunk_used += len + 1;
    return copy;
}

static int check_name(const char *name, size_t len, struct err *err)
{
    if (len == 0)
        return err_set(err, ERR_FORMAT, "a tensor has an empty name");
    if (len > TENSOR_NAME_MAX)
        return err_set(err, ERR_LIMIT, "a tensor name has %zu bytes, the limit is %d", len,
                       TENSOR_NAME_MAX);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return err_set(err, ERR_FORMAT, "a tensor name holds the control character 0x%02x",
                           (unsigned)(unsigned char)name[i]);
    return 0;
}

/* Bytes that dtype and shape ask for. A zero dimension makes the tensor empty, but the other
 * dimensions must not overflow all the same. */
static int shape_bytes(const char *name, enum dtype dtype, uint32_t rank, const uint64_t *dims,
                       uint64_t *out, struct err *err)
{
    uint64_t elements = 1, bits;
    bool empty = false;

    for (uint32_t d = 0; d < rank; d++) {
        if (dims[d] == 0)
            empty = true;
        else if (__builtin_mul_overflow(elements, dims[d], &elements))
            return err_set(err, ERR_FORMAT, "tensor \"%.100s\": the product of its shape overflows",
                           name);
    }
    if (__builtin_mul_overflow(elements, (uint64_t)dtype_bits(dtype), &bits))
        return err_set(err, ERR_FORMAT, "tensor \"%.100s\": its size in bytes overflows", name);
    if (empty)
        bits = 0;
    if (bits % 8)
        return err_set(err, ERR_FORMAT,
                       "tensor \"%.100s\": %llu elements of %u bits do not fill whole bytes", name,
                       (unsigned long long)elements, dtype_bits(dtype));
    *out = bits / 8;
    return 0;
}

int tensor_table_add(struct tensor_table *tt, const char *name, size_t name_len, enum dtype dtype,
                     uint32_t rank, const uint64_t *dims, uint64_t offset, uint64_t nbytes,
                     struct err *err)
{
    struct tensor t = {.dtype = dtype, .rank = rank, .offset = offset, .nbytes = nbytes};
    char shown[101] = "";
    uint64_t want = 0, end;
    int r = check_name(name, name_len, err);

    if (r < 0)
        return r;
    memcpy(shown, name, name_len < 100 ? name_len : 100);
    if (tt->count == TENSORS_MAX)
        return err_set(err, ERR_LIMIT, "the file has more than %d tensors", TENSORS_MAX);
    if (rank > TENSOR_RANK_MAX)
        return err_set(err, ERR_LIMIT, "tensor \"%s\" has %u dimensions, the limit is %d", shown,
                       rank, TENSOR_RANK_MAX);
    r = shape_bytes(shown, dtype, rank, dims, &want, err);
    if (r < 0)
        return r;
    if (want != nbytes)
        return err_set(err, ERR_FORMAT,
                       "tensor \"%s\" has %llu bytes of data, its dtype and shape ask for %llu",
                       shown, (unsigned long long)nbytes, (unsigned long long)want);
    if (__builtin_add_overflow(offset, nbytes, &end))
        return err_set(err, ERR_FORMAT, "tensor \"%s\" ends beyond any file", shown);
    memcpy(t.dims, dims, rank * sizeof *dims);
    t.name = keep_name(tt, name, name_len);
    if (tt->count == tt->cap) {
        tt->cap = tt->cap ? 2 * tt->cap : 64;
        tt->t = xrealloc(tt->t, tt->cap * sizeof *tt->t);
    }
    tt->t[tt->count++] = t;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->nbytes != y->nbytes)
        return x->nbytes < y->nbytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_names(const struct tensor_table *tt, struct err *err)
{
    AUTO(freep) const char **name = xcalloc(tt->count, sizeof *name);

    for (size_t i = 0; i < tt->count; i++)
        name[i] = tt->t[i].name;
    qsort(name, tt->count, sizeof *name, by_name);
    for (size_t i = 1; i < tt->count; i++)
        if (strcmp(name[i - 1], name[i]) == 0)
            return err_set(err, ERR_FORMAT, "the tensor name \"%.100s\" appears twice", name[i]);
    return 0;
}

int tensor_table_validate(struct tensor_table *tt, uint64_t file_size, struct err *err)
{
    if (tt->count == 0)
        return 0;
    qsort(tt->t, tt->count, sizeof *tt->t, by_offset);
    for (size_t i = 0; i < tt->count; i++) {
        const struct tensor *t = &tt->t[i];

        if (t->offset > file_size || t->nbytes > file_size - t->offset)
            return err_set(err, ERR_FORMAT, "tensor \"%.100s\" lies outside the file of %llu bytes",
                           t->name, (unsigned long long)file_size);
        if (i > 0 && t->offset < tt->t[i - 1].offset + tt->t[i - 1].nbytes)
            return err_set(err, ERR_FORMAT, "tensors \"%.100s\" and \"%.100s\" overlap",
                           tt->t[i - 1].name, t->name);
    }
    return check_names(tt, err);
}

uint64_t tensor_elements(const struct tensor *t)
{
    uint64_t n = 1;

    for (uint32_t d = 0; d < t->rank; d++)
        n *= t->dims[d];
    return n;
}

/* --- wire ---------------------------------------------------------------------------------- */

void tensor_table_write(const struct tensor_table *tt, struct buf *out)
{
    buf_put_u32(out, TABLE_MAGIC);
    buf_put_u64(out, tt->count);
    for (size_t i = 0; i < tt->count; i++) {
        const struct tensor *t = &tt->t[i];

        buf_put_str(out, t->name, strlen(t->name));
        buf_put_u32(out, t->dtype);
        buf_put_u32(out, t->rank);
        for (uint32_t d = 0; d < t->rank; d++)
            buf_put_u64(out, t->dims[d]);
        buf_put_u64(out, t->offset);
        buf_put_u64(out, t->nbytes);
    }
}

static int parse_one(struct reader *r, struct tensor_table *tt, struct err *err)
{
    uint64_t dims[TENSOR_RANK_MAX] = {0}, offset, nbytes;
    uint32_t dtype, rank;
    size_t len;
    const char *name = reader_str(r, TENSOR_NAME_MAX, &len);

    dtype = reader_u32(r);
    rank = reader_u32(r);
    if (r->fault || dtype >= DTYPE_COUNT || rank > TENSOR_RANK_MAX)
        return err_set(err, ERR_CRASHED, "a tensor table is malformed");
    for (uint32_t d = 0; d < rank; d++)
        dims[d] = reader_u64(r);
    offset = reader_u64(r);
    nbytes = reader_u64(r);
    if (r->fault)
        return err_set(err, ERR_CRASHED, "a tensor table is cut off");
    return tensor_table_add(tt, name, len, (enum dtype)dtype, rank, dims, offset, nbytes, err);
}

int tensor_table_parse(const void *bytes, size_t len, uint64_t file_size, struct tensor_table *out,
                       struct err *err)
{
    struct tensor_table tt = TENSOR_TABLE_INIT;
    struct reader r;
    uint64_t count;
    int rc = 0;

    reader_init(&r, bytes, len);
    if (reader_u32(&r) != TABLE_MAGIC)
        return err_set(err, ERR_CRASHED, "a tensor table is malformed");
    count = reader_u64(&r);
    for (uint64_t i = 0; rc == 0 && i < count; i++)
        rc = parse_one(&r, &tt, err);
    if (rc == 0 && !reader_ok(&r))
        rc = err_set(err, ERR_CRASHED, "a tensor table has the wrong length");
    if (rc == 0)
        rc = tensor_table_validate(&tt, file_size, err);
    if (rc < 0)
        tensor_table_done(&tt);
    else
        *out = tt;
    return rc;
}
