/* cmd_simpson.c: spectralctl simpson: metrics of models in groups, from a file. */
#include "cli/body.h"
#include "cli/commands.h"
#include "cli/csv_file.h"
#include "cli/field.h"
#include "cli/table.h"
#include "common/json_text.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PATH "/v1/diagnostics/simpson"

struct simpson_settings {
    struct output_form form;
    const char *group, *quality, *gap, *better;
    struct arg_list metric, hyper;
    struct arg_count replicates, seed;
    bool contest;
};

#define AT(field) offsetof(struct simpson_settings, field)
static const struct arg_option options[] = {
    {"group", ARG_TEXT, AT(group), "COLUMN", "what models are grouped by (group)"},
    {"quality", ARG_TEXT, AT(quality), "COLUMN", "what metrics ought to tell (quality)"},
    {"metric", ARG_LIST, AT(metric), "COLUMN", "a metric; several allowed (all with numbers)"},
    {"better", ARG_TEXT, AT(better), "higher|lower", "which quality is better (higher)"},
    {"replicates", ARG_COUNT, AT(replicates), "N", "random orders for each p"},
    {"seed", ARG_COUNT, AT(seed), "N", "of random orders (0)"},
    {"contest", ARG_FLAG, AT(contest), NULL, "the contest's score, too"},
    {"hyper", ARG_LIST, AT(hyper), "COLUMN", "a hyperparameter, for it; several allowed"},
    {"gap", ARG_TEXT, AT(gap), "COLUMN", "training less test accuracy, for it"},
    {"json", ARG_FLAG, AT(form.json), NULL, "print the server's answer as JSON"},
    {"csv", ARG_FLAG, AT(form.csv), NULL, "print CSV"},
};
#undef AT
static const struct arg_command args = {
    .name = "simpson",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Does a metric order models the same way in groups and over all?",
    .notes = "FILE is CSV with a line of names and a line for each model, or the JSON that the\n"
             "server takes; - is standard input.\n\n"
             "Examples:\n"
             "  spectralctl simpson models.csv --group depth --quality test_acc\n"
             "  spectralctl simpson models.csv --contest --hyper depth --hyper width --gap gap\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

/* --- from CSV to a request ------------------------------------------------------------------- */

/* The column of a name in the first line, -1 when there is none. */
static long column_of(const json_t *rows, const char *name)
{
    const json_t *title;
    size_t i;

    json_array_foreach(json_array_get(rows, 0), i, title)
    {
        if (strcmp(json_string_value(title), name) == 0)
            return (long)i;
    }
    return -1;
}

static const char *cell_of(const json_t *rows, size_t row, long column)
{
    return json_string_value(json_array_get(json_array_get(rows, row), (size_t)column));
}

/* A number, NULL when the text is none. */
static json_t *number_of(const char *text)
{
    char *end;
    double x = strtod(text, &end);

    return *end || end == text || !isfinite(x) ? NULL : json_real(x);
}

static bool is_column_of_numbers(const json_t *rows, size_t column)
{
    bool any = false;

    for (size_t i = 1; i < json_array_size(rows); i++) {
        const char *text = cell_of(rows, i, (long)column);
        json_auto_t *number = number_of(text);

        if (*text && !number)
            return false;
        any = any || number;
    }
    return any;
}

static bool is_in(const struct arg_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->value[i], name) == 0)
            return true;
    return false;
}

/* Names of the metrics: those asked for, else every column of numbers that is nothing else. */
static json_t *metrics_of(const json_t *rows, const struct simpson_settings *s)
{
    json_t *names = json_array();
    const json_t *title;
    size_t i;

    for (size_t k = 0; k < s->metric.count; k++)
        (void)json_array_append_new(names, json_string(s->metric.value[k]));
    json_array_foreach(json_array_get(rows, 0), i, title)
    {
        const char *name = json_string_value(title);

        if (!s->metric.count && strcmp(name, s->group) != 0 && strcmp(name, s->quality) != 0 &&
            strcmp(name, s->gap ? s->gap : "gap") != 0 && !is_in(&s->hyper, name) &&
            is_column_of_numbers(rows, i))
            (void)json_array_append_new(names, json_string(name));
    }
    return names;
}

