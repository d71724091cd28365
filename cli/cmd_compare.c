/* cmd_compare.c: spectralctl compare and trend: the same layers in several analyses */
#include "cli/commands.h"
#include "cli/distance_table.h"
#include "cli/field.h"
#include "cli/outfile.h"
#include "cli/pages.h"
#include "cli/table.h"
#include "cli/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ANALYSES_MAX 64 /* of one comparison */
#define SHOWN        20 /* layers in the table */

struct compare_settings {
    struct output_form form;
    const char *metrics, *step, *plot, *kind;
    struct arg_count top;
    bool changed, distances;
};

#define AT(field) offsetof(struct compare_settings, field)
static const struct arg_option compare_options[] = {
    {"metrics", ARG_TEXT, AT(metrics), "COLUMN,...",
     "numeric columns of layers; the table shows the first\n(default: alpha, D, log_spectral_norm, "
     "stable_rank)"},
    {"step", ARG_TEXT, AT(step), "KEY", "order by the number of this label"},
    {"changed", ARG_FLAG, AT(changed), NULL,
     "only layers whose weights are not those of the last\nanalysis but one"},
    {"distances", ARG_FLAG, AT(distances), NULL,
     "also how far the weights went; what nobody has measured\nyet is measured first, by a job"},
    {"top", ARG_COUNT, AT(top), "N", "layers in the table, the biggest movers first (20)"},
    {"plot", ARG_TEXT, AT(plot), "FILE", "also write a picture (SVG) to FILE"},
    {"kind", ARG_TEXT, AT(kind), "alpha_scatter|trend", "what it shows (alpha_scatter)"},
    {"json", ARG_FLAG, AT(form.json), NULL, "print JSON"},
    {"csv", ARG_FLAG, AT(form.csv), NULL, "print CSV, a line per layer and metric"},
};
static const struct arg_command compare_args = {
    .name = "compare",
    .operands = "ANALYSIS ANALYSIS...",
    .min_operands = 2,
    .max_operands = ANALYSES_MAX,
    .summary = "Show what moved between analyses, layer by layer.",
    .notes = "Layers are matched by their names. Differences are of the last and the first\n"
             "analysis.\n\n"
             "Examples:\n"
             "  spectralctl compare ana_01J... ana_01K... --plot moved.svg\n"
             "  spectralctl compare ana_01J... ana_01K... --changed --csv\n",
    .options = compare_options,
    .n_options = ARRAY_LEN(compare_options),
};

static const struct arg_option trend_options[] = {
    {"metrics", ARG_TEXT, AT(metrics), "COLUMN,...",
     "numeric columns of layers; the table shows the first\n(default: alpha)"},
    {"step", ARG_TEXT, AT(step), "KEY", "label that orders the analyses (step)"},
    {"top", ARG_COUNT, AT(top), "N", "layers in the table, the biggest movers first (20)"},
    {"plot", ARG_TEXT, AT(plot), "FILE", "also write a picture (SVG) to FILE"},
    {"json", ARG_FLAG, AT(form.json), NULL, "print JSON"},
    {"csv", ARG_FLAG, AT(form.csv), NULL, "print CSV, a line per layer and metric"},
};
static const struct arg_command trend_args = {
    .name = "trend",
    .operands = "LABEL:VALUE",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show how the layers go over a labelled run.",
    .notes = "Up to 64 analyses with the label: of more, the first, the last, and others evenly\n"
             "between. Of equal steps the newest analysis counts.\n\n"
             "Example:\n"
             "  spectralctl trend run:llama-7b --plot alpha.svg\n",
    .options = trend_options,
    .n_options = ARRAY_LEN(trend_options),
};

/* --- what is asked for ----------------------------------------------------------------------- */

static void add_query(struct buf *url, const char *name, const char *value)
{
    AUTO(freep) char *escaped = value ? http_escape(value) : NULL;

    if (value)
        buf_printf(url, "&%s=%s", name, escaped);
}

