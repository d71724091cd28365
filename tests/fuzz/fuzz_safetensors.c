/* fuzz_safetensors.c: any header of any file size; an accepted one must survive the wire. */
#include <string.h>

#include "models/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tensor_table tt = TENSOR_TABLE_INIT, again = TENSOR_TABLE_INIT;
    struct buf b = BUF_INIT;
    uint16_t extra = 0;
    uint64_t file_size;

    if (size < 2)
        return 0;
    memcpy(&extra, data, 2);
    file_size = 8 + (size - 2) + extra;
    if (safetensors_parse((const char *)data + 2, size - 2, file_size, &tt, NULL) < 0)
        return 0;
    tensor_table_write(&tt, &b);
    ASSERT(tensor_table_parse(b.data, b.len, file_size, &again, NULL) == 0);
    ASSERT(again.count == tt.count);
    buf_done(&b);
    tensor_table_done(&tt);
    tensor_table_done(&again);
    return 0;
}
