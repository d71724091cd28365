/* distance_report.c: see distance_report.h. */
#include "cli/distance_report.h"

#include "cli/distance_table.h"
#include "cli/field.h"
#include "cli/pages.h"
#include "cli/text.h"

#include <stdlib.h>

static void print_mean(const json_t *summary, const char *key, const char *text)
{
    double x = 0;

    if (field_number(summary, key, &x))
        printf("  %s: %.6g\n", text, x);
}

static void print_totals(const json_t *summary)
{
    AUTO(freep) char *id = text_clean(field_text(summary, "id"));
    long long gone = field_count(summary, "n_only_in_base");

    printf("\n%s: %lld of %lld layers measured, %lld of them identical\n", id,
           field_count(summary, "n_measured"), field_count(summary, "n_layers"),
           field_count(summary, "n_identical"));
    print_mean(summary, "relative_total", "all together, relative");
    print_mean(summary, "mean_raw", "mean of raw");
    print_mean(summary, "mean_euclidean", "mean of euclidean");
    print_mean(summary, "mean_cka", "mean of cka");
    if (gone)
        printf("  %lld matrices are in the base only\n", gone);
}

/* Path of the rows. */
static char *rows_path(const char *id, const char *columns)
{
    AUTO(freep) char *list = columns ? http_escape(columns) : NULL;

    return xasprintf("/v1/distances/%s/layers%s%s", id, list ? "?columns=" : "", list ? list : "");
}

static void print_json(const json_t *job, json_t *summary, json_t *layers)
{
    json_auto_t *all = json_object();

    if (job)
        (void)json_object_set(all, "job", (json_t *)(uintptr_t)job);
    (void)json_object_set(all, "distances", summary);
    (void)json_object_set(all, "layers", layers);
    command_print_json(all);
}

int distance_report(struct context *cx, const char *id, const json_t *job,
                    const struct output_form *form, const char *columns, size_t most)
{
    AUTO(freep) char *escaped = http_escape(id);
    AUTO(freep) char *target = xasprintf("/v1/distances/%s", escaped);
    AUTO(freep) char *rows = rows_path(escaped, form->csv || form->json ? columns : NULL);
    json_auto_t *summary = NULL, *layers = NULL;
    int status = EXIT_DONE;

    if (form->quiet) {
        printf("%s\n", id);
        return EXIT_DONE;
    }
    if (form->csv)
        return pages_csv(cx, rows, stdout);
    if (!command_call(cx, "GET", target, &summary, &status))
        return status;
    layers = pages_fetch(cx, rows, "layers", SIZE_MAX, NULL, &status);
    if (!layers)
        return status;
    if (form->json) {
        print_json(job, summary, layers);
        return EXIT_DONE;
    }
    distance_table_print(cx, layers, most);
    print_totals(summary);
    return EXIT_DONE;
}
