/* cmd_report.c: spectralctl report: an analysis on one page, what needs a look first. */
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/findings.h"
#include "cli/pages.h"
#include "cli/table.h"
#include "cli/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define WORST_SHOWN  10
#define LAYERS_SHOWN 5   /* of a finding */
#define TEXT_WIDTH   100 /* longer lines of text are hard to read */

struct report_settings {
    struct arg_count worst;
    bool json;
};

static const struct arg_option options[] = {
    {"worst", ARG_COUNT, offsetof(struct report_settings, worst), "N",
     "how many layers the last table has (10)"},
    {"json", ARG_FLAG, offsetof(struct report_settings, json), NULL,
     "print what the page is made of as JSON"},
};
static const struct arg_command args = {
    .name = "report",
    .operands = "ANALYSIS",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show an analysis as a page: what stands out, and where to look first.",
    .notes =
        "What was not measured is not in it: ask for it with analyze --measure.\n"
        "--json prints {\"analysis\", \"model\", \"findings\", \"worst\", \"not_measured\"}.\n\n"
        "Example:\n"
        "  spectralctl report ana_01K... --worst 20\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

/* Measures that the page has a place for. */
static const struct {
    const char *name, *what;
} wanted[] = {
    {"phase", "phases of training, and how far to believe each alpha"},
    {"randomize", "how much of each spectrum is in the order of the weights"},
    {"traps", "correlation traps: which weights make spikes by themselves"},
    {"mp_fit", "how much of each spectrum is noise"},
    {"bootstrap", "whether a power law is plausible"},
};

/* --- lines of text ------------------------------------------------------------------------- */

/* Words, wrapped within the terminal's width; further lines are indented by two more. */
static void say(const struct context *cx, size_t indent, enum colour c, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

static void say(const struct context *cx, size_t indent, enum colour c, const char *fmt, ...)
{
    size_t width = cx->out.width < TEXT_WIDTH ? cx->out.width : TEXT_WIDTH, column = indent;
    AUTO(freep) char *raw = NULL;
    AUTO(freep) char *clean = NULL;
    char *rest, *word;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&raw, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    rest = clean = text_clean(raw);
    printf("%*s%s", (int)indent, "", c == COLOUR_NONE ? "" : term_colour(&cx->out, c));
    for (bool first = true; (word = strsep(&rest, " ")); first = false) {
        AUTO(freep) char *fits = text_shorten(word, width - indent - 2);
        size_t w = text_width(fits);

        if (!first && column + 1 + w > width) {
            printf("\n%*s%s", (int)indent + 2, "", fits);
            column = indent + 2 + w;
        } else {
            printf("%s%s", first ? "" : " ", fits);
            column += w + (first ? 0 : 1);
        }
    }
    printf("%s\n", c == COLOUR_NONE ? "" : term_colour(&cx->out, COLOUR_NONE));
}

static void heading(const struct context *cx, const char *text)
{
    printf("\n");
    say(cx, 0, COLOUR_BOLD, "%s", text);
}

/* --- the model and its numbers --------------------------------------------------------------- */

static void print_head(const struct context *cx, const json_t *analysis, const json_t *model)
{
    const json_t *s = json_object_get(analysis, "summary");
    const char *type = field_text(model, "model_type"), *key;
    AUTO(freep) char *when = xstrdup(field_text(analysis, "created_at"));
    const json_t *params = json_object_get(analysis, "params");
    bool merged = strcmp(field_text(params, "adapter"), "merged") == 0;
    json_t *label;

    when[strcspn(when, ".")] = '\0';
    if (strchr(when, 'T'))
        *strchr(when, 'T') = ' ';
    say(cx, 0, COLOUR_BOLD, "%s%s%s", field_text(model, "name"), *type ? ", " : "", type);
    say(cx, 0, COLOUR_NONE, "%lld parameters in %lld tensors", field_count(model, "parameters"),
        field_count(model, "tensors"));
    say(cx, 0, COLOUR_NONE, "%s of %s UTC", field_text(analysis, "id"), when);
    if (*field_text(s, "base"))
        say(cx, 0, COLOUR_NONE, "%s %s", merged ? "merged with" : "differences from",
            field_text(s, "base"));
    json_object_foreach(json_object_get(analysis, "labels"), key, label)
    {
        say(cx, 0, COLOUR_NONE, "%s=%s", key,
            json_string_value(label) ? json_string_value(label) : "");
    }
    say(cx, 0, COLOUR_NONE, "%lld layers analysed, %lld failed, %lld tensors skipped",
        field_count(s, "rows_success"), field_count(s, "rows_failed"),
        field_count(s, "rows_skipped"));
}

static void add_mean(struct table *t, const json_t *s, const char *key, const char *name)
{
    const json_t *medians = json_object_get(s, "median");
    double mean = 0, median = 0;
    bool has = field_number(s, key, &mean), has_median = field_number(medians, key, &median);

    if (!has && !has_median)
        return;
    table_cell(t, COLOUR_NONE, "%s", name);
    table_number(t, COLOUR_NONE, has, mean, 3);
    table_number(t, COLOUR_NONE, has_median, median, 3);
}

static void print_means(const struct context *cx, const json_t *s)
{
    static const struct table_column columns[] = {
        {"", false, false, 0}, {"mean", true, false, 0}, {"median", true, false, 0}};
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));

    printf("\n");
    add_mean(t, s, "alpha", "alpha");
    add_mean(t, s, "alpha_weighted", "alpha_weighted (alpha-hat)");
    add_mean(t, s, "log_norm", "log_norm");
    add_mean(t, s, "log_spectral_norm", "log_spectral_norm");
    add_mean(t, s, "log_alpha_norm", "log_alpha_norm");
    add_mean(t, s, "stable_rank", "stable_rank");
    add_mean(t, s, "mp_softrank", "mp_softrank");
    table_print(t, &cx->out);
    printf("\n");
}

