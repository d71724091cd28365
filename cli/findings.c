/* findings.c: see findings.h. */
#include "cli/findings.h"

#include "cli/field.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALPHA_LOW  2.0
#define ALPHA_HIGH 6.0
#define P_DOUBTFUL 0.1 /* Clauset, Shalizi, Newman, SIAM Review 51 (2009) 661 */

struct ranked {
    json_t *row; /* borrowed */
    double value, rank;
    size_t index;
};

/* True when the row belongs to the finding; its number, and how high it ranks. */
typedef bool (*judge)(const json_t *row, double *value, double *rank);

bool findings_measured(const json_t *analysis, const char *measure)
{
    const json_t *v = json_object_get(json_object_get(analysis, "params"), measure);

    return v && !json_is_false(v) && !json_is_null(v);
}

static bool exponent(const json_t *row, double *alpha)
{
    return strcmp(field_text(row, "status"), "success") == 0 && field_number(row, "alpha", alpha) &&
           *alpha > 0;
}

/* How far alpha is from the range, as the logarithm of a ratio; below 0 inside. */
static bool is_fitted(const json_t *row, double *alpha, double *rank)
{
    if (!exponent(row, alpha))
        return false;
    *rank = fmax(log(*alpha / ALPHA_HIGH), log(ALPHA_LOW / *alpha));
    return true;
}

static bool is_above(const json_t *row, double *alpha, double *rank)
{
    return is_fitted(row, alpha, rank) && *alpha > ALPHA_HIGH;
}

static bool is_below(const json_t *row, double *alpha, double *rank)
{
    return is_fitted(row, alpha, rank) && *alpha < ALPHA_LOW;
}

static bool is_failed(const json_t *row, double *value, double *rank)
{
    *value = NAN;
    *rank = 0;
    return strcmp(field_text(row, "status"), "failed") == 0;
}

/* localized_risky, diffuse_risky */
static bool is_risky(const json_t *row, double *risk, double *rank)
{
    bool has =
        strstr(field_text(row, "trap_label"), "_risky") && field_number(row, "trap_max_risk", risk);

    *rank = has ? *risk : 0;
    return has;
}

static bool has_traps(const json_t *row, double *traps, double *rank)
{
    bool has = !is_risky(row, traps, rank) &&
               (field_number(row, "trap_count", traps) || field_number(row, "num_traps", traps)) &&
               *traps > 0;

    *rank = has ? *traps : 0;
    return has;
}

static bool is_doubtful(const json_t *row, double *p, double *rank)
{
    bool has = field_number(row, "pl_p_value", p) && *p < P_DOUBTFUL;

    *rank = has ? -*p : 0;
    return has;
}

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->rank != y->rank)
        return x->rank < y->rank ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Rows that belong to a finding, the highest first, into out (room for all); how many. */
static size_t choose(const json_t *rows, judge belongs, struct ranked *out)
{
    size_t i, n = 0;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        struct ranked *r = &out[n];

        if (strcmp(field_text(row, "operation"), "product") == 0)
            continue; /* its factors have rows, too */
        *r = (struct ranked){.row = row, .index = i};
        n += belongs(row, &r->value, &r->rank);
    }
    qsort(out, n, sizeof *out, by_rank);
    return n;
}

static bool low_confidence(const json_t *row)
{
    double x;

    return field_number(row, "confidence", &x) && x < FINDINGS_CONFIDENCE_LOW;
}

static json_t *layer_of(const struct ranked *r, judge belongs)
{
    static const char *const place[] = {"trap_label", "trap_row", "trap_column"};
    json_t *layer = json_object();

    (void)json_object_set(layer, "layer_id", json_object_get(r->row, "layer_id"));
    (void)json_object_set(layer, "longname", json_object_get(r->row, "longname"));
    (void)json_object_set_new(layer, "value", isnan(r->value) ? json_null() : json_real(r->value));
    if (json_is_number(json_object_get(r->row, "confidence")))
        (void)json_object_set(layer, "confidence", json_object_get(r->row, "confidence"));
    if (json_is_string(json_object_get(r->row, "reason")))
        (void)json_object_set(layer, "reason", json_object_get(r->row, "reason"));
    for (size_t i = 0; belongs == is_risky && i < ARRAY_LEN(place); i++)
        (void)json_object_set(layer, place[i], json_object_get(r->row, place[i]));
    return layer;
}

static void add_rows(json_t *all, const char *name, const json_t *rows, judge belongs,
                     bool confidence)
{
    AUTO(freep) struct ranked *chosen = xcalloc(json_array_size(rows) + 1, sizeof *chosen);
    size_t n = choose(rows, belongs, chosen), low = 0;
    json_t *finding, *layers;

    if (n == 0)
        return;
    finding = json_object();
    layers = json_array();
    for (size_t i = 0; i < n; i++) {
        low += low_confidence(chosen[i].row);
        if (i < FINDINGS_LAYERS_MAX)
            (void)json_array_append_new(layers, layer_of(&chosen[i], belongs));
    }
    (void)json_object_set_new(finding, "finding", json_string(name));
    (void)json_object_set_new(finding, "rows", json_integer((json_int_t)n));
    if (confidence)
        (void)json_object_set_new(finding, "low_confidence", json_integer((json_int_t)low));
    (void)json_object_set_new(finding, "layers", layers);
    (void)json_array_append_new(all, finding);
}

/* What the server has found. */
static void add_told(json_t *all, const char *name, const json_t *summary)
{
    const json_t *told = json_object_get(summary, name);
    json_t *finding;

    if (field_count(told, "rows") == 0)
        return;
    finding = json_object();
    (void)json_object_set_new(finding, "finding", json_string(name));
    (void)json_object_update(finding, (json_t *)(uintptr_t)told);
    (void)json_array_append_new(all, finding);
}

json_t *findings_make(const json_t *analysis, const json_t *rows)
{
    const json_t *summary = json_object_get(analysis, "summary");
    bool phase = findings_measured(analysis, "phase");
    json_t *all = json_array();

    add_rows(all, "failed", rows, is_failed, false);
    add_rows(all, "alpha_above_6", rows, is_above, phase);
    add_rows(all, "alpha_below_2", rows, is_below, phase);
    add_told(all, "scale_collapse", summary);
    add_told(all, "out_of_line", summary);
    add_rows(all, "risky_traps", rows, is_risky, false);
    add_rows(all, "traps", rows, has_traps, false);
    add_rows(all, "power_law_doubtful", rows, is_doubtful, false);
    return all;
}

json_t *findings_worst(const json_t *rows, size_t n)
{
    AUTO(freep) struct ranked *chosen = xcalloc(json_array_size(rows) + 1, sizeof *chosen);
    size_t all = choose(rows, is_fitted, chosen);
    json_t *worst = json_array();

    for (size_t i = 0; i < all && i < n; i++)
        (void)json_array_append(worst, chosen[i].row);
    return worst;
}
