/* cmd_plot.c: spectralctl plot: pictures of an analysis or a layer */
#include "cli/commands.h"

#include <stdlib.h>

struct plot_settings {
    const char *kind, *output;
};

#define AT(field) offsetof(struct plot_settings, field)
static const struct arg_option options[] = {
    {"kind", ARG_TEXT, AT(kind), "KIND",
     "of a layer: esd, esd_lin, mp, rand, erg, ks; of an\nanalysis: alpha_hist, alpha_depth, "
     "alpha_D, "
     "scale_depth\n(default: the first)"},
    {"output", ARG_TEXT, AT(output), "FILE", "write to FILE (default: standard output)"},
};
static const struct arg_command args = {
    .name = "plot",
    .operands = "ANALYSIS [LAYER]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Write a picture of an analysis, or of one layer, as SVG.",
    .notes = "LAYER is the number or the name in the table of the analysis.\n\n"
             "Examples:\n"
             "  spectralctl plot ana_01K... --kind alpha_depth -o flow.svg\n"
             "  spectralctl plot ana_01K... model.layers.0.mlp.up_proj -o up.svg\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct plot_settings *s = settings;
    bool of_layer = operands->count == 2;
    AUTO(freep) char *analysis = http_escape(operands->value[0]);
    AUTO(freep) char *layer = http_escape(of_layer ? operands->value[1] : "");
    AUTO(freep) char *kind = http_escape(s->kind ? s->kind : "");
    AUTO(freep)
    char *path = xasprintf("/v1/analyses/%s%s%s/plot.svg%s%s", analysis, of_layer ? "/layers/" : "",
                           layer, s->kind ? "?kind=" : "", kind);

    return command_print(cx, path, "image/svg+xml", s->output);
}

const struct command command_plot = {&args, sizeof(struct plot_settings), run};