static void start_url(struct buf *url, const char *path, const char *const *ids, size_t n)
{
    buf_printf(url, "%s?analyses=", path);
    for (size_t i = 0; i < n; i++) {
        AUTO(freep) char *id = http_escape(ids[i]);

        buf_printf(url, "%s%s", i ? "," : "", id);
    }
}

static size_t layers_shown(const struct compare_settings *s)
{
    return s->top.given ? (size_t)s->top.value : SHOWN;
}

static char *table_url(const struct compare_settings *s, const char *const *ids, size_t n)
{
    struct buf url = BUF_INIT;

    start_url(&url, "/v1/comparisons", ids, n);
    add_query(&url, "metrics", s->metrics);
    add_query(&url, "step", s->step);
    buf_printf(&url, "%s%s&moved=%zu", s->changed ? "&changed=true" : "",
               s->distances ? "&distances=true" : "", layers_shown(s));
    buf_put_u8(&url, '\0');
    return (char *)url.data;
}

static char *plot_url(const struct compare_settings *s, const char *kind, const char *const *ids,
                      size_t n)
{
    struct buf url = BUF_INIT;
    AUTO(freep) char *metric = s->metrics ? strndup(s->metrics, strcspn(s->metrics, ",")) : NULL;

    start_url(&url, "/v1/comparisons/plot.svg", ids, n);
    add_query(&url, "kind", kind);
    if (strcmp(kind, "trend") == 0)
        add_query(&url, "metric", metric);
    add_query(&url, "step", s->step);
    buf_put_u8(&url, '\0');
    return (char *)url.data;
}

/* --- the table ------------------------------------------------------------------------------- */

static const json_t *layer_of(const json_t *comparison, const char *longname)
{
    const json_t *l;
    size_t i;

    json_array_foreach(json_object_get(comparison, "layers"), i, l)
    {
        if (strcmp(field_text(l, "longname"), longname) == 0)
            return l;
    }
    return NULL;
}

static const char *warning_of(double alpha)
{
    return alpha < 2 ? "over-trained" : alpha > 6 ? "under-trained" : "well trained";
}

/* What its exponent says before and after, where that is not the same. */
static void add_note(struct table *t, const char *metric, double first, double last)
{
    bool moved = strcmp(metric, "alpha") == 0 && strcmp(warning_of(first), warning_of(last)) != 0;

    table_cell(t, moved && (last < 2 || last > 6) ? COLOUR_YELLOW : COLOUR_NONE, "%s%s%s",
               moved ? warning_of(first) : "", moved ? " -> " : "", moved ? warning_of(last) : "");
}

static void add_number(struct table *t, enum colour c, const json_t *obj, const char *key, int d)
{
    double x = 0;
    bool has = field_number(obj, key, &x);

    table_number(t, c, has, x, d);
}

static void add_row(struct table *t, const json_t *layer, const json_t *moved, const char *metric)
{
    const json_t *of = json_object_get(json_object_get(layer, "metrics"), metric);
    const json_t *trend = json_object_get(of, "trend");
    double first = NAN, last = NAN, x = 0;
    bool has = field_number(moved, "first", &first) && field_number(moved, "last", &last);

    table_cell(t, COLOUR_NONE, "%s", field_text(layer, "longname"));
    table_number(t, COLOUR_NONE, has, first, 4);
    table_number(t, COLOUR_NONE, has, last, 4);
    add_number(t, COLOUR_NONE, moved, "difference", 4);
    add_number(t, COLOUR_DIM, moved, "z", 1);
    if (field_number(trend, "slope", &x))
        table_cell(t, COLOUR_NONE, "%.3g", x);
    else
        table_cell(t, COLOUR_NONE, "-");
    add_number(t, COLOUR_NONE, trend, "kendall", 2);
    add_note(t, metric, first, last);
}

static void print_movers(const struct context *cx, const json_t *comparison, const json_t *metric,
                         const char *name)
{
    static const struct table_column columns[] = {
        {"layer", false, true, 0},  {"first", true, false, 0}, {"last", true, false, 0},
        {"change", true, false, 0}, {"z", true, false, 4},     {"slope", true, false, 3},
        {"tau", true, false, 3},    {"note", false, false, 1},
    };
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *m;
    size_t i, n = 0;

    json_array_foreach(json_object_get(metric, "moved"), i, m)
    {
        const json_t *layer = layer_of(comparison, field_text(m, "longname"));

        if (!layer) /* left out, because it did not change */
            continue;
        add_row(t, layer, m, name);
        n++;
    }
    if (n)
        table_print(t, &cx->out);
    else
        printf("no layer moved\n");
}

