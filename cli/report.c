/* report.c: an analysis as people read it: a line per layer, then what to make of it. */
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/pages.h"
#include "cli/table.h"
#include "cli/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- the table ----------------------------------------------------------------------------- */

#define FARMS "farms_alpha" /* a column where windows were asked for */
#define PHASE "phase"       /* a column unless phases were switched off */

static const struct table_column usual[] = {
    {"id", true, false, 0},        {"layer", false, true, 0},
    {"type", false, false, 4},     {"shape", true, false, 2},
    {"alpha", true, false, 0},     {"D", true, false, 0},
    {PHASE, false, false, 2},      {FARMS, true, false, 0},
    {"tail", true, false, 3},      {"alpha_weighted", true, false, 5},
    {"log_norm", true, false, 3},  {"stable_rank", true, false, 2},
    {"rank_loss", true, false, 5}, {"note", false, false, 1},
};

static enum colour alpha_colour(double alpha)
{
    if (alpha < 2 || alpha > 6)
        return COLOUR_RED;
    return alpha > 5 ? COLOUR_YELLOW : COLOUR_GREEN;
}

static void add_number(struct table *t, enum colour c, const json_t *row, const char *key, int d)
{
    double x;
    bool has = field_number(row, key, &x);

    table_number(t, c, has, x, d);
}

/* Long side, short side, and the number of such matrices when a kernel has several. */
static void add_shape(struct table *t, const json_t *row)
{
    double n, m, slices = 1;

    (void)field_number(row, "rf", &slices);
    if (!field_number(row, "N", &n) || !field_number(row, "M", &m))
        table_cell(t, COLOUR_NONE, "-");
    else if (slices > 1)
        table_cell(t, COLOUR_NONE, "%.0fx%.0f x%.0f", n, m, slices);
    else
        table_cell(t, COLOUR_NONE, "%.0fx%.0f", n, m);
}

/* The exponent of the windows, with its standard error where they were a sample. */
static void add_farms(struct table *t, const json_t *row)
{
    double alpha, error = 0;

    (void)field_number(row, "farms_alpha_se", &error);
    if (!field_number(row, FARMS, &alpha))
        table_cell(t, COLOUR_DIM, "%s",
                   *field_text(row, "farms_reason") ? field_text(row, "farms_reason") : "-");
    else if (error > 0)
        table_cell(t, COLOUR_NONE, "%.3f ±%.3f", alpha, error);
    else
        table_cell(t, COLOUR_NONE, "%.3f", alpha);
}

static void add_row(struct table *t, const json_t *row, bool phase, bool farms)
{
    bool failed = strcmp(field_text(row, "status"), "success") != 0;
    const char *note = failed ? field_text(row, "reason") : field_text(row, "warning");
    double alpha = 0;
    bool has = field_number(row, "alpha", &alpha);

    table_cell(t, COLOUR_DIM, "%lld", field_count(row, "layer_id"));
    table_cell(t, COLOUR_NONE, "%s", field_text(row, "longname"));
    table_cell(t, COLOUR_NONE, "%s", field_text(row, "layer_type"));
    add_shape(t, row);
    table_number(t, has ? alpha_colour(alpha) : COLOUR_NONE, has, alpha, 3);
    add_number(t, COLOUR_NONE, row, "D", 3);
    if (phase)
        table_cell(t, COLOUR_NONE, "%s", *field_text(row, PHASE) ? field_text(row, PHASE) : "-");
    if (farms)
        add_farms(t, row);
    add_number(t, COLOUR_NONE, row, "num_pl_spikes", 0);
    add_number(t, COLOUR_NONE, row, "alpha_weighted", 3);
    add_number(t, COLOUR_NONE, row, "log_norm", 3);
    add_number(t, COLOUR_NONE, row, "stable_rank", 2);
    add_number(t, COLOUR_NONE, row, "rank_loss", 0);
    table_cell(t, failed ? COLOUR_RED : COLOUR_YELLOW, "%s%s", failed ? "failed: " : "", note);
}

/* Some row has an exponent of windows, or a reason why not. */
static bool any_farms(const json_t *layers)
{
    const json_t *row;
    size_t i;

    json_array_foreach(layers, i, row)
    {
        if (json_is_number(json_object_get(row, FARMS)) ||
            json_is_string(json_object_get(row, "farms_reason")))
            return true;
    }
    return false;
}

static bool any_phase(const json_t *layers)
{
    const json_t *row;
    size_t i;

    json_array_foreach(layers, i, row)
    {
        if (*field_text(row, PHASE))
            return true;
    }
    return false;
}

static void print_table(const struct context *cx, const json_t *layers)
{
    struct table_column columns[ARRAY_LEN(usual)];
    bool farms = any_farms(layers), phase = any_phase(layers);
    size_t i, n = 0, shown = 0;
    const json_t *row;

    for (i = 0; i < ARRAY_LEN(usual); i++)
        if ((farms || strcmp(usual[i].title, FARMS) != 0) &&
            (phase || strcmp(usual[i].title, PHASE) != 0))
            columns[n++] = usual[i];
    AUTO(table_freep) struct table *t = table_new(columns, n);

    json_array_foreach(layers, i, row)
    {
        if (strcmp(field_text(row, "status"), "skipped") == 0)
            continue;
        add_row(t, row, phase, farms);
        shown++;
    }
    if (shown)
        table_print(t, &cx->out);
    else
        printf("no layer was analysed\n");
}

/* --- the summary --------------------------------------------------------------------------- */

