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
    "\"role\":\"head\",\"layer_type\":\"conv2d\",\"shape\":[2,3,1,1],\"alpha\":null,"              \
    "\"alpha_mid\":3.50,\"D\":0.1}"

static void of_rows(void **state)
{
    struct layer_row row[] = {{.longname = (char *)"layers.0.w", .json = (char *)OLD},
                              {.longname = (char *)"\xc3\xa9", .json = (char *)NEW}};
    struct layer_row_list one = {row, 1}, both = {row, 2};
    struct metric_rows *m = metric_rows_new("alpha_mid");
    struct err err;

    (void)state;
    assert_int_equal(metric_rows_take(m, &both, &err), 0);
    assert_true(isnan(m->row[0].metric) && m->row[0].n_eigs == 64 && m->row[0].params == 20);
    assert_true(m->row[1].metric == 3.5 && isnan(m->row[1].n_eigs) && m->usable && !m->sent);
    assert_string_equal(m->row[0].tensor, "layers.0.w.weight");
    assert_string_equal(m->row[0].block, "layers.0");
    assert_string_equal(m->row[1].name, "\xc3\xa9");
    assert_true(m->row[0].role == ROLE_Q && m->row[1].role == ROLE_HEAD);
    assert_true(metric_row_is_matrix(&m->row[0]) && metric_row_is_matrix(&m->row[1]));
    assert_string_equal(m->row[0].facts,
                        "\"name\":\"layers.0.w\",\"tensor\":\"layers.0.w.weight\","
                        "\"block\":\"layers.0\",\"role\":\"q\",\"score\":null,\"n_eigs\":64,"
                        "\"lambda_max\":null,\"fro2\":null,\"alpha\":2.5,\"D\":null,"
                        "\"alphahat\":null");
    assert_non_null(strstr(m->row[1].facts, "\"score\":3.50,")); /* copied, not written again */
    metric_rows_unref(m);
    m = metric_rows_new("alpha_mid");
    assert_int_equal(metric_rows_take(m, &one, &err), 0);
    assert_false(m->usable);
    metric_rows_unref(m);
}

static void broken_rows(void **state)
{
    struct layer_row row = {.longname = (char *)"", .json = (char *)"{\"layer_id\":"};
    struct layer_row_list list = {&row, 1};
    struct metric_rows *m = metric_rows_new("alpha");
    struct err err;

    (void)state;
    assert_int_equal(metric_rows_take(m, &list, &err), ERR_INTERNAL);
    row.json = (char *)"{\"layer_id\":7,\"shape\":[]}"; /* members may be missing */
    assert_int_equal(metric_rows_take(m, &list, &err), 0);
    assert_true(isnan(m->row[0].metric) && m->row[0].type == TYPE_OTHER);
    assert_string_equal(m->row[0].block, "");
    metric_rows_unref(m);
}

/* Text longer than what is usually taken at once, and much of it. */
static void long_text(void **state)
{
    struct metric_rows *m = metric_rows_new("x");
    struct metric_facts f = {.n_eigs = 7};
    char name[100001];

    (void)state;
    memset(name, 'a', sizeof name - 1);
    for (size_t i = 0; i < 300; i++) {
        size_t len = i % 3 ? i * 7 + 1 : sizeof name - 1 - i;
        struct metric_row *r;

        name[len] = '\0';
        r = metric_rows_add(m, name, i % 2 ? "b" : NULL);
        metric_row_settle(m, r, &f);
        name[len] = 'a';
    }
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(strlen(m->row[i].name), i % 3 ? i * 7 + 1 : sizeof name - 1 - i);
        assert_string_equal(m->row[i].block, i % 2 ? "b" : "");
        assert_non_null(strstr(m->row[i].facts, "\"n_eigs\":7,"));
    }
    metric_rows_unref(m);
}

/* Those used last stay, as far as there is room; who holds a set keeps it. */
static void memory(void **state)
{
    struct metric_rows_cache *c = metric_rows_cache_new();
    struct metric_rows *held = NULL, *m;
    char id[IDENT_MAX];

    (void)state;
    for (int i = 0; i < 100; i++) {
        m = metric_rows_new("x");
        for (int k = 0; k < 3000; k++) /* 65536 rows: 21 sets */
            (void)metric_rows_add(m, "a", NULL);
        snprintf(id, sizeof id, "ana_%d", i);
        metric_rows_keep(c, id, m);
        metric_rows_keep(c, id, m);
        assert_ptr_equal(metric_rows_find(c, id, "x"), m);
        assert_null(metric_rows_find(c, id, "y"));
        assert_true(i == 0 || metric_rows_find(c, "ana_0", "x"));
        metric_rows_unref(m);
        if (i == 50)
            held = metric_rows_ref(m);
    }
    assert_null(metric_rows_find(c, "ana_50", "x"));
    assert_int_equal(held->n, 3000);
    assert_null(metric_rows_find(c, "ana_79", "x"));
    assert_non_null(metric_rows_find(c, "ana_80", "x"));
    m = metric_rows_new("x");
    for (int k = 0; k < 65537; k++)
        (void)metric_rows_add(m, "a", NULL);
    metric_rows_keep(c, "ana_large", m);
    assert_null(metric_rows_find(c, "ana_large", "x"));
    assert_non_null(metric_rows_find(c, "ana_99", "x"));
    metric_rows_unref(m);
    metric_rows_unref(metric_rows_cache_ref(c) ? held : NULL);
    metric_rows_cache_unref(c);
    metric_rows_cache_unref(c);
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
    struct metric_rows *m;
    struct err err;

    (void)state;
    assert_int_equal(measured_take(body, NULL, &m, &err), 0);
    assert_string_equal(m->metric, "alpha");
    assert_int_equal(m->n, 3);
    assert_string_equal(m->row[0].name, "b"); /* in the order sent */
    assert_true(m->row[0].metric == 2 && m->row[0].n_eigs == 9 && m->sent);
    assert_true(m->row[1].metric == 3 && metric_row_is_matrix(&m->row[1])); /* it has a spectrum */
    assert_true(isnan(m->row[2].metric));
    assert_string_equal(m->row[2].block, "B");
    metric_rows_unref(m);
    json_decref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_rows), cmocka_unit_test(broken_rows), cmocka_unit_test(long_text),
        cmocka_unit_test(memory),  cmocka_unit_test(names),       cmocka_unit_test(sent),
    };

    return cmocka_run_group_tests_name("measured", tests, NULL, NULL);
}
