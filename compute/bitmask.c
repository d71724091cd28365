/* bitmask.c: see bitmask.h. Rows are walked eight elements, a byte of the mask, at a time; elements
 * are copied as bytes, so that no type is assumed. */
#include "compute/bitmask.h"

#include <string.h>

size_t bitmask_row_bytes(size_t cols)
{
    return cols / 8 + (cols % 8 != 0);
}

/* --- which are kept ------------------------------------------------------------------------- */

#define DEFINE_MASK_ROW(name, type)                                                                \
    static uint64_t name(const void *row, size_t cols, bool signed_zero, uint8_t *mask)            \
    {                                                                                              \
        const type *w = row;                                                                       \
        type magnitude = signed_zero ? (type)((type) ~(type)0 >> 1) : (type) ~(type)0;             \
        uint64_t kept = 0;                                                                         \
                                                                                                   \
        for (size_t c = 0; c < cols; c += 8) {                                                     \
            size_t n = cols - c < 8 ? cols - c : 8;                                                \
            unsigned bits = 0;                                                                     \
                                                                                                   \
            for (size_t i = 0; i < n; i++)                                                         \
                bits |= (unsigned)((w[c + i] & magnitude) != 0) << i;                              \
            mask[c >> 3] = (uint8_t)bits;                                                          \
            kept += (unsigned)__builtin_popcount(bits);                                            \
        }                                                                                          \
        return kept;                                                                               \
    }
DEFINE_MASK_ROW(mask_row8, uint8_t)
DEFINE_MASK_ROW(mask_row16, uint16_t)
DEFINE_MASK_ROW(mask_row32, uint32_t)
DEFINE_MASK_ROW(mask_row64, uint64_t)

uint64_t bitmask_of(const void *weights, size_t rows, size_t cols, size_t element, bool signed_zero,
                    uint8_t *mask)
{
    const uint8_t *w = weights;
    size_t stride = bitmask_row_bytes(cols);
    uint64_t kept = 0;

    ASSERT(element == 1 || element == 2 || element == 4 || element == 8);
    for (size_t r = 0; r < rows; r++) {
        const uint8_t *row = w + r * cols * element;
        uint8_t *m = mask + r * stride;

        kept += element == 1   ? mask_row8(row, cols, signed_zero, m)
                : element == 2 ? mask_row16(row, cols, signed_zero, m)
                : element == 4 ? mask_row32(row, cols, signed_zero, m)
                               : mask_row64(row, cols, signed_zero, m);
    }
    return kept;
}

/* --- packing -------------------------------------------------------------------------------- */

/* `element` is a constant where this is used: the copies become single moves. */
static inline __attribute__((always_inline)) uint8_t *pack_row(const uint8_t *row, size_t cols,
                                                               size_t element, const uint8_t *mask,
                                                               uint8_t *out)
{
    for (size_t c = 0; c < cols; c += 8)
        for (unsigned bits = mask[c >> 3]; bits; bits &= bits - 1) {
            memcpy(out, row + (c + (unsigned)__builtin_ctz(bits)) * element, element);
            out += element;
        }
    return out;
}

static inline __attribute__((always_inline)) const uint8_t *unpack_row(const uint8_t *in,
                                                                       size_t cols, size_t element,
                                                                       const uint8_t *mask,
                                                                       uint8_t *row)
{
    for (size_t c = 0; c < cols; c += 8)
        for (unsigned bits = mask[c >> 3]; bits; bits &= bits - 1) {
            memcpy(row + (c + (unsigned)__builtin_ctz(bits)) * element, in, element);
            in += element;
        }
    return in;
}

void bitmask_pack(const void *weights, size_t rows, size_t cols, size_t element,
                  const uint8_t *mask, void *values, int64_t *offsets)
{
    const uint8_t *w = weights;
    size_t stride = bitmask_row_bytes(cols);
    uint8_t *out = values;

    for (size_t r = 0; r < rows; r++) {
        const uint8_t *row = w + r * cols * element, *m = mask + r * stride;

        offsets[r] = (int64_t)((size_t)(out - (uint8_t *)values) / element);
        out = element == 1   ? pack_row(row, cols, 1, m, out)
              : element == 2 ? pack_row(row, cols, 2, m, out)
              : element == 4 ? pack_row(row, cols, 4, m, out)
                             : pack_row(row, cols, 8, m, out);
    }
}

void bitmask_unpack(const uint8_t *mask, const void *values, size_t rows, size_t cols,
                    size_t element, void *out)
{
    const uint8_t *in = values;
    uint8_t *w = out;
    size_t stride = bitmask_row_bytes(cols);

    memset(out, 0, rows * cols * element);
    for (size_t r = 0; r < rows; r++) {
        uint8_t *row = w + r * cols * element;
        const uint8_t *m = mask + r * stride;

        in = element == 1   ? unpack_row(in, cols, 1, m, row)
             : element == 2 ? unpack_row(in, cols, 2, m, row)
             : element == 4 ? unpack_row(in, cols, 4, m, row)
                            : unpack_row(in, cols, 8, m, row);
    }
}

/* --- what comes from elsewhere -------------------------------------------------------------- */

int bitmask_check(const uint8_t *mask, const void *offsets, size_t rows, size_t cols,
                  uint64_t n_values, struct err *err)
{
    size_t stride = bitmask_row_bytes(cols);
    unsigned beyond = cols % 8 ? 0xffu << cols % 8 & 0xffu : 0;
    uint64_t kept = 0;

    for (size_t r = 0; r < rows; r++) {
        const uint8_t *m = mask + r * stride;
        int64_t offset;

        memcpy(&offset, (const uint8_t *)offsets + r * sizeof offset, sizeof offset);
        if (offset < 0 || (uint64_t)offset != kept)
            return err_set(err, ERR_FORMAT,
                           "row %zu begins at value %lld, the mask says at value %llu", r,
                           (long long)offset, (unsigned long long)kept);
        for (size_t i = 0; i < stride; i++)
            kept += (unsigned)__builtin_popcount(m[i]);
        if (stride && m[stride - 1] & beyond)
            return err_set(err, ERR_FORMAT, "row %zu has bits behind its last column", r);
    }
    if (kept != n_values)
        return err_set(err, ERR_FORMAT, "the mask keeps %llu values, there are %llu",
                       (unsigned long long)kept, (unsigned long long)n_values);
    return 0;
}
