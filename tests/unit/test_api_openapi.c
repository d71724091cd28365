/* test_api_openapi.c: openapi.yaml and the route table say the same, both ways; and the layer
 * schema has every result column.
 *
 * The document is read line by line: it is written with two spaces a level, one path, method or
 * operationId a line.
 */
#include "api_fake.h"

#include "api/openapi_text.h"
#include "api/problem.h"
#include "api/route.h"
#include "compute/columns.h"
#include "compute/measure.h"

#define OPERATIONS_MAX 64

struct operation {
    char path[128], method[16], id[64];
};

struct document {
    struct operation op[OPERATIONS_MAX];
    size_t n;
};

static bool is_method(const char *s)
{
    static const char *const methods[] = {"get",   "put",  "post",    "delete",
                                          "patch", "head", "options", "trace"};

    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(s, methods[i]) == 0)
            return true;
    return false;
}

static void read_line(struct document *d, const char *line, char path[128], char method[16])
{
    char word[64] = "";

    if (line[0] == ' ' && line[1] == ' ' && line[2] == '/') {
        assert_int_equal(sscanf(line, "  %127[^ ]", path), 1);
        assert_int_equal(path[strlen(path) - 1], ':');
        path[strlen(path) - 1] = '\0';
    } else if (strncmp(line, "    ", 4) == 0 && line[4] != ' ' &&
               sscanf(line, "    %15[a-z]", word) == 1 && is_method(word)) {
        memcpy(method, word, 16);
    } else if (sscanf(line, "      operationId: %63s", word) == 1) {
        struct operation *op = &d->op[d->n++];

        assert_true(d->n < OPERATIONS_MAX);
        snprintf(op->path, sizeof op->path, "%s", path);
        memcpy(op->id, word, sizeof op->id);
        for (size_t i = 0; i <= strlen(method); i++)
            op->method[i] = (char)(method[i] >= 'a' ? method[i] - 32 : method[i]);
    }
}

static char *text(void)
{
    return xasprintf("%.*s", (int)openapi_text_len, (const char *)openapi_text);
}

static struct document read_document(void)
{
    AUTO(freep) char *copy = text();
    char *end = strstr(copy, "\ncomponents:");
    char *rest = strstr(copy, "\npaths:\n");
    struct document d = {.n = 0};
    char path[128] = "", method[16] = "";
    char *line;

    assert_non_null(rest);
    assert_non_null(end);
    *end = '\0';
    rest++;
    while ((line = strsep(&rest, "\n")))
        read_line(&d, line, path, method);
    return d;
}

static void test_every_operation_is_routed(void **state)
{
    struct document d = read_document();
    size_t n;
    const struct route *table = api_routes(&n);

    (void)state;
    assert_int_equal(d.n, n);
    for (size_t i = 0; i < d.n; i++) {
        const struct route *r = NULL;

        for (size_t k = 0; k < n; k++)
            if (strcmp(table[k].operation, d.op[i].id) == 0)
                r = &table[k];
        if (!r)
            fail_msg("%s is in openapi.yaml only", d.op[i].id);
        assert_string_equal(r->path, d.op[i].path);
        assert_string_equal(r->method, d.op[i].method);
    }
}

static void test_every_route_is_described(void **state)
{
    struct document d = read_document();
    size_t n;
    const struct route *table = api_routes(&n);

    (void)state;
    for (size_t k = 0; k < n; k++) {
        bool found = false;

        for (size_t i = 0; i < d.n; i++)
            found = found || strcmp(table[k].operation, d.op[i].id) == 0;
        if (!found)
            fail_msg("%s is in the route table only", table[k].operation);
        for (size_t i = 0; i < k; i++)
            assert_string_not_equal(table[i].operation, table[k].operation);
    }
}

static void test_every_column_is_described(void **state)
{
    AUTO(freep) char *copy = text();
    const char *layer = strstr(copy, "\n    Layer:\n");
    const char *end = strstr(copy, "\n    LayerList:\n");

    (void)state;
    assert_true(layer && end && layer < end);
    for (int c = 0; c < COLUMN_COUNT; c++) {
        const struct column_info *info = column_info((enum column)c);
        AUTO(freep)
        char *want = xasprintf(
            "\n        %s:\n          type: [%s, 'null']\n          description: ", info->name,
            info->integer ? "integer" : "number");
        const char *at = strstr(layer, want);

        if (!at || at > end)
            fail_msg("column %s is not described", info->name);
    }
    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        const struct measure_info *info = measure_info((enum measure)m);

        for (size_t i = 0; i < info->n_columns; i++) {
            AUTO(freep) char *want = xasprintf("\n        %s:\n", info->column[i].name);
            const char *at = strstr(layer, want);

            if (!at || at > end)
                fail_msg("column %s is not described", info->column[i].name);
        }
    }
}

/* Every problem the server knows is described with its status, and no other is. */
static void test_every_problem_is_described(void **state)
{
    AUTO(freep) char *copy = text();
    const char *problem = strstr(copy, "\n    Problem:\n");
    const char *end = strstr(copy, "\n  examples:\n");
    size_t known = 0, described = 0;

    (void)state;
    assert_true(problem && end && problem < end);
    for (int code = -100; code < 100; code++) {
        const struct problem_type *t = problem_type(code);
        AUTO(freep) char *want = NULL;
        const char *at;

        if (t->code != code)
            continue;
        want = xasprintf("\n            - const: %s\n              description: '%u: ", t->name,
                         t->status);
        at = strstr(problem, want);
        if (!at || at > end)
            fail_msg("the problem %s (%u) is not described", t->name, t->status);
        known++;
    }
    for (const char *at = problem; (at = strstr(at, "\n            - const: ")) && at < end; at++)
        described++;
    assert_int_equal(described, known);
}

/* A parameter in a path is declared by the path or by the operation under it. */
static void test_every_path_parameter_is_declared(void **state)
{
    AUTO(freep) char *copy = text();
    struct document d = read_document();

    (void)state;
    for (size_t i = 0; i < d.n; i++) {
        AUTO(freep) char *head = xasprintf("\n  %s:\n", d.op[i].path);
        const char *item = strstr(copy, head);
        const char *end = item ? strstr(item + strlen(head), "\n  /") : NULL;

        assert_non_null(item);
        for (const char *p = d.op[i].path; (p = strchr(p, '{')); p++) {
            size_t len = strcspn(p + 1, "}");
            AUTO(freep)
            char *shared = xasprintf("parameters/%c%.*s'", p[1] - 32, (int)len - 1, p + 2);
            AUTO(freep) char *own = xasprintf("- name: %.*s\n", (int)len, p + 1);
            const char *a = strstr(item, shared), *b = strstr(item, own);

            if (!(a && (!end || a < end)) && !(b && (!end || b < end)))
                fail_msg("%s: parameter %.*s is not declared", d.op[i].id, (int)len, p + 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_operation_is_routed),
        cmocka_unit_test(test_every_route_is_described),
        cmocka_unit_test(test_every_column_is_described),
        cmocka_unit_test(test_every_problem_is_described),
        cmocka_unit_test(test_every_path_parameter_is_declared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
