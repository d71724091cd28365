/* cmd_series.c: spectralctl series: a metric over the steps of training runs */
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/pages.h"
#include "cli/table.h"

#include <string.h>

struct series_settings {
    struct output_form form;
    const char *metric, *layer, *step;
};

#define AT(field) offsetof(struct series_settings, field)
static const struct arg_option options[] = {
    {"metric", ARG_TEXT, AT(metric), "COLUMN", "a numeric column of layers (alpha)"},
    {"layer", ARG_TEXT, AT(layer), "NAME", "only this layer"},
    {"step", ARG_TEXT, AT(step), "KEY", "label that orders a run (step)"},
    {"json", ARG_FLAG, AT(form.json), NULL, "print JSON"},
    {"csv", ARG_FLAG, AT(form.csv), NULL, "print CSV, a line per run, step and layer"},
};
static const struct arg_command args = {
    .name = "series",
    .operands = "LABEL[:VALUE]",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show how a metric goes over the steps of labelled runs.",
    .notes = "LABEL is the label whose value names the run. The table has the mean over layers,\n"
             "or the layer asked for.\n\n"
             "Examples:\n"
             "  spectralctl series run\n"
             "  spectralctl series run:a --metric stable_rank --csv > run-a.csv\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

static char *path_of(const struct series_settings *s, const char *label)
{
    AUTO(freep) char *l = http_escape(label);
    AUTO(freep) char *metric = http_escape(s->metric ? s->metric : "alpha");
    AUTO(freep) char *layer = http_escape(s->layer ? s->layer : "");
    AUTO(freep) char *step = http_escape(s->step ? s->step : "");

    return xasprintf("/v1/series?label=%s&metric=%s%s%s%s%s", l, metric, *layer ? "&layer=" : "",
                     layer, *step ? "&step=" : "", step);
}

/* A row per step of every run. */
static void print_table(const struct context *cx, const json_t *runs,
                        const struct series_settings *s)
{
    const struct table_column columns[] = {
        {"run", false, true, 0},
        {"step", true, false, 0},
        {s->metric ? s->metric : "alpha", true, false, 0},
        {"analysis", false, false, 1},
        {"created", false, false, 2},
    };
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *run, *step;
    size_t r, i;

    json_array_foreach(runs, r, run)
    {
        const json_t *layer = json_array_get(json_object_get(run, "layers"), 0);
        const json_t *values =
            s->layer ? json_object_get(layer, "values") : json_object_get(run, "mean");

        json_array_foreach(json_object_get(run, "steps"), i, step)
        {
            table_cell(t, COLOUR_NONE, "%s", field_text(run, "value"));
            table_json(t, json_object_get(step, "step"));
            table_json(t, json_array_get(values, i));
            table_cell(t, COLOUR_NONE, "%s", field_text(step, "analysis"));
            table_cell(t, COLOUR_DIM, "%.19s", field_text(step, "created_at"));
        }
    }
    if (json_array_size(runs))
        table_print(t, &cx->out);
    else
        printf("no analysis has this label\n");
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct series_settings *s = settings;
    AUTO(freep) char *path = path_of(s, operands->value[0]);
    json_auto_t *runs = NULL;
    int status = EXIT_DONE;

    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    if (s->form.csv)
        return pages_csv(cx, path, stdout);
    runs = pages_fetch(cx, path, "series", SIZE_MAX, NULL, &status);
    if (!runs)
        return status;
    if (s->form.json)
        command_print_json(runs);
    else
        print_table(cx, runs, s);
    return EXIT_DONE;
}

const struct command command_series = {&args, sizeof(struct series_settings), run};