static void print_run(const struct context *cx, const json_t *flow, const char *key,
                      const char *where)
{
    const json_t *run = json_object_get(flow, key);

    if (field_count(run, "rows") > 1)
        say(cx, 0, COLOUR_NONE, "Longest run with alpha %s: %lld layers from %s.", where,
            field_count(run, "rows"), field_text(run, "first"));
}

static void print_flow(const struct context *cx, const json_t *flow)
{
    double slope, tau, first, last;

    if (!field_number(flow, "slope", &slope) || !field_number(flow, "first_third", &first) ||
        !field_number(flow, "last_third", &last))
        return;
    if (!field_number(flow, "tau", &tau))
        tau = 0;
    say(cx, 0, COLOUR_NONE,
        "Along the depth: median alpha %.2f in the first third, %.2f in the last; %+.3f a layer, "
        "Kendall's tau %.2f.",
        first, last, slope, tau);
    print_run(cx, flow, "longest_above", "above 6");
    print_run(cx, flow, "longest_below", "below 2");
}

static void print_counts(const struct context *cx, const json_t *s)
{
    long long under = field_count(s, "under_trained"), over = field_count(s, "over_trained");
    struct buf phases = BUF_INIT;
    const char *key;
    json_t *v;

    say(cx, 0, COLOUR_NONE,
        "Warnings: %lld under-trained (alpha > 6), %lld over-trained (alpha < 2), %lld none.",
        under, over, field_count(s, "rows_success") - under - over);
    json_object_foreach(json_object_get(s, "phases"), key, v)
    {
        buf_printf(&phases, "%s%lld %s", phases.len ? ", " : "", (long long)json_integer_value(v),
                   key);
    }
    if (phases.len)
        say(cx, 0, COLOUR_NONE, "Phases: %.*s.", (int)phases.len, (const char *)phases.data);
    buf_done(&phases);
}

/* --- what to look at first ----------------------------------------------------------------- */

struct finding_text {
    const char *name;
    enum colour colour;
    const char *what, *unit;
    int decimals;
};

static const struct finding_text *text_of(const char *name)
{
    static const struct finding_text texts[] = {
        {"failed", COLOUR_RED, "without a result", "", 0},
        {"alpha_above_6", COLOUR_RED, "with alpha > 6: under-trained", "alpha ", 2},
        {"alpha_below_2", COLOUR_RED, "with alpha < 2: over-trained", "alpha ", 2},
        {"scale_collapse", COLOUR_YELLOW,
         "with a largest eigenvalue far below others of their type: averages of norms mislead",
         "log_spectral_norm ", 2},
        {"out_of_line", COLOUR_YELLOW, "with an alpha far from others of their type", "alpha ", 2},
        {"risky_traps", COLOUR_RED,
         "with risky correlation traps (spectralctl traps says which weights carry them)", "risk ",
         2},
        {"traps", COLOUR_YELLOW, "with correlation traps: single weights, or a mean, make spikes",
         "traps ", 0},
        {"power_law_doubtful", COLOUR_YELLOW, "whose tail is hardly a power law", "p ", 3},
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strcmp(texts[i].name, name) == 0)
            return &texts[i];
    return NULL;
}

