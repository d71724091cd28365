/* hf.h: the side files of a Hugging Face model directory. All of them are untrusted. */
#ifndef SPECTRALD_HF_H
#define SPECTRALD_HF_H

#include <jansson.h>

#include "common/buf.h"
#include "common/err.h"

#define HF_INDEX_BYTES_MAX  (64u << 20)
#define HF_CONFIG_BYTES_MAX (1u << 20)
#define HF_SHARDS_MAX       10000

/* model.safetensors.index.json: which shard holds which tensor. */
struct hf_index {
    char **shard; /* owned, distinct, ascending; each a single path component *.safetensors */
    size_t n_shards;
    struct hf_index_entry {
        char *tensor;   /* owned */
        uint32_t shard; /* index into shard[] */
    } * entry;          /* ascending by tensor name */
    size_t n_entries;
};
#define HF_INDEX_INIT                                                                              \
    {                                                                                              \
        NULL, 0, NULL, 0                                                                           \
    }

void hf_index_done(struct hf_index *ix);
/* Parse the JSON text. ERR_FORMAT when it is not an index or a shard name is unsafe (not a
 * single plain component ending in .safetensors); ERR_LIMIT beyond the sizes above. */
int hf_index_parse(const char *json, size_t len, struct hf_index *out, struct err *err);
void hf_index_write(const struct hf_index *ix, struct buf *out); /* for the wire */
int hf_index_read(const void *bytes, size_t len, struct hf_index *out, struct err *err);

/* True when `name` is safe as a shard file name: one component, no leading dot, no control
 * characters, ends in ".safetensors". */
bool hf_shard_name_ok(const char *name, size_t len);

/* A JSON object, behind a limit on its depth; `what` it is, for messages. ERR_FORMAT, ERR_LIMIT. */
int hf_load_object(const char *json, size_t len, const char *what, json_t **out, struct err *err);

/* config.json: hints only; names and shapes decide. */
struct hf_config {
    char model_type[64];  /* "" when absent; plain characters only */
    uint64_t hidden_size; /* 0 when absent; also n_embd, d_model; text_config too */
    uint64_t num_layers;  /* num_hidden_layers, n_layer */
    uint64_t num_experts; /* num_local_experts, num_experts, n_routed_experts */
    uint64_t vocab_size;
    bool tie_word_embeddings;
};
int hf_config_parse(const char *json, size_t len, struct hf_config *out, struct err *err);
void hf_config_write(const struct hf_config *c, struct buf *out);
int hf_config_read(const void *bytes, size_t len, struct hf_config *out, struct err *err);

#endif
