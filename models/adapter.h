/* adapter.h: low-rank adapters (LoRA, arXiv 2106.09685) as Hugging Face's PEFT stores them: pairs
 * of tensors MODULE.lora_A, MODULE.lora_B, with `.weight` or `.NAME.weight` behind, or
 * MODULE.lora_embedding_A and _B; and what adapter_config.json says of their scale.
 */
#ifndef SPECTRALD_ADAPTER_H
#define SPECTRALD_ADAPTER_H

#include "models/layers.h"

#define ADAPTER_CONFIG_NAME      "adapter_config.json"
#define ADAPTER_CONFIG_BYTES_MAX (4u << 20)
#define ADAPTER_PATTERNS_MAX     100000
#define ADAPTER_RANK_MAX         1000000
#define ADAPTER_ALPHA_MAX        1e9 /* its absolute value */

/* A value for modules whose name ends in `name`, a whole component. */
struct adapter_pattern {
    char *name;
    double value;
    uint32_t order; /* the first that matches counts */
    bool whole;     /* the name must be all of the module's */
};

struct adapter_patterns {
    struct adapter_pattern *v; /* ascending by name */
    size_t n;
};

struct adapter_config {
    double alpha;
    uint64_t rank; /* 0: not said */
    struct adapter_patterns alphas, ranks;
    bool rank_stabilised; /* alpha / sqrt(rank) instead of alpha / rank */
    bool transposed;      /* fan_in_fan_out: the weights are stored (in, out) */
};

void adapter_config_done(struct adapter_config *c);

/* ERR_FORMAT, ERR_LIMIT, ERR_UNSUPPORTED; the text names the member. */
int adapter_config_parse(const char *json, size_t len, struct adapter_config *out, struct err *err);
/* For the wire and the cache, and back. */
void adapter_config_write(const struct adapter_config *c, struct buf *out);
int adapter_config_read(const void *bytes, size_t len, struct adapter_config *out, struct err *err);

/* The factor on B A of a module, whose rank is `rank`. */
double adapter_scale(const struct adapter_config *c, const char *module, uint64_t rank);
/* The rank that the module's adapter should have; 0: not said. */
uint64_t adapter_rank(const struct adapter_config *c, const char *module);

/* --- pairs ----------------------------------------------------------------------------------- */

struct adapter_pair {
    size_t a, b;        /* rows of the list, before it is sorted again */
    const char *module; /* as in the tensors' names; the list's */
    const char *name;   /* the longname of both together: "….lora_BA"; the list's */
    bool embedding;     /* the weights are (in, out) */
    bool dora;
};

/* Pairs of matrices that fit together. What is half of a pair, or no matrix, is skipped then:
 * SKIP_ADAPTER_FORM. The caller frees *out. */
size_t adapter_pairs(struct layer_list *ll, struct adapter_pair **out);

/* The module's name in the model that the adapter is for: without PEFT's "base_model.model.". */
const char *adapter_module_of_base(const char *module);

#endif
