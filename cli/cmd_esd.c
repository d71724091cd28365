/* cmd_esd.c: spectralctl esd: the eigenvalues of one layer */
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/plot.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

#define BINS_MAX 1000

struct esd_settings {
    bool hist, linear, json, csv;
    const char *npy;
    struct arg_count bins;
};

#define AT(field) offsetof(struct esd_settings, field)
static const struct arg_option options[] = {
    {"hist", ARG_FLAG, AT(hist), NULL, "a histogram; drawn (the default), or with --csv, --json"},
    {"bins", ARG_COUNT, AT(bins), "N", "its bins, 1 to 1000 (drawn: as many as fit; else 100)"},
    {"linear", ARG_FLAG, AT(linear), NULL, "linear axes (default: both logarithmic)"},
    {"csv", ARG_FLAG, AT(csv), NULL, "print the eigenvalues as CSV"},
    {"json", ARG_FLAG, AT(json), NULL, "print them as JSON"},
    {"npy", ARG_TEXT, AT(npy), "FILE", "write them to FILE for numpy.load()"},
};
static const struct arg_command args = {
    .name = "esd",
    .operands = "ANALYSIS LAYER",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Show the eigenvalues of a layer: drawn, or as data.",
    .notes =
        "LAYER is the number or the name in the table of the analysis. The line in the drawing\n"
        "is the power law that was fitted to the eigenvalues above xmin.\n\n"
        "Examples:\n"
        "  spectralctl esd ana_01K... model.layers.0.mlp.up_proj\n"
        "  spectralctl esd ana_01K... 12 --hist --bins 50 --csv > histogram.csv\n"
        "  spectralctl esd ana_01K... 12 --npy evals.npy\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

/* Numbers of a JSON array; false when any is none. */
static bool numbers(const json_t *array, double *out, size_t n)
{
    const json_t *v;
    size_t i;

    if (json_array_size(array) != n)
        return false;
    json_array_foreach(array, i, v)
    {
        if (!json_is_number(v))
            return false;
        out[i] = json_number_value(v);
    }
    return true;
}

static void print_facts(const json_t *layer, const struct plot *p)
{
    AUTO(freep) char *name = text_clean(field_text(layer, "longname"));
    AUTO(freep) char *warning = text_clean(field_text(layer, "warning"));
    double d = 0;

    printf("%s\n%.0f eigenvalues", name, p->total);
    if (p->fitted)
        printf(", alpha %.3f of the %.0f above xmin %.4g", p->alpha, p->tail, p->xmin);
    if (p->fitted && field_number(layer, "D", &d))
        printf(", D %.3f", d);
    printf("%s%s\n", *warning ? ", " : "", warning);
}

/* Draw a histogram as the server made it. */
static int draw(const struct context *cx, const json_t *layer, const json_t *hist, bool linear)
{
    size_t bins = json_array_size(json_object_get(hist, "counts"));
    AUTO(freep) double *edges = xcalloc(bins + 1, sizeof(*edges));
    AUTO(freep) double *counts = xcalloc(bins + 1, sizeof(*counts));
    struct plot p = {.bins = bins, .edges = edges, .counts = counts, .log = !linear};
    bool sound = bins > 0 && bins <= BINS_MAX &&
                 numbers(json_object_get(hist, "edges"), edges, bins + 1) &&
                 numbers(json_object_get(hist, "counts"), counts, bins);

    for (size_t b = 0; sound && b < bins; b++) {
        sound = edges[b] < edges[b + 1] && (linear || edges[b] > 0) && counts[b] >= 0;
        p.total += counts[b];
    }
    if (!sound) {
        (void)command_misused("this layer has no eigenvalues to draw");
        return EXIT_SERVER;
    }
    p.total += (double)field_count(hist, "n_nonpositive");
    p.fitted = field_number(layer, "xmin", &p.xmin) && field_number(layer, "alpha", &p.alpha) &&
               field_number(layer, "num_pl_spikes", &p.tail) && p.xmin > 0 && p.total > 0;
    print_facts(layer, &p);
    plot_draw(&p, &cx->out);
    if (field_count(hist, "n_nonpositive") > 0)
        printf("%lld eigenvalues are zero and not drawn\n", field_count(hist, "n_nonpositive"));
    return EXIT_DONE;
}

static int run_drawn(struct context *cx, const char *layer_path, const char *hist_path, bool linear)
{
    json_auto_t *layer = NULL, *hist = NULL;
    int status = EXIT_DONE;

    if (!command_call(cx, "GET", layer_path, &layer, &status) ||
        !command_call(cx, "GET", hist_path, &hist, &status))
        return status;
    return draw(cx, layer, hist, linear);
}

static int check(const struct esd_settings *s)
{
    bool hist = s->hist || s->bins.given || s->linear;

    if ((int)s->csv + (int)s->json + (int)(s->npy != NULL) > 1)
        return command_misused("--csv, --json and --npy exclude each other");
    if (s->bins.given && (s->bins.value < 1 || s->bins.value > BINS_MAX))
        return command_misused("--bins must lie between 1 and %d", BINS_MAX);
    if (s->npy && hist)
        return command_misused("--npy writes eigenvalues, not a histogram");
    return EXIT_DONE;
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct esd_settings *s = settings;
    AUTO(freep) char *analysis = http_escape(operands->value[0]);
    AUTO(freep) char *layer = http_escape(operands->value[1]);
    AUTO(freep) char *path = xasprintf("/v1/analyses/%s/layers/%s", analysis, layer);
    AUTO(freep) char *esd = xasprintf("%s/esd", path);
    bool drawn = !s->csv && !s->json && !s->npy;
    int64_t bins = s->bins.given ? s->bins.value
                   : drawn       ? (int64_t)plot_columns(cx->out.width)
                                 : 100;
    AUTO(freep)
    char *hist =
        xasprintf("%s?bins=%lld&scale=%s", esd, (long long)bins, s->linear ? "linear" : "log");
    int status = check(s);

    if (status != EXIT_DONE)
        return status;
    if (drawn)
        return run_drawn(cx, path, hist, s->linear);
    if (s->npy)
        return command_print(cx, esd, "application/x-npy", s->npy);
    if (s->hist || s->bins.given || s->linear)
        return command_print(cx, hist, s->csv ? "text/csv" : "application/json", NULL);
    return command_print(cx, esd, s->csv ? "text/csv" : "application/json", NULL);
}

const struct command command_esd = {&args, sizeof(struct esd_settings), run};
