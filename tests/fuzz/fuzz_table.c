/* fuzz_table.c: a tensor table as a worker that went bad might send it. */
#include "models/layers.h"
#include "models/tensor_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tensor_table tt = TENSOR_TABLE_INIT;
    const struct tensor_table *tables[] = {&tt};
    struct layer_filter f = {.min_evals = 10, .n_limit = 46340};
    struct layer_list ll = LAYER_LIST_INIT;

    if (tensor_table_parse(data, size, 1u << 20, &tt, NULL) < 0)
        return 0;
    if (layers_build(tables, 1, NULL, &ll, NULL) == 0) {
        ASSERT(layers_filter(&ll, &f, NULL) == 0);
        layer_list_done(&ll);
    }
    tensor_table_done(&tt);
    return 0;
}
