/* plan_compare.c: see plan_compare.h. */
#include "cli/plan_compare.h"

#include "cli/field.h"
#include "cli/outfile.h"
#include "cli/table.h"
#include "cli/text.h"
#include "common/json_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PATH      "/v1/plans:compare"
#define PLANS_MAX 8 /* the server's limit, and what a table has columns for */

/* "method" or "method:metric", n bytes. */
static json_t *method_of(const char *text, size_t n)
{
    size_t method = strcspn(text, ":,");
    json_t *plan = json_object();

    (void)json_object_set_new(plan, "method", json_stringn(text, method));
    if (method < n)
        (void)json_object_set_new(plan, "metric", json_stringn(text + method + 1, n - method - 1));
    return plan;
}

static void put_methods(json_t *body, const char *methods)
{
    json_t *list = json_array();

    for (const char *s = methods;; s++) {
        size_t n = strcspn(s, ",");

        (void)json_array_append_new(list, method_of(s, n));
        s += n;
        if (!*s)
            break;
    }
    (void)json_object_set_new(body, "plans", list);
}

/* --- the picture ----------------------------------------------------------------------------- */

static int write_picture(struct context *cx, const json_t *body, const char *path)
{
    const struct http_request rq = {
        .method = "POST", .path = PATH, .body = body, .accept = "image/svg+xml"};
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;
    AUTO(outfile_discard) struct outfile file = {0};
    int status = EXIT_DONE;
    struct err err;

    if (outfile_open(path, &file, &err) < 0)
        return command_failed_here(&err);
    if (!command_request(cx, &rq, &reply, &status))
        return status;
    (void)fwrite(reply.raw.data, 1, reply.raw.len, file.out); /* outfile_commit() looks */
    return outfile_commit(&file, &err) < 0 ? command_failed_here(&err) : EXIT_DONE;
}

/* --- ratios ---------------------------------------------------------------------------------- */

/* The range of all ratios. */
static void range(const json_t *reply, double *low, double *high)
{
    const json_t *plan;
    size_t i;

    *low = 1;
    *high = 0;
    json_array_foreach(json_object_get(reply, "plans"), i, plan)
    {
        *low = fmin(*low, json_number_value(json_object_get(plan, "min")));
        *high = fmax(*high, json_number_value(json_object_get(plan, "max")));
    }
}

/* A bar of one column, from an eighth of its height to all of it. */
static const char *bar(const struct context *cx, double x, double low, double high)
{
    static const char *const bars[] = {"\u2581", "\u2582", "\u2583", "\u2584",
                                       "\u2585", "\u2586", "\u2587", "\u2588"};
    double level = high > low ? (x - low) / (high - low) * (double)(ARRAY_LEN(bars) - 1) : 0;

    return !cx->out.utf8 || !(level >= 0 && level < (double)ARRAY_LEN(bars))
               ? ""
               : bars[(size_t)lround(level)];
}

static void add_ratio(struct table *t, const struct context *cx, bool csv, double x, double low,
                      double high)
{
    AUTO(buf_done) struct buf text = BUF_INIT;

    if (csv)
        json_text_real(&text, x);
    else
        buf_printf(&text, "%.3f %s", x, bar(cx, x, low, high));
    buf_put_u8(&text, '\0');
    table_cell(t, COLOUR_NONE, "%s", (const char *)text.data);
}

/* Block by plan; titles are the plans' numbers, in CSV their names. */
static void print_ratios(const struct context *cx, const json_t *reply, size_t n, bool csv)
{
    static const char *const numbers[PLANS_MAX] = {"1", "2", "3", "4", "5", "6", "7", "8"};
    struct table_column columns[PLANS_MAX + 1] = {{"block", false, true, 0}};
    const json_t *plans = json_object_get(reply, "plans"), *block;
    AUTO(table_freep) struct table *t = NULL;
    double low, high;
    size_t i;

    for (size_t k = 0; k < n; k++)
        columns[k + 1] = (struct table_column){
            csv ? field_text(json_array_get(plans, k), "name") : numbers[k], true, false, 0};
    t = table_new(columns, n + 1);
    range(reply, &low, &high);
    json_array_foreach(json_object_get(reply, "blocks"), i, block)
    {
        const json_t *ratios = json_object_get(block, "sparsity");

        table_cell(t, COLOUR_NONE, "%s", field_text(block, "block"));
        for (size_t k = 0; k < n; k++)
            add_ratio(t, cx, csv, json_number_value(json_array_get(ratios, k)), low, high);
    }
    if (csv)
        table_print_csv(t, stdout);
    else
        table_print(t, &cx->out);
}

