/* test_layers.c: names of real libraries -> block, role, type; filters; tables that lie. */
#include "models/layers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct expect {
    const char *tensor;
    uint64_t dims[4];
    uint32_t rank;
    const char *longname, *name, *block, *role, *type;
    enum skip_reason skip;
};

static const struct expect expected[] = {
    {"model.layers.10.self_attn.q_proj.weight",
     {8, 8},
     2,
     "model.layers.10.self_attn.q_proj",
     "q_proj",
     "model.layers.10",
     "q",
     "dense",
     SKIP_NONE},
    {"model.layers.2.mlp.down_proj.weight",
     {8, 16},
     2,
     "model.layers.2.mlp.down_proj",
     "down_proj",
     "model.layers.2",
     "down",
     "dense",
     SKIP_NONE},
    {"model.layers.2.input_layernorm.weight",
     {8},
     1,
     "model.layers.2.input_layernorm",
     "input_layernorm",
     "model.layers.2",
     "norm",
     "norm",
     SKIP_NORM},
    {"model.embed_tokens.weight",
     {99, 8},
     2,
     "model.embed_tokens",
     "embed_tokens",
     "",
     "embedding",
     "embedding",
     SKIP_NONE},
    {"lm_head.weight", {99, 8}, 2, "lm_head", "lm_head", "", "head", "dense", SKIP_NONE},
    {"transformer.h.11.attn.c_attn.weight",
     {8, 24},
     2,
     "transformer.h.11.attn.c_attn",
     "c_attn",
     "transformer.h.11",
     "qkv",
     "conv1d",
     SKIP_NONE},
    {"transformer.h.11.attn.c_proj.weight",
     {8, 8},
     2,
     "transformer.h.11.attn.c_proj",
     "c_proj",
     "transformer.h.11",
     "o",
     "dense",
     SKIP_NONE},
    {"transformer.h.11.attn.bias",
     {1, 1, 8, 8},
     4,
     "transformer.h.11.attn.bias",
     "bias",
     "transformer.h.11",
     "other",
     "other",
     SKIP_MASK},
    {"transformer.h.11.attn.c_attn.bias",
     {24},
     1,
     "transformer.h.11.attn.c_attn.bias",
     "bias",
     "transformer.h.11",
     "bias",
     "bias",
     SKIP_BIAS},
    {"gpt_neox.layers.0.mlp.dense_4h_to_h.weight",
     {8, 32},
     2,
     "gpt_neox.layers.0.mlp.dense_4h_to_h",
     "dense_4h_to_h",
     "gpt_neox.layers.0",
     "down",
     "dense",
     SKIP_NONE},
    {"bert.encoder.layer.5.attention.output.dense.weight",
     {8, 8},
     2,
     "bert.encoder.layer.5.attention.output.dense",
     "dense",
     "bert.encoder.layer.5",
     "o",
     "dense",
     SKIP_NONE},
    {"bert.encoder.layer.5.output.dense.weight",
     {8, 32},
     2,
     "bert.encoder.layer.5.output.dense",
     "dense",
     "bert.encoder.layer.5",
     "down",
     "dense",
     SKIP_NONE},
    {"bert.embeddings.word_embeddings.weight",
     {99, 8},
     2,
     "bert.embeddings.word_embeddings",
     "word_embeddings",
     "",
     "embedding",
     "embedding",
     SKIP_NONE},
    {"encoder.block.3.layer.0.SelfAttention.k.weight",
     {8, 8},
     2,
     "encoder.block.3.layer.0.SelfAttention.k",
     "k",
     "encoder.block.3",
     "k",
     "dense",
     SKIP_NONE},
    {"layer1.0.conv2.weight",
     {8, 4, 3, 3},
     4,
     "layer1.0.conv2",
     "conv2",
     "layer1.0",
     "conv",
     "conv2d",
     SKIP_NONE},
    {"layer1.0.bn2.running_var",
     {8},
     1,
     "layer1.0.bn2.running_var",
     "running_var",
     "layer1.0",
     "norm",
     "norm",
     SKIP_NORM},
    {"blocks.2.attn.qkv.weight",
     {24, 8},
     2,
     "blocks.2.attn.qkv",
     "qkv",
     "blocks.2",
     "qkv",
     "dense",
     SKIP_NONE},
    {"model.layers.1.block_sparse_moe.experts.7.w2.weight",
     {8, 16},
     2,
     "model.layers.1.block_sparse_moe.experts.7.w2",
     "w2",
     "model.layers.1",
     "expert",
     "dense",
     SKIP_NONE},
    {"model.layers.1.block_sparse_moe.gate.weight",
     {8, 16},
     2,
     "model.layers.1.block_sparse_moe.gate",
     "gate",
     "model.layers.1",
     "router",
     "dense",
     SKIP_NONE},
    {"backbone.layers.0.mixer.conv1d.weight",
     {16, 1, 4},
     3,
     "backbone.layers.0.mixer.conv1d",
     "conv1d",
     "backbone.layers.0",
     "other",
     "other",
     SKIP_RANK},
    {"attn.to_out.0.weight", {8, 8}, 2, "attn.to_out.0", "to_out.0", "", "o", "dense", SKIP_NONE},
    {"logit_scale", {0}, 0, "logit_scale", "logit_scale", "", "other", "other", SKIP_ONE_DIMENSION},
};

