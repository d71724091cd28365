/* distance_table.c: see distance_table.h. */
#include "cli/distance_table.h"

#include "cli/field.h"
#include "cli/table.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    const json_t *layer;
    double relative;
};

static int farthest_first(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;

    if (a->relative != b->relative)
        return (a->relative < b->relative) - (a->relative > b->relative);
    return strcmp(field_text(a->layer, "longname"), field_text(b->layer, "longname"));
}

/* The last only where a layer has one. */
static const char *const number[] = {"relative", "cosine", "cka", "raw", "bias"};

static void add_row(struct table *t, const json_t *layer, size_t n_numbers)
{
    const char *reason = field_text(layer, "reason");
    const char *note = *reason                                             ? reason
                       : json_is_true(json_object_get(layer, "identical")) ? "identical"
                       : *field_text(layer, "cka_reason")                  ? "too large for cka"
                                                                           : "";

    table_cell(t, COLOUR_NONE, "%s", field_text(layer, "longname"));
    for (size_t i = 0; i < n_numbers; i++) {
        double x = 0;

        if (field_number(layer, number[i], &x))
            table_cell(t, COLOUR_NONE, "%.6g", x);
        else
            table_cell(t, COLOUR_NONE, "-");
    }
    table_cell(t, *reason ? COLOUR_YELLOW : COLOUR_NONE, "%s", note);
}

static bool has_bias(const json_t *layers)
{
    const json_t *layer;
    size_t i;
    double x;

    json_array_foreach(layers, i, layer)
    {
        if (field_number(layer, "bias", &x))
            return true;
    }
    return false;
}

static struct entry *sorted(const json_t *layers)
{
    size_t n = json_array_size(layers), i;
    struct entry *e = xcalloc(n + 1, sizeof *e);
    const json_t *layer;

    json_array_foreach(layers, i, layer)
    {
        double x = -1; /* what was not measured comes last */

        (void)field_number(layer, "relative", &x);
        e[i] = (struct entry){layer, x};
    }
    if (n)
        qsort(e, n, sizeof *e, farthest_first);
    return e;
}

void distance_table_print(const struct context *cx, const json_t *layers, size_t most)
{
    static const struct table_column with_bias[] = {
        {"layer", false, true, 0}, {"relative", true, false, 0}, {"cosine", true, false, 2},
        {"cka", true, false, 1},   {"raw", true, false, 0},      {"bias", true, false, 3},
        {"note", false, false, 0},
    };
    static const struct table_column without[] = {
        {"layer", false, true, 0}, {"relative", true, false, 0}, {"cosine", true, false, 2},
        {"cka", true, false, 1},   {"raw", true, false, 0},      {"note", false, false, 0},
    };
    bool bias = has_bias(layers);
    AUTO(table_freep)
    struct table *t = table_new(bias ? with_bias : without, ARRAY_LEN(without) + bias);
    AUTO(freep) struct entry *e = sorted(layers);
    size_t n = json_array_size(layers);

    for (size_t i = 0; i < n && i < most; i++)
        add_row(t, e[i].layer, ARRAY_LEN(number) - !bias);
    table_print(t, &cx->out);
    if (n > most)
        printf("... and %zu layers more (--top)\n", n - most);
}
