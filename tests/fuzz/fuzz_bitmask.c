/* fuzz_bitmask.c: a mask, offsets and values of any bytes: what is accepted is what packing the
 * matrix again gives. */
#include <stdlib.h>
#include <string.h>

#include "compute/bitmask.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void there_and_back(const uint8_t *mask, const uint8_t *values, uint64_t n, size_t rows,
                           size_t cols, size_t element)
{
    size_t bytes = rows * bitmask_row_bytes(cols);
    AUTO(freep) uint8_t *w = xcalloc(rows * cols + 1, element);
    AUTO(freep) uint8_t *again = xcalloc(bytes + 1, 1);
    uint64_t kept;

    bitmask_unpack(mask, values, rows, cols, element, w);
    kept = bitmask_of(w, rows, cols, element, false, again);
    ASSERT(kept <= n); /* a value that is kept may be zero */
    for (size_t i = 0; i < bytes; i++)
        ASSERT((again[i] & ~mask[i]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t rows, cols, element, bytes;
    uint64_t n;

    if (size < 3)
        return 0;
    rows = data[0] % 32;
    cols = data[1];
    element = (size_t)1 << data[2] % 4;
    data += 3;
    size -= 3;
    bytes = rows * bitmask_row_bytes(cols);
    if (size < bytes + 8 * rows)
        return 0;
    n = (size - bytes - 8 * rows) / element;
    if (bitmask_check(data, data + bytes, rows, cols, n, NULL) == 0)
        there_and_back(data, data + bytes + 8 * rows, n, rows, cols, element);
    return 0;
}