static void add(struct tensor_table *tt, const char *name, uint32_t rank, const uint64_t *dims,
                enum dtype t, uint64_t *at)
{
    uint64_t n = dtype_bits(t) / 8;

    for (uint32_t d = 0; d < rank; d++)
        n *= dims[d];
    assert_int_equal(tensor_table_add(tt, name, strlen(name), t, rank, dims, *at, n, NULL), 0);
    *at += n;
}

static const struct layer *find(const struct layer_list *ll, const char *longname)
{
    for (size_t i = 0; i < ll->count; i++)
        if (strcmp(ll->l[i].longname, longname) == 0)
            return &ll->l[i];
    print_error("no row %s\n", longname);
    fail();
    return NULL;
}

static void names_of_libraries(void **state)
{
    struct tensor_table tt = TENSOR_TABLE_INIT;
    const struct tensor_table *tables[] = {&tt};
    struct layer_list ll;
    uint64_t at = 8;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        add(&tt, expected[i].tensor, expected[i].rank, expected[i].dims, DTYPE_F32, &at);
    assert_int_equal(tensor_table_validate(&tt, at, NULL), 0);
    assert_int_equal(layers_build(tables, 1, NULL, &ll, NULL), 0);
    assert_int_equal(ll.count, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        const struct expect *e = &expected[i];
        const struct layer *l = find(&ll, e->longname);

        assert_string_equal(l->tensor, e->tensor);
        assert_string_equal(l->name, e->name);
        assert_string_equal(l->block, e->block);
        assert_string_equal(layer_role_name(l->role), e->role);
        assert_string_equal(layer_type_name(l->type), e->type);
        assert_int_equal(l->skip, e->skip);
    }
    layer_list_done(&ll);
    tensor_table_done(&tt);
}

static struct layer_list small_model(struct tensor_table *tt)
{
    const struct tensor_table *tables[] = {tt};
    const uint64_t mat[] = {20, 10}, stack[] = {3, 20, 10}, conv[] = {8, 4, 3, 3};
    struct layer_list ll;
    uint64_t at = 8;

    add(tt, "layers.10.fc1.weight", 2, mat, DTYPE_F32, &at);
    add(tt, "layers.2.fc1.weight", 2, mat, DTYPE_F32, &at);
    add(tt, "layers.2.experts.up", 3, stack, DTYPE_BF16, &at);
    add(tt, "layers.2.conv.weight", 4, conv, DTYPE_F32, &at);
    add(tt, "layers.2.codes.weight", 2, mat, DTYPE_I8, &at);
    assert_int_equal(layers_build(tables, 1, NULL, &ll, NULL), 0);
    return ll;
}

static void order_and_strides(void **state)
{
    struct tensor_table tt = TENSOR_TABLE_INIT;
    struct layer_list ll = small_model(&tt);
    const struct layer *e = find(&ll, "layers.2.experts.up[2]"), *c = find(&ll, "layers.2.conv");

    (void)state;
    assert_int_equal(ll.count, 7);
    assert_string_equal(ll.l[6].longname, "layers.10.fc1");
    assert_int_equal(e->expert, 2);
    assert_int_equal(e->nbytes, 400);
    assert_int_equal(e->offset, 8 + 1600 + 800);
    assert_true(e->rows == 20 && e->cols == 10 && e->row_stride == 10 && e->n_slices == 1);
    assert_true(c->rows == 8 && c->cols == 4 && c->n_slices == 9);
    assert_true(c->row_stride == 36 && c->col_stride == 9 && c->slice_stride == 1);
    layer_list_done(&ll);
    tensor_table_done(&tt);
}

