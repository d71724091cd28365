/* test_moe.c: experts, routers and feed-forward parts by the names that libraries give them. */
#include "models/feed_forward.h"
#include "models/moe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct model {
    struct tensor_table tt;
    uint64_t at;
};

static void put(struct model *m, enum dtype dtype, uint32_t rank, const uint64_t *dims,
                const char *fmt, ...) PRINTF_LIKE(5, 6);

static void put(struct model *m, enum dtype dtype, uint32_t rank, const uint64_t *dims,
                const char *fmt, ...)
{
    char name[200];
    uint64_t n = dtype_bits(dtype) / 8;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    for (uint32_t i = 0; i < rank; i++)
        n *= dims[i];
    assert_int_equal(
        tensor_table_add(&m->tt, name, strlen(name), dtype, rank, dims, m->at, n, NULL), 0);
    m->at += n;
}
#define PUT(m, rank, dims, ...) put(m, DTYPE_BF16, rank, (const uint64_t[])dims, __VA_ARGS__)
#define D(...)                                                                                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static const struct moe_tensor *find(const struct moe *moe, const struct model *m, const char *name)
{
    for (size_t i = 0; i < m->tt.count; i++)
        if (strcmp(m->tt.t[i].name, name) == 0)
            return moe_tensor_find(moe, 0, (uint32_t)i);
    fail_msg("no tensor %s", name);
    return NULL;
}

static int look(struct model *m, struct moe *out, struct err *err)
{
    const struct tensor_table *tables[] = {&m->tt};

    assert_int_equal(tensor_table_validate(&m->tt, m->at, NULL), 0);
    return moe_find(tables, 1, out, err);
}

static void separate(void **state)
{
    struct model m = {.tt = TENSOR_TABLE_INIT};
    const struct moe_tensor *t;
    struct moe moe;
    char *name;

    (void)state;
    for (int l = 10; l >= 9; l--) {
        for (int e = 11; e >= 0; e--)
            for (int w = 1; w <= 3; w++)
                PUT(&m, 2, D(8, 4), "model.layers.%d.block_sparse_moe.experts.%d.w%d.weight", l, e,
                    w);
        PUT(&m, 2, D(12, 4), "model.layers.%d.block_sparse_moe.gate.weight", l);
    }
    PUT(&m, 2, D(8, 4), "model.layers.9.self_attn.q_proj.weight");
    PUT(&m, 2, D(8, 4), "model.layers.0.mlp.gate_proj.weight");
    PUT(&m, 2, D(12, 4), "model.layers.0.mlp.gate.weight"); /* of no experts */
    assert_int_equal(look(&m, &moe, NULL), 0);
    assert_int_equal(moe.n_layers, 2);
    assert_string_equal(moe.layer[0].name, "model.layers.9.block_sparse_moe");
    assert_string_equal(moe.layer[1].name, "model.layers.10.block_sparse_moe");
    assert_int_equal(moe.layer[0].n_experts, 12);
    assert_false(moe.layer[0].corrected);
    assert_int_equal(moe.n_tensors, 2 * (36 + 1));
    t = find(&moe, &m, "model.layers.10.block_sparse_moe.experts.11.w2.weight");
    assert_int_equal(t->layer, 1);
    assert_int_equal(t->expert, 11);
    name = moe_renamed("model.layers.10.block_sparse_moe.experts.11.w2.weight", t, 7);
    assert_string_equal(name, "model.layers.10.block_sparse_moe.experts.7.w2.weight");
    free(name);
    t = find(&moe, &m, "model.layers.9.block_sparse_moe.gate.weight");
    assert_int_equal(t->layer, 0);
    assert_int_equal(t->expert, -1);
    assert_int_equal(t->dim, 0);
    assert_null(find(&moe, &m, "model.layers.0.mlp.gate.weight"));
    assert_null(find(&moe, &m, "model.layers.0.mlp.gate_proj.weight"));
    moe_done(&moe);
    tensor_table_done(&m.tt);
}

static void stacked(void **state)
{
    struct model m = {.tt = TENSOR_TABLE_INIT};
    struct moe moe;

    (void)state;
    PUT(&m, 3, D(6, 8, 4), "model.layers.1.mlp.experts.gate_up_proj");
    PUT(&m, 2, D(6, 8), "model.layers.1.mlp.experts.gate_up_proj_bias");
    put(&m, DTYPE_U8, 4, (const uint64_t[]){6, 8, 2, 16}, "%s",
        "model.layers.1.mlp.experts.down_proj_blocks");
    PUT(&m, 2, D(6, 4), "model.layers.1.mlp.router.weight");
    PUT(&m, 1, D(6), "model.layers.1.mlp.router.bias");
    PUT(&m, 1, D(4), "model.layers.1.mlp.router.scale");
    PUT(&m, 2, D(1, 6), "model.layers.1.mlp.moe_statics.e_score_correction_bias");
    PUT(&m, 2, D(6, 4), "model.layers.1.mlp.shared_experts.gate_proj.weight");
    PUT(&m, 2, D(1, 4), "model.layers.1.mlp.shared_expert_gate.weight");
    assert_int_equal(look(&m, &moe, NULL), 0);
    assert_int_equal(moe.n_layers, 1);
    assert_int_equal(moe.layer[0].n_experts, 6);
    assert_true(moe.layer[0].corrected);
    assert_int_equal(moe.n_tensors, 6);
    assert_int_equal(find(&moe, &m, "model.layers.1.mlp.experts.gate_up_proj_bias")->dim, 0);
    assert_int_equal(find(&moe, &m, "model.layers.1.mlp.router.bias")->dim, 0);
    assert_int_equal(find(&moe, &m, "model.layers.1.mlp.moe_statics.e_score_correction_bias")->dim,
                     1);
    assert_null(find(&moe, &m, "model.layers.1.mlp.router.scale"));
    assert_null(find(&moe, &m, "model.layers.1.mlp.shared_experts.gate_proj.weight"));
    assert_null(find(&moe, &m, "model.layers.1.mlp.shared_expert_gate.weight"));
    moe_done(&moe);
    tensor_table_done(&m.tt);
}

