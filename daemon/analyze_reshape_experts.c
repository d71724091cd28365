/* analyze_reshape_experts.c: see analyze_reshape.h. */
#include "daemon/analyze_reshape.h"

#include "compute/expert_drop.h"

#include <stdlib.h>

/* As the models of transformers name them. */
static const char *const counts[] = {"num_experts", "num_local_experts", "moe_num_experts",
                                     "n_routed_experts", NULL};
static const char *const chosen[] = {"num_experts_per_tok",
                                     "num_experts_per_token",
                                     "num_selected_experts",
                                     "top_k_experts",
                                     "moe_topk",
                                     "moe_top_k",
                                     "moe_k",
                                     NULL};
static const char *const groups[] = {"n_group", "num_expert_group", NULL};
static const char *const groups_chosen[] = {"topk_group", NULL};

static int find_layers(struct analyze *a, struct err *err)
{
    AUTO(freep)
    const struct tensor_table **table = xcalloc(a->n_tables + 1, sizeof(struct tensor_table *));
    struct reshape *r = a->prune->reshape;
    int rc;

    for (size_t i = 0; i < a->n_tables; i++)
        table[i] = &a->table[i];
    rc = moe_find(table, a->n_tables, &r->moe, err);
    if (rc < 0) {
        AUTO(freep) char *text = xstrdup(err->text);

        return err_set_at(err, rc, "/source", "%s", text);
    }
    if (r->moe.n_layers == 0)
        return err_set_at(err, ERR_UNSUPPORTED, "/source",
                          "the model has no experts: no tensor is named ….experts.…");
    r->of = r->moe.layer[0].n_experts;
    for (size_t i = 1; i < r->moe.n_layers; i++)
        if (r->moe.layer[i].n_experts != r->of)
            return err_set_at(err, ERR_UNSUPPORTED, "/source",
                              "\"%.100s\" has %llu experts, \"%.100s\" has %llu: one number in "
                              "config.json could not describe them",
                              r->moe.layer[0].name, (unsigned long long)r->of, r->moe.layer[i].name,
                              (unsigned long long)r->moe.layer[i].n_experts);
    return 0;
}

/* What the router needs to be left with: top_k experts within reach. */
static int check_reach(const struct reshape *r, uint64_t n_groups, struct err *err)
{
    uint64_t top_k = analyze_reshape_config_number(r, chosen);
    uint64_t open = analyze_reshape_config_number(r, groups_chosen), reach = r->kept;
    uint64_t each = r->kept / n_groups;
    bool corrected = false;

    if (n_groups > 1 && open > 0 && open < n_groups)
        reach = open * each;
    for (size_t i = 0; i < r->moe.n_layers; i++)
        corrected |= r->moe.layer[i].corrected;
    if (reach < top_k)
        return err_set_at(err, ERR_INVALID, "/params/keep",
                          "%llu of %llu experts would stay, %llu of them within reach of a token, "
                          "and the router chooses %llu",
                          (unsigned long long)r->kept, (unsigned long long)r->of,
                          (unsigned long long)reach, (unsigned long long)top_k);
    if (r->kept == 0 || (n_groups > 1 && each < (corrected ? 2 : 1)))
        return err_set_at(err, ERR_INVALID, "/params/keep",
                          "%llu of %llu experts would stay, in %llu groups: a group is scored by "
                          "its best experts, and needs %d",
                          (unsigned long long)r->kept, (unsigned long long)r->of,
                          (unsigned long long)n_groups, corrected ? 2 : 1);
    return 0;
}

static int set_kept(struct analyze *a, uint64_t *n_groups, struct err *err)
{
    const struct reshape_params *p = &a->prune->params.reshape;
    struct reshape *r = a->prune->reshape;

    *n_groups = analyze_reshape_config_number(r, groups);
    if (*n_groups == 0)
        *n_groups = 1;
    if (r->of % *n_groups)
        return err_set_at(err, ERR_UNSUPPORTED, "/source",
                          "config.json speaks of %llu groups of the %llu experts",
                          (unsigned long long)*n_groups, (unsigned long long)r->of);
    if (p->keep > r->of || p->keep % *n_groups)
        return err_set_at(err, ERR_INVALID, "/params/keep",
                          "the layers have %llu experts in groups of %llu: expected a multiple of "
                          "%llu, at most %llu",
                          (unsigned long long)r->of, (unsigned long long)(r->of / *n_groups),
                          (unsigned long long)*n_groups, (unsigned long long)r->of);
    r->kept = p->keep ? p->keep : expert_drop_kept((size_t)r->of, (size_t)*n_groups, p->sparsity);
    return check_reach(r, *n_groups, err);
}

/* By the name of the layer, or of what holds its experts. */
static int read_vector(const struct analyze *a, const char *layer, const char *kind, double **out,
                       struct err *err)
{
    AUTO(freep) char *experts = xasprintf("%s%sexperts", layer, *layer ? "." : "");
    size_t n = (size_t)a->prune->reshape->of;
    int r = analyze_reshape_vector(a, experts, kind, n, true, out, err);

    return r == ERR_NOT_FOUND ? analyze_reshape_vector(a, layer, kind, n, false, out, err) : r;
}

static int choose(struct analyze *a, size_t i, uint64_t n_groups, struct err *err)
{
    struct reshape *r = a->prune->reshape;
    const char *name = r->moe.layer[i].name;
    AUTO(freep) double *sum = NULL;
    AUTO(freep) double *count = NULL;
    size_t n = (size_t)r->of;
    struct layer_name said;
    struct err why;
    int rc = read_vector(a, name, "expert_saliency_sum", &sum, err);

    if (rc == 0)
        rc = read_vector(a, name, "expert_count", &count, err);
    if (rc < 0)
        return rc;
    if (expert_drop_saliency(sum, count, n, sum, &why) < 0)
        return err_set_at(err, ERR_INVALID, "/params/stats", "\"%.100s\": %.300s", name, why.text);
    layer_name_read(name, &said);
    r->part[i].name = xstrdup(name);
    r->part[i].block = xasprintf("%.*s", (int)said.n_block, name);
    rc = expert_drop_choose(sum, n, (size_t)n_groups, (size_t)r->kept, r->part[i].keep, err);
    if (rc == 0)
        analyze_reshape_share(r, i, sum);
    return rc;
}

int analyze_reshape_experts(struct analyze *a, struct err *err)
{
    struct reshape *r = a->prune->reshape;
    uint64_t n_groups;
    int rc = find_layers(a, err);

    if (rc == 0)
        rc = set_kept(a, &n_groups, err);
    if (rc == 0)
        rc = analyze_reshape_config_edit(r, counts, r->of, err);
    if (rc < 0)
        return rc;
    analyze_reshape_parts(r, r->moe.n_layers);
    for (size_t i = 0; rc == 0 && i < r->moe.n_layers; i++)
        rc = choose(a, i, n_groups, err);
    return rc;
}

bool analyze_reshape_expert_tensor(const struct reshape *r, uint32_t file, uint32_t index,
                                   struct reshape_tensor *t)
{
    const struct moe_tensor *m = moe_tensor_find(&r->moe, file, index);
    const uint8_t *keep = m ? r->part[m->layer].keep : NULL;
    uint64_t number = 0;

    if (!m)
        return true;
    t->part = m->layer;
    if (m->expert < 0) {
        t->keep = keep;
        t->dim = m->dim;
        return true;
    }
    if (!keep[m->expert])
        return false;
    for (int64_t e = 0; e < m->expert; e++)
        number += keep[e];
    t->name = moe_renamed(t->from->name, m, number);
    return true;
}
