/* test_measured.c: layers for decisions, out of rows and out of what clients send. */
#include "api/measured.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Written before alpha_mid was a column. */
#define OLD                                                                                        \
    "{\"layer_id\":0,\"longname\":\"layers.0.w\",\"tensor\":\"layers.0.w.weight\","                \
    "\"block\":\"layers.0\",\"role\":\"q\",\"layer_type\":\"dense\",\"shape\":[4,5],"              \
    "\"alpha\":2.5,\"num_evals\":64}"
#define NEW                                                                                        \
    "{\"layer_id\":1,\"longname\":\"\\u00e9\",\"tensor\":\"\\u00e9\",\"block\":\"\","              \
    "\"role\":\"head\",\"layer_type\":\"conv2d\",\"alpha\":null,\"alpha_mid\":3.5,\"D\":0.1}"

static void of_rows(void **state)
{
    struct layer_row row[] = {{.json = (char *)OLD}, {.json = (char *)NEW}};
    struct layer_row_list one = {row, 1}, both = {row, 2};
    struct measured m = {.metric = ""};
    struct err err;

    (void)state;
    assert_int_equal(measured_choose(&m, NULL, NULL, &err), 0);
    assert_string_equal(m.metric, "alpha_mid");
    assert_int_equal(measured_add_rows(&m, &both, &err), 0);
    assert_true(isnan(m.t[0].value) && m.t[0].alpha == 2.5 && m.t[0].n_eigs == 64);
    assert_true(m.t[1].value == 3.5 && isnan(m.t[1].alpha) && m.t[1].D == 0.1);
    assert_string_equal(m.t[0].tensor, "layers.0.w.weight");
    assert_string_equal(m.t[0].block, "layers.0");
    assert_string_equal(m.t[1].name, "\xc3\xa9");
    assert_true(m.t[0].role == ROLE_Q && m.t[1].role == ROLE_HEAD);
    assert_true(measured_is_matrix(&m.t[0]) && measured_is_matrix(&m.t[1]));
    measured_fall_back(&m); /* one has it: nothing changes */
    assert_true(isnan(m.t[0].value));
    measured_done(&m);
    assert_int_equal(measured_choose(&m, NULL, NULL, &err), 0);
    assert_int_equal(measured_add_rows(&m, &one, &err), 0);
    measured_fall_back(&m);
    assert_string_equal(m.metric, "alpha");
    assert_true(m.t[0].value == 2.5);
    measured_done(&m);
}

static void broken_rows(void **state)
{
    struct layer_row row = {.json = (char *)"{\"layer_id\":"};
    struct layer_row_list list = {&row, 1};
    struct measured m = {.metric = "alpha"};
    struct err err;

    (void)state;
    assert_int_equal(measured_add_rows(&m, &list, &err), ERR_INTERNAL);
    row.json = (char *)"{\"layer_id\":7}"; /* members may be missing */
    assert_int_equal(measured_add_rows(&m, &list, &err), 0);
    assert_true(isnan(m.t[0].value) && m.t[0].type == TYPE_OTHER);
    assert_string_equal(m.t[0].name, "");
    measured_done(&m);
}

static enum layer_type type_of(const char *name, enum layer_role *role, size_t *n_block)
{
    struct layer_name n;

    layer_name_read(name, &n);
    *role = n.role;
    *n_block = n.n_block;
    return n.type;
}

/* As the rows of a file have them, from the name alone. */
static void names(void **state)
{
    enum layer_role role;
    size_t block;

    (void)state;
    assert_int_equal(type_of("model.layers.11.mlp.up_proj.weight", &role, &block), TYPE_DENSE);
    assert_true(role == ROLE_UP && block == strlen("model.layers.11"));
    assert_int_equal(type_of("model.embed_tokens.weight", &role, &block), TYPE_EMBEDDING);
    assert_true(role == ROLE_EMBEDDING && block == 0);
    assert_int_equal(type_of("model.norm.weight", &role, &block), TYPE_NORM);
    assert_int_equal(type_of("bn1.weight", &role, &block), TYPE_NORM);
    assert_int_equal(type_of("layers.2.fc1.bias", &role, &block), TYPE_BIAS);
    assert_int_equal(type_of("h.0.attn.bias", &role, &block), TYPE_OTHER);
    assert_int_equal(type_of("lm_head.weight", &role, &block), TYPE_DENSE);
    assert_int_equal(role, ROLE_HEAD);
    assert_int_equal(type_of("layers.0.experts.3.w1.weight", &role, &block), TYPE_DENSE);
    assert_int_equal(role, ROLE_EXPERT);
}

static void sent(void **state)
{
    json_t *body = json_loads("{\"b\":{\"x\":1,\"alpha\":2,\"num_evals\":9},\"a.bn\":{\"alpha\":3},"
                              "\"c\":{\"alpha\":null,\"block\":\"B\",\"shape\":[1,2]}}",
                              0, NULL);
    struct measured m = {.metric = ""};
    struct err err;

    (void)state;
    assert_int_equal(measured_choose(&m, NULL, body, &err), 0);
    assert_string_equal(m.metric, "alpha");
    assert_int_equal(measured_take_sent(&m, body, &err), 0);
    assert_int_equal(m.count, 3);
    assert_string_equal(m.t[0].name, "b"); /* in the order sent */
    assert_true(m.t[0].value == 2 && m.t[0].n_eigs == 9);
    assert_true(m.t[1].value == 3 && measured_is_matrix(&m.t[1])); /* it has a spectrum */
    assert_true(isnan(m.t[2].value));
    assert_string_equal(m.t[2].block, "B");
    measured_done(&m);
    json_decref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_rows),
        cmocka_unit_test(broken_rows),
        cmocka_unit_test(names),
        cmocka_unit_test(sent),
    };

    return cmocka_run_group_tests_name("measured", tests, NULL, NULL);
}