static void print_mean(const json_t *s, const char *key)
{
    double mean, median;
    const json_t *medians = json_object_get(s, "median");

    if (field_number(s, key, &mean) && field_number(medians, key, &median))
        printf("  %-18s %10.4f  (median %.4f)\n", key, mean, median);
}

static void print_skipped(const json_t *s)
{
    const char *key;
    json_t *v;
    const char *sep = " (";

    if (field_count(s, "rows_skipped") == 0)
        return;
    printf(", %lld skipped", field_count(s, "rows_skipped"));
    json_object_foreach(json_object_get(s, "skipped_by_reason"), key, v)
    {
        AUTO(freep) char *clean = text_clean(key);

        printf("%s%lld %s", sep, (long long)json_integer_value(v), clean);
        sep = ", ";
    }
    if (*sep == ',')
        printf(")");
}

static void print_verdict(const json_t *s)
{
    long long under = field_count(s, "under_trained"), over = field_count(s, "over_trained");

    if (under)
        printf("  %lld layer%s with alpha > 6: under-trained\n", under, under == 1 ? "" : "s");
    if (over)
        printf("  %lld layer%s with alpha < 2: over-trained\n", over, over == 1 ? "" : "s");
    if (!under && !over && field_count(s, "rows_averaged"))
        printf("  every layer has 2 <= alpha <= 6\n");
}

static void print_time(const json_t *job)
{
    int64_t from = field_time_ms(job, "created_at"), to = field_time_ms(job, "finished_at");
    char text[TEXT_SECONDS_MAX];

    if (from < 0 || to < from)
        return;
    text_seconds((double)(to - from) / 1000, text);
    printf("  %s from submission to result\n", text);
}

static void print_summary(const json_t *analysis, const json_t *job)
{
    const json_t *s = json_object_get(analysis, "summary");
    const json_t *cache = json_object_get(job, "cache");
    static const char *const means[] = {"alpha",    "alpha_weighted",    "log_alpha_norm",
                                        "log_norm", "log_spectral_norm", "stable_rank"};
    AUTO(freep) char *rule = text_clean(field_text(s, "rows_averaged_rule"));

    printf("\nsummary: %lld rows averaged (%s)", field_count(s, "rows_averaged"), rule);
    if (field_count(s, "rows_failed"))
        printf(", %lld failed", field_count(s, "rows_failed"));
    print_skipped(s);
    printf("\n");
    for (size_t i = 0; i < ARRAY_LEN(means); i++)
        print_mean(s, means[i]);
    print_verdict(s);
    if (job)
        print_time(job);
    if (job)
        printf("  %lld spectra computed, %lld from the cache\n", field_count(cache, "misses"),
               field_count(cache, "hits"));
    printf("analysis %s of model %s\n", field_text(analysis, "id"), field_text(analysis, "model"));
}

static bool any_number(const json_t *rows, const char *key)
{
    const json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (json_is_number(json_object_get(row, key)))
            return true;
    }
    return false;
}

/* Rows with the columns asked for, as a table. */
static int print_columns(const struct context *cx, const json_t *layers, const char *names)
{
    struct table_column chosen[TABLE_COLUMNS_MAX] = {0};
    AUTO(freep) char *list = xstrdup(names);
    char *rest = list, *name;
    size_t n = 0, i;
    const json_t *row;

    while ((name = strsep(&rest, ","))) {
        if (n == TABLE_COLUMNS_MAX)
            return command_misused("a table has at most %d columns: take --csv or --json",
                                   TABLE_COLUMNS_MAX);
        chosen[n++] = (struct table_column){.title = name,
                                            .right = any_number(layers, name),
                                            .shrinks = strcmp(name, "longname") == 0};
    }
    AUTO(table_freep) struct table *t = table_new(chosen, n);
    json_array_foreach(layers, i, row)
    {
        for (size_t c = 0; c < n; c++)
            table_json(t, json_object_get(row, chosen[c].title));
    }
    table_print(t, &cx->out);
    return EXIT_DONE;
}

/* "/v1/analyses/ID/layers" with its query. */
static char *layers_path_of(const char *analysis_id, const char *columns)
{
    AUTO(freep) char *escaped = http_escape(columns ? columns : "");

    return xasprintf("/v1/analyses/%s/layers%s%s", analysis_id, columns ? "?columns=" : "",
                     escaped);
}

int report_analysis(struct context *cx, const char *analysis_id, const json_t *job,
                    const struct output_form *form, const char *columns)
{
    AUTO(freep) char *path = xasprintf("/v1/analyses/%s", analysis_id);
    AUTO(freep) char *layers_path = layers_path_of(analysis_id, columns);
    json_auto_t *analysis = NULL, *layers = NULL;
    int status = EXIT_DONE;

    if (form->csv)
        return pages_csv(cx, layers_path, stdout);
    if (!command_call(cx, "GET", path, &analysis, &status))
        return status;
    if (form->quiet) {
        printf("%s\n", field_text(analysis, "id"));
        return EXIT_DONE;
    }
    layers = pages_fetch(cx, layers_path, "layers", SIZE_MAX, NULL, &status);
    if (!layers)
        return status;
    if (form->json) {
        json_auto_t *all =
            json_pack("{s:O*,s:O,s:O}", "job", job, "analysis", analysis, "layers", layers);

        command_print_json(all);
        return EXIT_DONE;
    }
    if (columns)
        return print_columns(cx, layers, columns);
    print_table(cx, layers);
    print_summary(analysis, job);
    return EXIT_DONE;
}