static void no_experts(void **state)
{
    struct model m = {.tt = TENSOR_TABLE_INIT};
    struct moe moe;

    (void)state;
    PUT(&m, 2, D(6, 4), "model.layers.1.mlp.gate_proj.weight");
    assert_int_equal(look(&m, &moe, NULL), 0);
    assert_int_equal(moe.n_layers, 0);
    moe_done(&moe);
    tensor_table_done(&m.tt);
}

static void wrong(const char *const *name, const uint64_t (*dims)[3], size_t n, const char *says)
{
    struct model m = {.tt = TENSOR_TABLE_INIT};
    struct moe moe;
    struct err err = {0};

    for (size_t i = 0; i < n; i++)
        put(&m, DTYPE_F32, dims[i][2] ? 3 : 2, dims[i], "%s", name[i]);
    assert_int_equal(look(&m, &moe, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, says));
    tensor_table_done(&m.tt);
}
#define WRONG(says, dims, ...)                                                                     \
    do {                                                                                           \
        static const char *const names_[] = {__VA_ARGS__};                                         \
        static const uint64_t dims_[][3] = dims;                                                   \
                                                                                                   \
        wrong(names_, dims_, ARRAY_LEN(names_), says);                                             \
    } while (0)

static void refused(void **state)
{
    (void)state;
    WRONG("no router", D({2, 2, 0}), "m.experts.0.w");
    WRONG("no row for each", D({2, 2, 0}, {2, 2, 0}), "m.experts.0.w", "m.gate.weight");
    WRONG("not numbered", D({2, 2, 0}, {1, 2, 0}), "m.experts.1.w", "m.gate.weight");
    WRONG("not numbered", D({2, 2, 0}, {2, 2, 0}, {2, 2, 0}), "m.experts.0.w", "m.experts.2.w",
          "m.gate.weight");
    WRONG("lacks tensors", D({2, 2, 0}, {2, 2, 0}, {2, 2, 0}), "m.experts.0.a", "m.experts.0.b",
          "m.experts.1.a");
    WRONG("neither", D({2, 2, 2}, {3, 2, 0}), "m.experts.up", "m.experts.up_bias");
    WRONG("neither", D({2, 2, 2}, {2, 2, 0}), "m.experts.up", "m.experts.0.up");
}

/* --- feed-forward parts --------------------------------------------------------------------- */

static int look_ff(struct model *m, struct layer_list *ll, struct feed_forward **f, size_t *n,
                   struct err *err)
{
    const struct tensor_table *tables[] = {&m->tt};

    assert_int_equal(tensor_table_validate(&m->tt, m->at, NULL), 0);
    *ll = (struct layer_list)LAYER_LIST_INIT;
    assert_int_equal(layers_build(tables, 1, NULL, ll, NULL), 0);
    return feed_forward_find(ll, f, n, err);
}

static const char *name_of(const struct layer_list *ll, size_t row)
{
    return row == FEED_FORWARD_NONE ? "" : ll->l[row].longname;
}

