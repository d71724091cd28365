/* bitmask.h: a matrix with zeros as a bit for each element, and the elements that are not zero.
 *
 *   mask     rows x bitmask_row_bytes(cols): bit c & 7 (the lowest first) of byte c >> 3 of a row
 * is 1 where element c is kept; the bits behind the last column are 0 values   the elements that
 * are kept, row by row offsets  for each row, how many are kept in the rows before it
 *
 * This is the layout of `sparse-bitmask` in compressed-tensors 0.9.0 to 0.14.0.1. Elements are of
 * 1, 2, 4 or 8 bytes; matrices are row-major and packed, and the caller owns all memory.
 */
#ifndef SPECTRALD_BITMASK_H
#define SPECTRALD_BITMASK_H

#include "common/err.h"

size_t bitmask_row_bytes(size_t cols);

/* Write the mask of the elements that are not zero, and return how many they are. An element is
 * zero when all of its bits are; with `signed_zero`, also when all but the highest are (-0.0).
 * `weights` are aligned to their size. */
uint64_t bitmask_of(const void *weights, size_t rows, size_t cols, size_t element, bool signed_zero,
                    uint8_t *mask);

/* Write the elements that `mask`, from bitmask_of(), keeps, one after another, and the offsets.
 * `values` has room for all of them; no alignment is needed. */
void bitmask_pack(const void *weights, size_t rows, size_t cols, size_t element,
                  const uint8_t *mask, void *values, int64_t *offsets);

/* Check what was read from somewhere: bits behind the last column are 0, every offset is the number
 * of bits in the rows before it, and there are `n_values` bits in all. ERR_FORMAT names the row.
 * `offsets` needs no alignment. */
int bitmask_check(const uint8_t *mask, const void *offsets, size_t rows, size_t cols,
                  uint64_t n_values, struct err *err);

/* The matrix again, from a mask that was checked; what is not kept is 0. `out` is overwritten, and
 * as `values` needs no alignment. */
void bitmask_unpack(const uint8_t *mask, const void *values, size_t rows, size_t cols,
                    size_t element, void *out);

#endif