static void print_missing(const json_t *comparison)
{
    long long all = field_count(comparison, "n_layers"),
              shared = field_count(comparison, "n_shared");

    if (all > shared)
        printf("  %lld of %lld layers are not in all analyses\n", all - shared, all);
}

static void print_mean(const json_t *metric, const char *name)
{
    const json_t *mean = json_object_get(metric, "mean");
    const json_t *a = json_array_get(mean, 0);
    const json_t *b = json_array_get(mean, json_array_size(mean) - 1);

    if (json_is_number(a) && json_is_number(b))
        printf("  mean of %s: %.4f, then %.4f\n", name, json_number_value(a), json_number_value(b));
}

static void print_comparison(const struct context *cx, const json_t *comparison)
{
    const json_t *metric = json_array_get(json_object_get(comparison, "metrics"), 0);
    const json_t *analyses = json_object_get(comparison, "analyses");
    AUTO(freep) char *name = text_clean(field_text(metric, "metric"));
    AUTO(freep) char *first = text_clean(field_text(json_array_get(analyses, 0), "id"));
    AUTO(freep)
    char *last =
        text_clean(field_text(json_array_get(analyses, json_array_size(analyses) - 1), "id"));

    printf("%s, %zu analyses, from %s to %s\n", name, json_array_size(analyses), first, last);
    print_movers(cx, comparison, metric, name);
    printf("\n%lld of %lld layers changed with the last step\n",
           field_count(comparison, "n_changed"), field_count(comparison, "n_layers"));
    print_mean(metric, name);
    printf("  exponents came into or left 2 <= alpha <= 6: %zu times\n",
           json_array_size(json_object_get(comparison, "warning_changes")));
    print_missing(comparison);
}

/* --- distances ------------------------------------------------------------------------------- */

/* As a job of kind distances would list them. */
static json_t *distance_rows(const json_t *comparison)
{
    json_t *rows = json_array();
    const json_t *l;
    size_t i;

    json_array_foreach(json_object_get(comparison, "layers"), i, l)
    {
        const json_t *d = json_object_get(l, "distance");
        const char *status = field_text(d, "status");
        json_t *row = json_deep_copy(d);

        (void)json_object_set(row, "longname", json_object_get(l, "longname"));
        if (strcmp(status, "identical") == 0)
            (void)json_object_set_new(row, "identical", json_true());
        else if (strcmp(status, "measured") != 0)
            (void)json_object_set_new(row, "reason", json_string(status));
        (void)json_array_append_new(rows, row);
    }
    return rows;
}

static void print_distances(const struct context *cx, const struct compare_settings *s,
                            const json_t *comparison)
{
    json_auto_t *rows = distance_rows(comparison);

    printf("\ndistances, from the first analysis to the last\n");
    distance_table_print(cx, rows, layers_shown(s));
}

/* Have those measured that are not known. */
static int measure(struct context *cx, const char *url)
{
    json_auto_t *comparison = NULL, *job = NULL;
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;
    const json_t *known, *request;
    int status = EXIT_DONE;

    if (!command_call(cx, "GET", url, &comparison, &status))
        return status;
    known = json_object_get(comparison, "distances");
    request = json_object_get(known, "request");
    if (field_count(known, "n_unknown") == 0)
        return EXIT_DONE;
    if (!json_is_object(request)) {
        fprintf(stderr, "the jobs that made these analyses are forgotten: measure with "
                        "spectralctl distances PATH BASE\n");
        return EXIT_DONE;
    }
    const struct http_request rq = {.method = "POST", .path = "/v1/jobs", .body = request};

    if (!command_request(cx, &rq, &reply, &status))
        return status;
    job = TAKE(reply.body);
    return job ? follow_job(cx, &job, false) : command_interrupted();
}