static void print_finding(const struct context *cx, const json_t *finding)
{
    const struct finding_text *text = text_of(field_text(finding, "finding"));
    long long rows = field_count(finding, "rows"), low = field_count(finding, "low_confidence");
    const json_t *layers = json_object_get(finding, "layers");
    size_t named = json_array_size(layers), shown = named < LAYERS_SHOWN ? named : LAYERS_SHOWN;

    if (!text)
        return;
    if (low)
        say(cx, 2, text->colour, "%lld layer%s %s; %lld with low confidence: noise fits, too", rows,
            rows == 1 ? "" : "s", text->what, low);
    else
        say(cx, 2, text->colour, "%lld layer%s %s", rows, rows == 1 ? "" : "s", text->what);
    for (size_t i = 0; i < shown; i++) {
        const json_t *l = json_array_get(layers, i);
        double value, z, confidence, column;

        if (field_number(l, "value", &value) && field_number(l, "z", &z))
            say(cx, 4, COLOUR_NONE, "%s: %s%.*f, z %.1f", field_text(l, "longname"), text->unit,
                text->decimals, value, z);
        else if (!field_number(l, "value", &value))
            say(cx, 4, COLOUR_NONE, "%s: %s", field_text(l, "longname"), field_text(l, "reason"));
        else if (field_number(l, "trap_column", &column))
            say(cx, 4, COLOUR_NONE, "%s: %s%.*f, %s, first at row %lld, column %lld",
                field_text(l, "longname"), text->unit, text->decimals, value,
                strncmp(field_text(l, "trap_label"), "diffuse", 7) == 0 ? "diffuse" : "localised",
                field_count(l, "trap_row"), field_count(l, "trap_column"));
        else if (strcmp(text->unit, "alpha ") == 0 && field_number(l, "confidence", &confidence))
            say(cx, 4, COLOUR_NONE, "%s: %s%.*f, confidence %.2f", field_text(l, "longname"),
                text->unit, text->decimals, value, confidence);
        else
            say(cx, 4, COLOUR_NONE, "%s: %s%.*f", field_text(l, "longname"), text->unit,
                text->decimals, value);
    }
    if (rows > (long long)shown)
        say(cx, 4, COLOUR_DIM, "and %lld more", rows - (long long)shown);
}

static void print_findings(const struct context *cx, const json_t *findings)
{
    const json_t *finding;
    size_t i;

    heading(cx, "What to look at first");
    json_array_foreach(findings, i, finding)
    {
        print_finding(cx, finding);
    }
    if (json_array_size(findings) == 0)
        say(cx, 2, COLOUR_GREEN, "nothing stands out");
}

/* --- tables -------------------------------------------------------------------------------- */

static void add_number(struct table *t, enum colour c, const json_t *row, const char *key, int d)
{
    double x = 0;
    bool has = field_number(row, key, &x);

    table_number(t, c, has, x, d);
}

static void print_types(const struct context *cx, const json_t *types)
{
    static const struct table_column columns[] = {
        {"type", false, false, 6},  {"role", false, false, 0},
        {"layers", true, false, 0}, {"alpha", true, false, 0},
        {"median", true, false, 2}, {"min", true, false, 4},
        {"max", true, false, 3},    {"> 6", true, false, 0},
        {"< 2", true, false, 0},    {"log_spectral_norm", true, false, 5},
    };
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *type;
    size_t i;

    heading(cx, "By type");
    if (!types)
        say(cx, 2, COLOUR_NONE, "The analysis is older than this table: analyze the model again.");
    json_array_foreach(types, i, type)
    {
        const json_t *alpha = json_object_get(type, "alpha");

        table_cell(t, COLOUR_NONE, "%s", field_text(type, "layer_type"));
        table_cell(t, COLOUR_NONE, "%s", field_text(type, "role"));
        table_cell(t, COLOUR_NONE, "%lld", field_count(type, "rows"));
        add_number(t, COLOUR_NONE, alpha, "mean", 3);
        add_number(t, COLOUR_NONE, alpha, "median", 3);
        add_number(t, COLOUR_NONE, alpha, "min", 3);
        add_number(t, COLOUR_NONE, alpha, "max", 3);
        add_number(t, COLOUR_NONE, type, "under_trained", 0);
        add_number(t, COLOUR_NONE, type, "over_trained", 0);
        add_number(t, COLOUR_NONE, type, "median_log_spectral_norm", 3);
    }
    if (json_array_size(types))
        table_print(t, &cx->out);
}

static void add_worst(struct table *t, const json_t *row, bool phase)
{
    double alpha = 0, sigma;
    bool out = field_number(row, "alpha", &alpha) && (alpha > 6 || alpha < 2);
    enum colour c = out ? COLOUR_RED : COLOUR_NONE;

    table_cell(t, COLOUR_DIM, "%lld", field_count(row, "layer_id"));
    table_cell(t, COLOUR_NONE, "%s", field_text(row, "longname"));
    table_cell(t, COLOUR_NONE, "%s", field_text(row, "role"));
    if (phase)
        table_cell(t, COLOUR_NONE, "%s",
                   *field_text(row, "phase") ? field_text(row, "phase") : "-");
    if (field_number(row, "sigma", &sigma))
        table_cell(t, c, "%.3f ±%.3f", alpha, sigma);
    else
        table_number(t, c, true, alpha, 3);
    add_number(t, COLOUR_NONE, row, "D", 3);
    add_number(t, COLOUR_NONE, row, "num_pl_spikes", 0);
    if (phase)
        add_number(t, COLOUR_NONE, row, "confidence", 2);
    table_cell(t, COLOUR_YELLOW, "%s", field_text(row, "warning"));
}