static enum skip_reason skip_under(const struct layer_filter *f, const char *longname)
{
    struct tensor_table tt = TENSOR_TABLE_INIT;
    struct layer_list ll = small_model(&tt);
    enum skip_reason r;

    assert_int_equal(layers_filter(&ll, f, NULL), 0);
    r = find(&ll, longname)->skip;
    layer_list_done(&ll);
    tensor_table_done(&tt);
    return r;
}

static int filter_error(const struct layer_filter *f, struct err *err)
{
    struct tensor_table tt = TENSOR_TABLE_INIT;
    struct layer_list ll = small_model(&tt);
    int r = layers_filter(&ll, f, err);

    layer_list_done(&ll);
    tensor_table_done(&tt);
    return r;
}

static void filters(void **state)
{
    char two[] = "\\.2\\.", bad[] = "a(", back[] = "(a)\\1", repeat[] = "a{999}";
    char *name[] = {(char *)(uintptr_t) "layers.2.fc1"}, *none[] = {(char *)(uintptr_t) "nobody"};
    int64_t id[] = {0}, no_id[] = {99};
    struct layer_filter f = {.n_limit = 46340};
    struct err err;

    (void)state;
    assert_int_equal(skip_under(&f, "layers.2.codes"), SKIP_DTYPE);
    f.integers = true;
    assert_int_equal(skip_under(&f, "layers.2.codes"), SKIP_NONE);
    f.include = two;
    assert_int_equal(skip_under(&f, "layers.10.fc1"), SKIP_FILTERED);
    f.include = NULL;
    f.exclude = two;
    assert_int_equal(skip_under(&f, "layers.2.fc1"), SKIP_FILTERED);
    assert_int_equal(skip_under(&f, "layers.10.fc1"), SKIP_NONE);
    f = (struct layer_filter){.n_limit = 46340, .types = 1u << TYPE_CONV2D};
    assert_int_equal(skip_under(&f, "layers.2.fc1"), SKIP_FILTERED);
    assert_int_equal(skip_under(&f, "layers.2.conv"), SKIP_NONE);
    f = (struct layer_filter){.n_limit = 46340, .min_evals = 11};
    assert_int_equal(skip_under(&f, "layers.2.fc1"), SKIP_MIN_EVALS);
    assert_int_equal(skip_under(&f, "layers.2.conv"), SKIP_NONE);
    f = (struct layer_filter){.n_limit = 46340, .max_evals = 35, .max_n = 19};
    assert_int_equal(skip_under(&f, "layers.2.conv"), SKIP_MAX_EVALS);
    assert_int_equal(skip_under(&f, "layers.2.fc1"), SKIP_MAX_N);
    f = (struct layer_filter){.n_limit = 9};
    assert_int_equal(skip_under(&f, "layers.2.fc1"), SKIP_LIMIT);
    f = (struct layer_filter){.n_limit = 46340, .compat = true};
    assert_int_equal(skip_under(&f, "layers.2.experts.up[0]"), SKIP_COMPAT);
    f = (struct layer_filter){.n_limit = 46340, .names = name, .n_names = 1, .ids = id, .n_ids = 1};
    assert_int_equal(skip_under(&f, "layers.2.fc1"), SKIP_NONE);
    assert_int_equal(skip_under(&f, "layers.10.fc1"), SKIP_FILTERED);
    f = (struct layer_filter){.names = none, .n_names = 1};
    assert_int_equal(filter_error(&f, &err), ERR_INVALID);
    assert_string_equal(err.pointer, "/params/layers");
    f = (struct layer_filter){.ids = no_id, .n_ids = 1};
    assert_int_equal(filter_error(&f, &err), ERR_INVALID);
    f = (struct layer_filter){.include = bad};
    assert_int_equal(filter_error(&f, &err), ERR_INVALID);
    assert_string_equal(err.pointer, "/params/include");
    f = (struct layer_filter){.exclude = back};
    assert_int_equal(filter_error(&f, &err), ERR_INVALID);
    assert_string_equal(err.pointer, "/params/exclude");
    f = (struct layer_filter){.include = repeat};
    assert_int_equal(filter_error(&f, &err), ERR_INVALID);
}