/* A cell as a number, into `obj`; an empty one is left out where it may be. */
static bool put_number(json_t *obj, const char *key, const json_t *rows, size_t row,
                       const char *name, bool may_miss)
{
    const char *text = cell_of(rows, row, column_of(rows, name));
    json_t *number = number_of(text);

    if (!number && (*text || !may_miss)) {
        (void)command_misused("row %zu, column %s: expected a number, not \"%s\"", row, name, text);
        return false;
    }
    if (number)
        (void)json_object_set_new(obj, key, number);
    return true;
}

static bool put_row(json_t *out, const json_t *rows, size_t row, const json_t *metrics,
                    const struct simpson_settings *s)
{
    json_t *model =
        json_pack("{s:s,s:{}}", "group", cell_of(rows, row, column_of(rows, s->group)), "metrics");
    json_t *hypers = json_object();
    const json_t *name;
    size_t i;
    bool fine = put_number(model, "quality", rows, row, s->quality, false) &&
                (!s->gap || put_number(model, "gap", rows, row, s->gap, false));

    json_array_foreach(metrics, i, name)
    {
        fine = fine && put_number(json_object_get(model, "metrics"), json_string_value(name), rows,
                                  row, json_string_value(name), true);
    }
    for (size_t k = 0; k < s->hyper.count; k++) {
        const char *text = cell_of(rows, row, column_of(rows, s->hyper.value[k]));

        (void)json_object_set_new(hypers, s->hyper.value[k], json_string(text));
    }
    if (s->hyper.count)
        (void)json_object_set(model, "hyperparameters", hypers);
    json_decref(hypers);
    (void)json_array_append_new(out, model);
    return fine;
}

static bool has_columns(const json_t *rows, const json_t *metrics, const struct simpson_settings *s)
{
    const json_t *name;
    size_t i;

    json_array_foreach(metrics, i, name)
    {
        if (column_of(rows, json_string_value(name)) < 0) {
            (void)command_misused("no column is named \"%s\"", json_string_value(name));
            return false;
        }
    }
    for (size_t k = 0; k < s->hyper.count + 3; k++) {
        const char *of = k < s->hyper.count        ? s->hyper.value[k]
                         : k == s->hyper.count     ? s->group
                         : k == s->hyper.count + 1 ? s->quality
                                                   : s->gap;

        if (of && column_of(rows, of) < 0) {
            (void)command_misused("no column is named \"%s\"", of);
            return false;
        }
    }
    return true;
}

/* "rows" of the request; false after a message. */
static bool put_csv(json_t *body, const char *text, const struct simpson_settings *s)
{
    json_auto_t *rows = NULL, *metrics = NULL;
    json_t *out = json_array();
    struct err err;
    bool fine = true;

    (void)json_object_set_new(body, "rows", out);
    if (csv_read(text, &rows, &err) < 0) {
        (void)command_failed_here(&err);
        return false;
    }
    metrics = metrics_of(rows, s);
    if (!has_columns(rows, metrics, s))
        return false;
    for (size_t i = 1; fine && i < json_array_size(rows); i++)
        fine = put_row(out, rows, i, metrics, s);
    return fine;
}

/* A request as it is, or its rows alone. */
static bool put_json(json_t *body, const char *text)
{
    json_error_t e;
    json_auto_t *value = json_loads(text, JSON_REJECT_DUPLICATES, &e);

    if (!value)
        (void)command_misused("line %d: %s", e.line, e.text);
    else if (json_is_array(value))
        (void)json_object_set(body, "rows", value);
    else
        (void)json_object_update(body, value);
    return value != NULL;
}

/* NULL after a message. */
static json_t *body_of(const struct simpson_settings *s, const char *path)
{
    AUTO(buf_done) struct buf text = BUF_INIT;
    json_auto_t *body = json_object();
    const char *start;
    struct err err;

    if (text_file_read(path, &text, &err) < 0) {
        (void)command_failed_here(&err);
        return NULL;
    }
    for (start = (const char *)text.data; isspace((unsigned char)*start);)
        start++;
    if (*start == '{' || *start == '[' ? !put_json(body, start)
                                       : !put_csv(body, (const char *)text.data, s))
        return NULL;
    body_text(body, "better", s->better);
    body_count(body, "replicates", &s->replicates);
    body_count(body, "seed", &s->seed);
    if (s->contest)
        (void)json_object_set_new(body, "contest", json_true());
    return TAKE(body);
}

/* --- the answer ------------------------------------------------------------------------------ */

