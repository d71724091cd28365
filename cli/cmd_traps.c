/* cmd_traps.c: spectralctl traps: the correlation traps of one layer */
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/table.h"
#include "cli/text.h"

#include <stdlib.h>

#define ENTRIES_SHOWN 5 /* weights of a trap in the table */

struct traps_settings {
    struct output_form form;
};

#define AT(field) offsetof(struct traps_settings, field)
static const struct arg_option options[] = {
    {"csv", ARG_FLAG, AT(form.csv), NULL, "print the weights as CSV, ten of each trap"},
    {"json", ARG_FLAG, AT(form.json), NULL, "print everything as JSON"},
};
static const struct arg_command args = {
    .name = "traps",
    .operands = "ANALYSIS LAYER",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Show the correlation traps of a layer, and which weights carry them.",
    .notes = "LAYER is the number or the name in the table of the analysis, which must have been\n"
             "asked for them: analyze --measure traps. Rows and columns count from 0.\n\n"
             "Examples:\n"
             "  spectralctl traps ana_01K... model.layers.0.mlp.up_proj\n"
             "  spectralctl traps ana_01K... 12 --csv > weights.csv\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

static void add_number(struct table *t, const json_t *o, const char *key, int decimals)
{
    double x = 0;
    bool has = field_number(o, key, &x);

    table_number(t, COLOUR_NONE, has, x, decimals);
}

/* With as many digits as it takes, or in short. */
static void add_real(struct table *t, const json_t *o, const char *key, bool full)
{
    double x;

    if (!full && field_number(o, key, &x))
        table_cell(t, COLOUR_NONE, "%.4g", x);
    else
        table_json(t, json_object_get(o, key));
}

static struct table *traps_table(const json_t *traps)
{
    static const struct table_column columns[] = {
        {"trap", true, false, 0},       {"label", false, false, 0}, {"risk", true, false, 0},
        {"eigenvalue", true, false, 0}, {"delta", true, false, 0},  {"diffuseness", true, false, 0},
        {"top 5 %", true, false, 1},    {"share", true, false, 2},
    };
    struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *trap;
    size_t i;

    json_array_foreach(traps, i, trap)
    {
        table_cell(t, COLOUR_DIM, "%zu", i + 1);
        table_cell(t, COLOUR_NONE, "%s", field_text(trap, "label"));
        add_number(t, trap, "risk", 2);
        add_real(t, trap, "eigenvalue", false);
        add_number(t, trap, "delta", 3);
        add_number(t, trap, "diffuseness", 2);
        add_number(t, trap, "top_5_mass", 2);
        add_number(t, trap, "share", 3);
    }
    return t;
}

/* All of each trap, or the first. */
static struct table *entries_table(const json_t *traps, bool full)
{
    static const struct table_column columns[] = {
        {"trap", true, false, 0},   {"row", true, false, 0},       {"column", true, false, 0},
        {"weight", true, false, 0}, {"component", true, false, 0}, {"share", true, false, 0},
    };
    struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *trap, *entry;
    size_t i, k;

    json_array_foreach(traps, i, trap)
    {
        json_array_foreach(json_object_get(trap, "entries"), k, entry)
        {
            if (!full && k == ENTRIES_SHOWN)
                break;
            table_cell(t, COLOUR_DIM, "%zu", i + 1);
            table_cell(t, COLOUR_NONE, "%lld", field_count(entry, "row"));
            table_cell(t, COLOUR_NONE, "%lld", field_count(entry, "column"));
            add_real(t, entry, "weight", full);
            add_real(t, entry, "component", full);
            add_real(t, entry, "share", full);
        }
    }
    return t;
}

static void print(const struct context *cx, const json_t *reply)
{
    const json_t *traps = json_object_get(reply, "traps");
    long long count = field_count(reply, "trap_count");
    AUTO(freep) char *name = text_clean(field_text(reply, "longname"));
    AUTO(table_freep) struct table *all = traps_table(traps);
    AUTO(table_freep) struct table *entries = entries_table(traps, false);

    if (json_array_size(traps) == 0) {
        printf("%s: no correlation traps\n", name);
        return;
    }
    printf("%s: %lld correlation trap%s\n\n", name, count, count == 1 ? "" : "s");
    table_print(all, &cx->out);
    printf("\nWeights that carry %s\n\n", count == 1 ? "it" : "them");
    table_print(entries, &cx->out);
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct traps_settings *s = settings;
    AUTO(freep) char *analysis = http_escape(operands->value[0]);
    AUTO(freep) char *layer = http_escape(operands->value[1]);
    AUTO(freep) char *path = xasprintf("/v1/analyses/%s/layers/%s/traps", analysis, layer);
    json_auto_t *reply = NULL;
    int status = EXIT_DONE;

    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    if (!command_call(cx, "GET", path, &reply, &status))
        return status;
    if (s->form.json) {
        command_print_json(reply);
    } else if (s->form.csv) {
        AUTO(table_freep)
        struct table *t = entries_table(json_object_get(reply, "traps"), true);

        table_print_csv(t, stdout);
    } else {
        print(cx, reply);
    }
    return EXIT_DONE;
}

const struct command command_traps = {&args, sizeof(struct traps_settings), run};