static int compare(struct context *cx, const struct compare_settings *s, const char *kind,
                   const char *const *ids, size_t n)
{
    AUTO(freep) char *url = table_url(s, ids, n);
    AUTO(freep) char *plot = plot_url(s, kind, ids, n);
    json_auto_t *comparison = NULL;
    int status = EXIT_DONE;

    if (s->plot)
        status = command_print(cx, plot, "image/svg+xml", s->plot);
    if (status == EXIT_DONE && s->distances)
        status = measure(cx, url);
    if (status != EXIT_DONE)
        return status;
    if (s->form.csv)
        return command_print(cx, url, "text/csv", NULL);
    if (!command_call(cx, "GET", url, &comparison, &status))
        return status;
    if (s->form.json)
        command_print_json(comparison);
    else
        print_comparison(cx, comparison);
    if (s->distances && !s->form.json)
        print_distances(cx, s, comparison);
    return EXIT_DONE;
}

static int run_compare(struct context *cx, const void *settings,
                       const struct arg_operands *operands)
{
    const struct compare_settings *s = settings;

    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    return compare(cx, s, s->kind ? s->kind : "alpha_scatter", operands->value, operands->count);
}

/* --- a run ----------------------------------------------------------------------------------- */

struct point {
    double at;
    const char *id; /* borrowed */
    size_t age;     /* the list has the newest first */
};

static int by_place(const void *x, const void *y)
{
    const struct point *a = x, *b = y;

    if (a->at != b->at)
        return (a->at > b->at) - (a->at < b->at);
    return (a->age > b->age) - (a->age < b->age);
}

/* Analyses in order of their steps, of equal steps the newest; those without a number are left
 * out. */
static size_t find_points(const json_t *analyses, const char *step, struct point *p)
{
    const json_t *a;
    size_t i, n = 0, kept = 0;

    json_array_foreach(analyses, i, a)
    {
        const char *text = field_text(json_object_get(a, "labels"), step);
        char *end;
        double at = strtod(text, &end);

        if (*text && !*end && isfinite(at))
            p[n++] = (struct point){at, field_text(a, "id"), i};
    }
    if (n)
        qsort(p, n, sizeof *p, by_place);
    for (i = 0; i < n; i++)
        if (kept == 0 || p[i].at != p[kept - 1].at)
            p[kept++] = p[i];
    return kept;
}

/* The first, the last, and others evenly between. */
static size_t choose(const struct point *p, size_t n, const char *ids[ANALYSES_MAX])
{
    size_t m = n < ANALYSES_MAX ? n : ANALYSES_MAX;

    for (size_t i = 0; i < m; i++)
        ids[i] = p[m == n ? i : i * (n - 1) / (m - 1)].id;
    return m;
}

static int run_trend(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    struct compare_settings s = *(const struct compare_settings *)settings;
    AUTO(freep) char *label = http_escape(operands->value[0]);
    AUTO(freep) char *path = xasprintf("/v1/analyses?label=%s", label);
    AUTO(freep) struct point *p = NULL;
    const char *ids[ANALYSES_MAX];
    json_auto_t *analyses = NULL;
    int status = EXIT_DONE;
    size_t n;

    if (!output_form_valid(&s.form))
        return EXIT_USAGE;
    s.step = s.step ? s.step : "step";
    s.metrics = s.metrics ? s.metrics : "alpha";
    analyses = pages_fetch(cx, path, "analyses", SIZE_MAX, NULL, &status);
    if (!analyses)
        return status;
    p = xcalloc(json_array_size(analyses) + 1, sizeof *p);
    n = find_points(analyses, s.step, p);
    if (n < 2)
        return command_misused("%zu of %zu analyses with this label have a number in their label "
                               "%s: it takes two",
                               n, json_array_size(analyses), s.step);
    n = choose(p, n, ids);
    return compare(cx, &s, "trend", ids, n);
}

const struct command command_compare = {&compare_args, sizeof(struct compare_settings),
                                        run_compare};
const struct command command_trend = {&trend_args, sizeof(struct compare_settings), run_trend};