/* Short for people, every digit in CSV, where null is nothing. */
static void add_number(struct table *t, bool csv, const json_t *value)
{
    AUTO(buf_done) struct buf text = BUF_INIT;

    if (csv && json_is_real(value))
        json_text_real(&text, json_real_value(value));
    else if (!csv && json_is_real(value))
        buf_printf(&text, "%.4g", json_real_value(value));
    buf_put_u8(&text, '\0');
    if (json_is_real(value) || (csv && !json_is_integer(value)))
        table_cell(t, COLOUR_NONE, "%s", (const char *)text.data);
    else
        table_json(t, value);
}

static const char *const numbers[] = {"n", "slope", "r2", "rmse", "kendall", "spearman", "p"};

static void add_line(struct table *t, bool csv, const char *metric, const char *rows,
                     const json_t *fit)
{
    table_cell(t, COLOUR_NONE, "%s", metric);
    table_cell(t, COLOUR_NONE, "%s", rows);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        add_number(t, csv, json_object_get(fit, numbers[i]));
}

/* One line for each group, then what they are together. CSV has the kind of line, too: a group may
 * have any name. */
static void add_metric(struct table *t, bool csv, const json_t *m)
{
    const char *metric = field_text(m, "metric");
    const json_t *group;
    size_t i;

    json_array_foreach(json_object_get(m, "groups"), i, group)
    {
        if (csv)
            table_cell(t, COLOUR_NONE, "group");
        add_line(t, csv, metric, field_text(group, "group"), group);
    }
    for (i = 0; i < 3; i++) {
        static const char *const kind[] = {"within", "between", "pooled"};
        AUTO(freep) char *shown = xasprintf("(%s)", kind[i]);

        if (csv)
            table_cell(t, COLOUR_NONE, "%s", kind[i]);
        add_line(t, csv, metric, csv ? "" : shown, json_object_get(m, kind[i]));
    }
}

static void print_verdict(const json_t *m)
{
    const char *wrong = field_text(m, "wrong"), *better = field_text(m, "better");
    const json_t *contest = json_object_get(m, "contest");
    bool paradox = json_is_true(json_object_get(m, "paradox"));

    printf("%s: %s", field_text(m, "metric"), paradox ? "Simpson's paradox" : "no paradox");
    if (*wrong)
        printf("; %s is better: %s %s wrong", better, wrong,
               strcmp(wrong, "both") == 0 ? "are" : "is");
    if (contest)
        printf("; contest's score %.2f", json_number_value(json_object_get(contest, "score")));
    printf("\n");
}

static void print_answer(const struct context *cx, const json_t *reply, bool csv)
{
    const struct table_column columns[] = {
        {"rows", false, false, 0}, {"metric", false, false, 0}, {"group", false, true, 0},
        {"n", true, false, 0},     {"slope", true, false, 0},   {"r2", true, false, 2},
        {"rmse", true, false, 2},  {"tau", true, false, 0},     {"rho", true, false, 1},
        {"p", true, false, 0},
    };
    /* People see the kind of line in the group's column. */
    size_t skip = csv ? 0 : 1;
    AUTO(table_freep)
    struct table *t = table_new(columns + skip, ARRAY_LEN(columns) - skip);
    const json_t *metrics = json_object_get(reply, "metrics"), *m;
    size_t i;

    json_array_foreach(metrics, i, m)
    {
        add_metric(t, csv, m);
    }
    if (csv) {
        table_print_csv(t, stdout);
        return;
    }
    table_print(t, &cx->out);
    printf("\n");
    json_array_foreach(metrics, i, m)
    {
        print_verdict(m);
    }
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    struct simpson_settings s = *(const struct simpson_settings *)settings;
    json_auto_t *body = NULL, *reply = NULL;
    AUTO(http_reply_done) struct http_reply answer = HTTP_REPLY_INIT;
    int status = EXIT_DONE;

    if (!output_form_valid(&s.form))
        return EXIT_USAGE;
    s.group = s.group ? s.group : "group";
    s.quality = s.quality ? s.quality : "quality";
    body = body_of(&s, operands->value[0]);
    if (!body)
        return EXIT_USAGE;
    const struct http_request rq = {.method = "POST", .path = PATH, .body = body};

    if (!command_request(cx, &rq, &answer, &status))
        return status;
    reply = TAKE(answer.body);
    if (s.form.json)
        command_print_json(reply);
    else
        print_answer(cx, reply, s.form.csv);
    if (!s.form.json)
        command_print_warnings(cx, reply);
    return EXIT_DONE;
}

const struct command command_simpson = {&args, sizeof(struct simpson_settings), run};