static void print_worst(const struct context *cx, const json_t *worst, bool phase)
{
    static const struct table_column all[] = {
        {"id", true, false, 4},     {"layer", false, true, 0},      {"role", false, false, 6},
        {"phase", false, false, 0}, {"alpha", true, false, 0},      {"D", true, false, 2},
        {"tail", true, false, 5},   {"confidence", true, false, 1}, {"warning", false, false, 3},
    };
    struct table_column columns[ARRAY_LEN(all)];
    const json_t *row;
    size_t i, n = 0;

    if (json_array_size(worst) == 0)
        return;
    for (i = 0; i < ARRAY_LEN(all); i++)
        if (phase ||
            (strcmp(all[i].title, "phase") != 0 && strcmp(all[i].title, "confidence") != 0))
            columns[n++] = all[i];
    heading(cx, "Farthest from 2 <= alpha <= 6");
    AUTO(table_freep) struct table *t = table_new(columns, n);

    json_array_foreach(worst, i, row)
    {
        add_worst(t, row, phase);
    }
    table_print(t, &cx->out);
}

/* --- what is not there --------------------------------------------------------------------- */

static json_t *not_measured(const json_t *analysis)
{
    json_t *names = json_array();

    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (!findings_measured(analysis, wanted[i].name))
            (void)json_array_append_new(names, json_string(wanted[i].name));
    return names;
}

static void print_hints(const struct context *cx, const json_t *names)
{
    const json_t *name;
    size_t i;

    if (json_array_size(names) == 0)
        return;
    heading(cx, "Not measured");
    json_array_foreach(names, i, name)
    {
        for (size_t k = 0; k < ARRAY_LEN(wanted); k++)
            if (strcmp(wanted[k].name, json_string_value(name)) == 0)
                say(cx, 2, COLOUR_NONE, "%s: %s", wanted[k].name, wanted[k].what);
    }
    say(cx, 2, COLOUR_DIM, "Ask for it: spectralctl analyze MODEL --measure %s",
        json_string_value(json_array_get(names, 0)));
}

/* --- the command --------------------------------------------------------------------------- */

static void print_page(const struct context *cx, const json_t *page)
{
    const json_t *analysis = json_object_get(page, "analysis");
    const json_t *summary = json_object_get(analysis, "summary");

    print_head(cx, analysis, json_object_get(page, "model"));
    print_means(cx, summary);
    print_counts(cx, summary);
    print_flow(cx, json_object_get(summary, "correlation_flow"));
    print_findings(cx, json_object_get(page, "findings"));
    print_types(cx, json_object_get(summary, "types"));
    print_worst(cx, json_object_get(page, "worst"), findings_measured(analysis, "phase"));
    print_hints(cx, json_object_get(page, "not_measured"));
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct report_settings *s = settings;
    AUTO(freep) char *id = http_escape(operands->value[0]);
    AUTO(freep) char *path = xasprintf("/v1/analyses/%s", id);
    AUTO(freep)
    char *rows_path = xasprintf("/v1/analyses/%s/layers?columns=" FINDINGS_COLUMNS, id);
    json_auto_t *analysis = NULL, *model = NULL, *rows = NULL, *page = NULL;
    int status = EXIT_DONE;

    if (!command_call(cx, "GET", path, &analysis, &status))
        return status;
    AUTO(freep) char *model_id = http_escape(field_text(analysis, "model"));
    AUTO(freep) char *model_path = xasprintf("/v1/models/%s", model_id);
    if (!command_call(cx, "GET", model_path, &model, &status))
        return status;
    rows = pages_fetch(cx, rows_path, "layers", SIZE_MAX, NULL, &status);
    if (!rows)
        return status;
    page = json_pack("{s:O,s:O,s:o,s:o,s:o}", "analysis", analysis, "model", model, "findings",
                     findings_make(analysis, rows), "worst",
                     findings_worst(rows, s->worst.given ? (size_t)s->worst.value : WORST_SHOWN),
                     "not_measured", not_measured(analysis));
    if (s->json)
        command_print_json(page);
    else
        print_page(cx, page);
    return EXIT_DONE;
}

const struct command command_report = {&args, sizeof(struct report_settings), run};