static void llama(void **state)
{
    struct model m = {.tt = TENSOR_TABLE_INIT};
    struct layer_list ll;
    struct feed_forward *f;
    size_t n;

    (void)state;
    for (int l = 11; l >= 0; l--) {
        PUT(&m, 2, D(12, 4), "model.layers.%d.mlp.gate_proj.weight", l);
        PUT(&m, 2, D(12, 4), "model.layers.%d.mlp.up_proj.weight", l);
        PUT(&m, 2, D(4, 12), "model.layers.%d.mlp.down_proj.weight", l);
        PUT(&m, 1, D(12), "model.layers.%d.mlp.gate_proj.bias", l);
        PUT(&m, 1, D(4), "model.layers.%d.mlp.down_proj.bias", l);
        PUT(&m, 2, D(4, 4), "model.layers.%d.self_attn.o_proj.weight", l);
    }
    assert_int_equal(look_ff(&m, &ll, &f, &n, NULL), 0);
    assert_int_equal(n, 12);
    assert_string_equal(name_of(&ll, f[10].part[FF_UP]), "model.layers.10.mlp.up_proj");
    assert_string_equal(name_of(&ll, f[10].part[FF_GATE]), "model.layers.10.mlp.gate_proj");
    assert_string_equal(name_of(&ll, f[10].part[FF_DOWN]), "model.layers.10.mlp.down_proj");
    assert_string_equal(name_of(&ll, f[10].part[FF_GATE_BIAS]),
                        "model.layers.10.mlp.gate_proj.bias");
    assert_string_equal(name_of(&ll, f[10].part[FF_UP_BIAS]), "");
    assert_int_equal(f[10].width, 12);
    assert_false(f[10].fused);
    assert_int_equal(feed_forward_dim(&ll, &f[10], FF_UP), 0);
    assert_int_equal(feed_forward_dim(&ll, &f[10], FF_DOWN), 1);
    assert_int_equal(feed_forward_dim(&ll, &f[10], FF_GATE_BIAS), 0);
    free(f);
    layer_list_done(&ll);
    tensor_table_done(&m.tt);
}

static void other_layouts(void **state)
{
    struct model m = {.tt = TENSOR_TABLE_INIT};
    struct layer_list ll;
    struct feed_forward *f;
    size_t n;

    (void)state;
    PUT(&m, 2, D(24, 4), "a.layers.0.mlp.gate_up_proj.weight"); /* Phi-3 */
    PUT(&m, 2, D(4, 12), "a.layers.0.mlp.down_proj.weight");
    PUT(&m, 2, D(4, 16), "b.h.0.mlp.c_fc.weight"); /* GPT-2 */
    PUT(&m, 1, D(16), "b.h.0.mlp.c_fc.bias");
    PUT(&m, 2, D(16, 4), "b.h.0.mlp.c_proj.weight");
    PUT(&m, 1, D(4), "b.h.0.mlp.c_proj.bias");
    PUT(&m, 2, D(12, 4), "c.layer.0.intermediate.dense.weight"); /* BERT */
    PUT(&m, 2, D(4, 12), "c.layer.0.output.dense.weight");
    PUT(&m, 2, D(4, 4), "c.layer.0.attention.output.dense.weight");
    /* c_proj says (in, out) only in a model of that kind */
    const struct tensor_table *tables[] = {&m.tt};
    const struct hf_config gpt2 = {.model_type = "gpt2"};

    assert_int_equal(tensor_table_validate(&m.tt, m.at, NULL), 0);
    ll = (struct layer_list)LAYER_LIST_INIT;
    assert_int_equal(layers_build(tables, 1, &gpt2, &ll, NULL), 0);
    assert_int_equal(feed_forward_find(&ll, &f, &n, NULL), 0);
    assert_int_equal(n, 3);
    assert_true(f[0].fused);
    assert_int_equal(f[0].width, 12);
    assert_int_equal(f[1].width, 16);
    assert_int_equal(feed_forward_dim(&ll, &f[1], FF_UP), 1);
    assert_int_equal(feed_forward_dim(&ll, &f[1], FF_DOWN), 0);
    assert_string_equal(name_of(&ll, f[1].part[FF_UP_BIAS]), "b.h.0.mlp.c_fc.bias");
    assert_string_equal(name_of(&ll, f[2].part[FF_DOWN]), "c.layer.0.output.dense");
    free(f);
    layer_list_done(&ll);
    tensor_table_done(&m.tt);
}

static void no_parts(void **state)
{
    static const struct {
        const char *says, *name[3];
        uint64_t dims[3][2];
    } cases[] = {
        {"no tensors", {"h.0.q_proj.weight"}, {{4, 4}}},
        {"belongs to no", {"h.0.mlp.up_proj.weight"}, {{8, 4}}},
        {"belongs to no", {"h.0.mlp.up_proj.weight", "h.0.mlp.down_proj.weight"}, {{8, 4}, {4, 6}}},
        {"expert_drop", {"h.0.mlp.experts.0.up_proj.weight"}, {{8, 4}}},
        {"quantised",
         {"h.0.mlp.up_proj.weight", "h.0.mlp.down_proj.weight",
          "h.0.mlp.down_proj.weight_scale_inv"},
         {{8, 4}, {4, 8}, {1, 1}}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct model m = {.tt = TENSOR_TABLE_INIT};
        struct layer_list ll;
        struct feed_forward *f;
        struct err err = {0};
        size_t n;

        for (size_t k = 0; k < 3 && cases[i].name[k]; k++)
            put(&m, DTYPE_F32, 2, cases[i].dims[k], "%s", cases[i].name[k]);
        assert_int_equal(look_ff(&m, &ll, &f, &n, &err), ERR_UNSUPPORTED);
        assert_non_null(strstr(err.text, cases[i].says));
        layer_list_done(&ll);
        tensor_table_done(&m.tt);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(separate), cmocka_unit_test(stacked), cmocka_unit_test(no_experts),
        cmocka_unit_test(refused),  cmocka_unit_test(llama),   cmocka_unit_test(other_layouts),
        cmocka_unit_test(no_parts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