static void same_name_in_two_files(void **state)
{
    struct tensor_table a = TENSOR_TABLE_INIT, b = TENSOR_TABLE_INIT;
    const struct tensor_table *tables[] = {&a, &b};
    const uint64_t dims[] = {4, 4};
    struct layer_list ll;
    uint64_t at = 0;

    (void)state;
    add(&a, "w", 2, dims, DTYPE_F32, &at);
    at = 0;
    add(&b, "w", 2, dims, DTYPE_F32, &at);
    assert_int_equal(layers_build(tables, 2, NULL, &ll, NULL), ERR_FORMAT);
    tensor_table_done(&a);
    tensor_table_done(&b);
}

/* Whatever byte of a serialised table is wrong: an error, or a table that is valid all the same. */
static void corrupt_tables(void **state)
{
    struct tensor_table tt = TENSOR_TABLE_INIT, got;
    struct layer_list ll = small_model(&tt);
    struct buf b = BUF_INIT;

    (void)state;
    tensor_table_write(&tt, &b);
    assert_int_equal(tensor_table_parse(b.data, b.len, 1 << 20, &got, NULL), 0);
    assert_int_equal(got.count, tt.count);
    tensor_table_done(&got);
    for (size_t i = 0; i < b.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            b.data[i] ^= (uint8_t)(1 << bit);
            if (tensor_table_parse(b.data, b.len, 1 << 20, &got, NULL) == 0)
                tensor_table_done(&got);
            b.data[i] ^= (uint8_t)(1 << bit);
        }
    for (size_t len = 0; len < b.len; len++)
        assert_true(tensor_table_parse(b.data, len, 1 << 20, &got, NULL) < 0);
    assert_true(tensor_table_parse(b.data, b.len, 100, &got, NULL) < 0);
    buf_done(&b);
    layer_list_done(&ll);
    tensor_table_done(&tt);
}

static void index_and_config(void **state)
{
    static const char *const bad[] = {
        "[]",
        "{",
        "{}",
        "{\"weight_map\":{}}",
        "{\"weight_map\":{\"a\":1}}",
        "{\"weight_map\":{\"a\":\"../x.safetensors\"}}",
        "{\"weight_map\":{\"a\":\"x.bin\"}}",
        "{\"weight_map\":{\"a\":\"/x.safetensors\"}}",
        "{\"weight_map\":{\"a\":\".x.safetensors\"}}",
        "{\"weight_map\":{\"a\":\"x\\u0001.safetensors\"}}",
        "{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"y.safetensors\"}}"};
    static const char good[] = "{\"weight_map\":{\"b\":\"2.safetensors\",\"a\":\"1.safetensors\","
                               "\"c\":\"1.safetensors\"}}";
    static const char config[] = "{\"model_type\":\"gpt2\\u001b[31m\",\"n_embd\":768,"
                                 "\"text_config\":{\"num_hidden_layers\":3},"
                                 "\"tie_word_embeddings\":true,\"vocab_size\":-4}";
    struct hf_index ix;
    struct hf_config c;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(hf_index_parse(bad[i], strlen(bad[i]), &ix, NULL) < 0);
    assert_int_equal(hf_index_parse(good, strlen(good), &ix, NULL), 0);
    assert_int_equal(ix.n_shards, 2);
    assert_string_equal(ix.shard[0], "1.safetensors");
    assert_string_equal(ix.entry[1].tensor, "b");
    assert_int_equal(ix.entry[1].shard, 1);
    hf_index_done(&ix);
    assert_int_equal(hf_config_parse(config, strlen(config), &c, NULL), 0);
    assert_string_equal(c.model_type, "gpt231m");
    assert_int_equal(c.hidden_size, 768);
    assert_int_equal(c.num_layers, 3);
    assert_int_equal(c.vocab_size, 0);
    assert_true(c.tie_word_embeddings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_libraries),
        cmocka_unit_test(order_and_strides),
        cmocka_unit_test(filters),
        cmocka_unit_test(same_name_in_two_files),
        cmocka_unit_test(corrupt_tables),
        cmocka_unit_test(index_and_config),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
