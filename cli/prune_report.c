/* prune_report.c: see prune_report.h. */
#include "cli/prune_report.h"

#include "cli/field.h"
#include "cli/table.h"
#include "cli/text.h"
#include "common/json_text.h"

#include <string.h>

/* Sums over the matrices of a block. */
struct block_sums {
    size_t n_errors, n_trim;
    double error;         /* of SparseGPT */
    double trim, uniform; /* how like the old outputs are; every matrix counts once */
};

static struct block_sums sum_block(const json_t *report, const char *block)
{
    struct block_sums s = {0};
    const json_t *t, *trim;
    double x, y;
    size_t i;

    json_array_foreach(json_object_get(report, "tensors"), i, t)
    {
        if (*block && strcmp(field_text(t, "block"), block) != 0)
            continue;
        trim = json_object_get(t, "trim");
        if (field_number(t, "error", &x)) {
            s.error += x;
            s.n_errors++;
        }
        if (field_number(trim, "best", &x) && field_number(trim, "uniform", &y)) {
            s.trim += x;
            s.uniform += y;
            s.n_trim++;
        }
    }
    return s;
}

static void add_share(struct table *t, const json_t *row, const char *key)
{
    double x = 0;
    bool has = field_number(row, key, &x);

    table_number(t, COLOUR_NONE, has, x, 4);
}

static void add_mean(struct table *t, double sum, size_t n)
{
    table_number(t, COLOUR_NONE, n > 0, n > 0 ? sum / (double)n : 0, 4);
}

static void print_blocks(const struct context *cx, const json_t *report)
{
    struct block_sums all = sum_block(report, "");
    struct table_column columns[7] = {
        {"block", false, true, 0},
        {"weights", true, false, 1},
        {"target", true, false, 0},
        {"achieved", true, false, 0},
    };
    size_t n = 4, i;
    const json_t *b;

    if (all.n_errors)
        columns[n++] = (struct table_column){"error", true, false, 0};
    if (all.n_trim) {
        columns[n++] = (struct table_column){"uniform", true, false, 0};
        columns[n++] = (struct table_column){"trim", true, false, 0};
    }
    AUTO(table_freep) struct table *t = table_new(columns, n);
    json_array_foreach(json_object_get(report, "blocks"), i, b)
    {
        struct block_sums s = sum_block(report, field_text(b, "block"));

        table_cell(t, COLOUR_NONE, "%s", field_text(b, "block"));
        table_json(t, json_object_get(b, "params"));
        add_share(t, b, "sparsity");
        add_share(t, b, "achieved");
        if (all.n_errors)
            table_cell(t, COLOUR_NONE, "%.6g", s.error);
        if (all.n_trim) {
            add_mean(t, s.uniform, s.n_trim);
            add_mean(t, s.trim, s.n_trim);
        }
    }
    if (json_array_size(json_object_get(report, "blocks")))
        table_print(t, &cx->out);
    if (all.n_errors)
        printf("\nerror of all matrices: %.6g\n", all.error);
}

static double share(const json_t *report, const char *key)
{
    return 100 * json_number_value(json_object_get(report, key));
}

/* Experts or neurons: what is left is a smaller model. */
static void print_smaller(const json_t *report, const char *what, const json_t *parts)
{
    AUTO(freep) char *method = text_clean(field_text(report, "method"));
    json_int_t of = json_integer_value(json_object_get(parts, "of"));
    json_int_t kept = json_integer_value(json_object_get(parts, "kept"));
    json_int_t before = json_integer_value(json_object_get(report, "n_params_total"));
    json_int_t after = json_integer_value(json_object_get(report, "n_params_after"));

    printf("\n%s: %lld of %lld %s stay, %.2f %% was the target\n"
           "%lld of the model's %lld weights are left: %.2f %% fewer\n",
           method, (long long)kept, (long long)of, what, share(report, "target_sparsity"),
           (long long)after, (long long)before, share(report, "model_sparsity"));
}

void prune_report_print(const struct context *cx, const json_t *report)
{
    const json_t *experts = json_object_get(report, "experts");
    const json_t *width = json_object_get(report, "width");

    AUTO(freep) char *method = text_clean(field_text(report, "method"));
    AUTO(freep) char *plan = text_clean(field_text(report, "plan"));

    print_blocks(cx, report);
    if (experts || width) {
        print_smaller(report, experts ? "experts of each layer" : "neurons of each block",
                      experts ? experts : width);
        return;
    }
    printf("\n%s, plan %s: %.2f %% of its weights are zero, %.2f %% was the target\n"
           "%.2f %% of all the model's weights, %.2f %% without embeddings and head\n",
           method, plan, share(report, "achieved_sparsity"), share(report, "target_sparsity"),
           share(report, "model_sparsity"), share(report, "model_sparsity_without_embeddings"));
}

/* --- CSV ------------------------------------------------------------------------------------ */

/* Every digit; nothing for what there is not. */
static void add_csv(struct table *t, const json_t *value)
{
    AUTO(buf_done) struct buf text = BUF_INIT;

    if (json_is_integer(value))
        buf_printf(&text, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        json_text_real(&text, json_real_value(value));
    else if (json_is_string(value))
        buf_printf(&text, "%s", json_string_value(value));
    buf_put_u8(&text, '\0');
    table_cell(t, COLOUR_NONE, "%s", (const char *)text.data);
}

void prune_report_print_csv(const json_t *report)
{
    static const char *const keys[] = {"name",     "tensor",   "block",  "params",
                                       "sparsity", "achieved", "pruned", "zeros_before",
                                       "keep",     "of",       "error",  "damping"};
    struct table_column columns[ARRAY_LEN(keys)];
    AUTO(table_freep) struct table *t = NULL;
    const json_t *row;
    size_t i;

    for (size_t k = 0; k < ARRAY_LEN(keys); k++)
        columns[k] = (struct table_column){keys[k], k > 2, false, 0};
    t = table_new(columns, ARRAY_LEN(columns));
    json_array_foreach(json_object_get(report, "tensors"), i, row)
    {
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            add_csv(t, json_object_get(row, keys[k]));
    }
    table_print_csv(t, stdout);
}
