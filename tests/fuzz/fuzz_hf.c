/* fuzz_hf.c: index and configs of a model directory, as text and as parsed bytes. */
#include "models/adapter.h"
#include "models/hf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void adapter_config(const uint8_t *data, size_t size)
{
    struct adapter_config c, again;
    struct buf b = BUF_INIT;

    if (adapter_config_parse((const char *)data, size, &c, NULL) == 0) {
        adapter_config_write(&c, &b);
        ASSERT(adapter_config_read(b.data, b.len, &again, NULL) == 0);
        (void)adapter_rank(&again, "model.layers.0.self_attn.q_proj");
        adapter_config_done(&again);
        adapter_config_done(&c);
    }
    if (adapter_config_read(data, size, &c, NULL) == 0)
        adapter_config_done(&c);
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_index ix = HF_INDEX_INIT, again = HF_INDEX_INIT;
    struct hf_config c;
    struct buf b = BUF_INIT;

    if (hf_index_parse((const char *)data, size, &ix, NULL) == 0) {
        hf_index_write(&ix, &b);
        ASSERT(hf_index_read(b.data, b.len, &again, NULL) == 0);
        hf_index_done(&again);
        hf_index_done(&ix);
    }
    if (hf_index_read(data, size, &ix, NULL) == 0)
        hf_index_done(&ix);
    (void)hf_config_parse((const char *)data, size, &c, NULL);
    (void)hf_config_read(data, size, &c, NULL);
    adapter_config(data, size);
    buf_done(&b);
    return 0;
}
