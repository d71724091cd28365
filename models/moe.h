/* moe.h: the experts of a model and what chooses among them, by the names of tensors.
 *
 *   P.experts.3.w1.weight, P.experts.expert_3.wi.weight    a tensor of one expert
 *   P.experts.gate_up_proj [E, ...], …_bias, …_scales      all experts, stacked
 *   P.gate.weight [E, C], P.router.weight, …               the router: a row for each expert
 *   P.gate.e_score_correction_bias [E], P.expert_bias, …   its biases
 *
 * P is the layer ("model.layers.3.mlp"). Experts that every token goes to (P.shared_experts.…) are
 * none of these. Nothing here looks at weights or their dtypes: scales of quantised experts are
 * tensors like others.
 */
#ifndef SPECTRALD_MOE_H
#define SPECTRALD_MOE_H

#include "models/tensor_table.h"

#define MOE_EXPERTS_MAX 65536

/* A tensor that depends on which experts there are. */
struct moe_tensor {
    uint32_t file, index; /* of the tables */
    uint32_t layer;
    int64_t expert;  /* whose it is; or -1: all have a slice of it */
    uint32_t dim;    /* along which, when -1 */
    size_t at, n_at; /* the digits of the expert's number in the name, otherwise */
};

struct moe_layer {
    char *name; /* P; "" when the names begin with "experts." */
    uint64_t n_experts;
    bool corrected; /* the router has a bias for choosing: e_score_correction_bias, … */
};

struct moe {
    struct moe_layer *layer; /* natural order of names */
    size_t n_layers;
    struct moe_tensor *tensor; /* ascending by file and index */
    size_t n_tensors;
};

void moe_done(struct moe *m);

/* None is fine: no layers. ERR_UNSUPPORTED: names in no form above, an expert that is missing or
 * has other tensors than its neighbours, no router; ERR_LIMIT. Takes time for large models. */
int moe_find(const struct tensor_table *const *tables, size_t n_tables, struct moe *out,
             struct err *err);

/* The tensor's entry, or NULL: it stays as it is. */
const struct moe_tensor *moe_tensor_find(const struct moe *m, uint32_t file, uint32_t index);

/* The name of an expert's tensor with another number. The caller's. */
char *moe_renamed(const char *name, const struct moe_tensor *t, uint64_t number);

#endif