/* --- correlations ---------------------------------------------------------------------------- */

/* Spearman's of two plans, or NULL. */
static const json_t *correlation(const json_t *reply, const char *a, const char *b)
{
    const json_t *c;
    size_t i;

    json_array_foreach(json_object_get(reply, "correlations"), i, c)
    {
        const char *x = field_text(c, "a"), *y = field_text(c, "b");

        if ((strcmp(x, a) == 0 && strcmp(y, b) == 0) || (strcmp(x, b) == 0 && strcmp(y, a) == 0))
            return json_object_get(c, "spearman");
    }
    return NULL;
}

static void print_plans(const struct context *cx, const json_t *reply, size_t n)
{
    static const char *const titles[PLANS_MAX] = {
        "rank corr. 1", "2", "3", "4", "5", "6", "7", "8"};
    struct table_column columns[PLANS_MAX + 4] = {{"", true, false, 0},
                                                  {"plan", false, true, 0},
                                                  {"least", true, false, 2},
                                                  {"greatest", true, false, 2}};
    const json_t *plans = json_object_get(reply, "plans");
    AUTO(table_freep) struct table *t = NULL;

    for (size_t k = 0; k < n; k++)
        columns[k + 4] = (struct table_column){titles[k], true, false, 0};
    t = table_new(columns, n + 4);
    for (size_t i = 0; i < n; i++) {
        const json_t *plan = json_array_get(plans, i);
        const char *name = field_text(plan, "name");

        table_cell(t, COLOUR_DIM, "%zu", i + 1);
        table_cell(t, COLOUR_NONE, "%s", name);
        table_number(t, COLOUR_NONE, true, json_number_value(json_object_get(plan, "min")), 3);
        table_number(t, COLOUR_NONE, true, json_number_value(json_object_get(plan, "max")), 3);
        for (size_t k = 0; k < n; k++) {
            const json_t *c =
                correlation(reply, name, field_text(json_array_get(plans, k), "name"));

            table_number(t, COLOUR_NONE, json_is_number(c), json_number_value(c), 2);
        }
    }
    table_print(t, &cx->out);
}

static void print_left_out(const struct context *cx, const json_t *reply)
{
    const json_t *x;
    size_t i;

    json_array_foreach(json_object_get(reply, "left_out"), i, x)
    {
        AUTO(freep) char *name = text_clean(field_text(x, "name"));
        AUTO(freep) char *reason = text_clean(field_text(x, "reason"));

        fprintf(stderr, "%sleft out: %s: %s%s\n", term_colour(&cx->err, COLOUR_YELLOW), name,
                reason, term_colour(&cx->err, COLOUR_NONE));
    }
}

/* --- the command ----------------------------------------------------------------------------- */

int plan_compare(struct context *cx, const struct output_form *form, json_t *body,
                 const char *methods, const char *svg)
{
    const struct http_request rq = {.method = "POST", .path = PATH, .body = body};
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;
    int status = EXIT_DONE;
    size_t n;

    if (methods)
        put_methods(body, methods);
    if (svg) {
        status = write_picture(cx, body, svg);
        if (status != EXIT_DONE)
            return status;
    }
    if (!command_request(cx, &rq, &reply, &status))
        return status;
    n = json_array_size(json_object_get(reply.body, "plans"));
    n = n < PLANS_MAX ? n : PLANS_MAX;
    if (form->json) {
        command_print_json(reply.body);
    } else if (form->csv) {
        print_ratios(cx, reply.body, n, true);
    } else {
        print_ratios(cx, reply.body, n, false);
        printf("\n");
        print_plans(cx, reply.body, n);
    }
    print_left_out(cx, reply.body);
    return EXIT_DONE;
}
