/* report.c: an analysis as people read it: a line per layer, then what to make of it. */
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static bool number_of(const json_t *o, const char *key, double *out)
{
    const json_t *v = json_object_get(o, key);

    *out = json_number_value(v);
    return json_is_number(v);
}

/* --- loading ------------------------------------------------------------------------------- */

/* All rows, page by page. */
static json_t *load_layers(struct context *cx, const char *id, int *status)
{
    json_t *all = json_array();
    AUTO(freep) char *path = xasprintf("/v1/analyses/%s/layers?page_size=10000", id);

    while (path) {
        json_t *page = NULL;
        const char *token;

        if (!command_call(cx, "GET", path, &page, status)) {
            json_decref(all);
            return NULL;
        }
        json_array_extend(all, json_object_get(page, "layers"));
        token = text_of(page, "next_page_token");
        free(path);
        path = NULL;
        if (*token) {
            AUTO(freep) char *escaped = http_escape(token);

            path = xasprintf("/v1/analyses/%s/layers?page_size=10000&page_token=%s", id, escaped);
        }
        json_decref(page);
    }
    return all;
}

/* --- the table ----------------------------------------------------------------------------- */

static const struct table_column columns[] = {
    {"id", true, false, 0},        {"layer", false, true, 0},
    {"type", false, false, 4},     {"shape", true, false, 2},
    {"alpha", true, false, 0},     {"D", true, false, 0},
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
    bool has = number_of(row, key, &x);

    table_number(t, c, has, x, d);
}

static void add_row(struct table *t, const json_t *row)
{
    bool failed = strcmp(text_of(row, "status"), "success") != 0;
    const char *note = failed ? text_of(row, "reason") : text_of(row, "warning");
    double alpha, n = 0, m = 0;
    bool has = number_of(row, "alpha", &alpha);

    table_cell(t, COLOUR_DIM, "%lld",
               (long long)json_integer_value(json_object_get(row, "layer_id")));
    table_cell(t, COLOUR_NONE, "%s", text_of(row, "longname"));
    table_cell(t, COLOUR_NONE, "%s", text_of(row, "layer_type"));
    if (number_of(row, "N", &n) && number_of(row, "M", &m))
        table_cell(t, COLOUR_NONE, "%.0fx%.0f", n, m);
    else
        table_cell(t, COLOUR_NONE, "-");
    table_number(t, has ? alpha_colour(alpha) : COLOUR_NONE, has, alpha, 3);
    add_number(t, COLOUR_NONE, row, "D", 3);
    add_number(t, COLOUR_NONE, row, "num_pl_spikes", 0);
    add_number(t, COLOUR_NONE, row, "alpha_weighted", 3);
    add_number(t, COLOUR_NONE, row, "log_norm", 3);
    add_number(t, COLOUR_NONE, row, "stable_rank", 2);
    add_number(t, COLOUR_NONE, row, "rank_loss", 0);
    table_cell(t, failed ? COLOUR_RED : COLOUR_YELLOW, "%s", note);
}

static void print_table(const struct context *cx, const json_t *layers)
{
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));
    size_t i, shown = 0;
    const json_t *row;

    json_array_foreach(layers, i, row)
    {
        if (strcmp(text_of(row, "status"), "skipped") == 0)
            continue;
        add_row(t, row);
        shown++;
    }
    if (shown)
        table_print(t, &cx->out);
    else
        printf("no layer was analysed\n");
}

/* --- the summary --------------------------------------------------------------------------- */

static long long count_of(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static void print_mean(const json_t *s, const char *key)
{
    double mean, median;
    const json_t *medians = json_object_get(s, "median");

    if (number_of(s, key, &mean) && number_of(medians, key, &median))
        printf("  %-18s %10.4f  (median %.4f)\n", key, mean, median);
}

static void print_skipped(const json_t *s)
{
    const char *key;
    json_t *v;
    const char *sep = " (";

    if (count_of(s, "rows_skipped") == 0)
        return;
    printf(", %lld skipped", count_of(s, "rows_skipped"));
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
    long long under = count_of(s, "under_trained"), over = count_of(s, "over_trained");

    if (under)
        printf("  %lld layer%s with alpha > 6: under-trained\n", under, under == 1 ? "" : "s");
    if (over)
        printf("  %lld layer%s with alpha < 2: over-trained\n", over, over == 1 ? "" : "s");
    if (!under && !over && count_of(s, "rows_averaged"))
        printf("  every layer has 2 <= alpha <= 6\n");
}

static void print_summary(const json_t *analysis, const json_t *job)
{
    const json_t *s = json_object_get(analysis, "summary");
    const json_t *cache = json_object_get(job, "cache");
    static const char *const means[] = {"alpha",    "alpha_weighted",    "log_alpha_norm",
                                        "log_norm", "log_spectral_norm", "stable_rank"};
    AUTO(freep) char *rule = text_clean(text_of(s, "rows_averaged_rule"));

    printf("\nsummary: %lld rows averaged (%s)", count_of(s, "rows_averaged"), rule);
    if (count_of(s, "rows_failed"))
        printf(", %lld failed", count_of(s, "rows_failed"));
    print_skipped(s);
    printf("\n");
    for (size_t i = 0; i < ARRAY_LEN(means); i++)
        print_mean(s, means[i]);
    print_verdict(s);
    if (job)
        printf("  %lld spectra computed, %lld from the cache\n", count_of(cache, "misses"),
               count_of(cache, "hits"));
    printf("analysis %s of model %s\n", text_of(analysis, "id"), text_of(analysis, "model"));
}

int report_analysis(struct context *cx, const char *analysis_id, const json_t *job, bool as_json)
{
    AUTO(freep) char *path = xasprintf("/v1/analyses/%s", analysis_id);
    json_t *analysis = NULL, *layers;
    int status = EXIT_DONE;

    if (!command_call(cx, "GET", path, &analysis, &status))
        return status;
    layers = load_layers(cx, analysis_id, &status);
    if (layers && as_json) {
        json_t *all = json_pack("{s:O,s:O}", "analysis", analysis, "layers", layers);

        json_dumpf(all, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
        printf("\n");
        json_decref(all);
    } else if (layers) {
        print_table(cx, layers);
        print_summary(analysis, job);
    }
    json_decref(layers);
    json_decref(analysis);
    return status;
}
