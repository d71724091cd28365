/* series.c: see series.h. Which analyses, and in which order. */
#include "api/series_data.h"

#include "compute/columns.h"
#include "compute/measure.h"
#include "daemon/row_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_CHUNK 1000

bool series_metric(const char *name, const char **out)
{
    static const char *const others[] = {"error_bound", "num_nonfinite",   "farms_alpha",
                                         "farms_D",     "farms_num_evals", "farms_alpha_se"};
    const struct measure_column *m;
    int c = column_find(name);

    if (c >= 0) {
        *out = column_info((enum column)c)->name;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (strcmp(others[i], name) == 0) {
            *out = others[i];
            return true;
        }
    m = measure_column_find(name);
    if (!m || m->form == MEASURE_WORD)
        return false;
    *out = m->name;
    return true;
}

struct series *series_new(struct series_ask *ask)
{
    struct series *s = xcalloc(1, sizeof *s);

    s->ask = *ask;
    memset(ask, 0, sizeof *ask);
    row_text_needle(s->ask.metric, NULL, &s->metric_needle);
    if (s->ask.role)
        row_text_needle("role", s->ask.role, &s->role_needle);
    if (s->ask.type)
        row_text_needle("layer_type", s->ask.type, &s->type_needle);
    return s;
}

void series_free(struct series *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_items; i++)
        series_step_done(&s->item[i].step);
    for (size_t r = 0; r < s->n_runs; r++) {
        for (size_t i = 0; i < s->run[r].n_layers; i++)
            free(s->run[r].layer[i]);
        free(s->run[r].layer);
        json_decref(s->run[r].index);
    }
    free(s->item);
    free(s->run);
    free(s->cell);
    free(s->mean);
    buf_done(&s->text);
    buf_done(&s->metric_needle);
    buf_done(&s->role_needle);
    buf_done(&s->type_needle);
    free(s->ask.layer);
    free(s->ask.url);
    free(s);
}

/* --- listing ------------------------------------------------------------------------------- */

int series_list_some(struct series *s, struct store *st, struct err *err)
{
    const struct series_step *last = s->n_items ? &s->item[s->n_items - 1].step : NULL;
    struct series_query q = {.label = s->ask.label,
                             .value = s->ask.any_value ? NULL : s->ask.value,
                             .step_label = s->ask.step_label,
                             .after_value = last ? last->value : "",
                             .after_id = last ? last->analysis : "",
                             .limit = LIST_CHUNK};
    struct series_list l = {0};
    bool more;
    int r = store_series_list(st, &q, &l, err);

    if (r < 0)
        return r;
    more = l.count == LIST_CHUNK;
    if (s->n_items + l.count > SERIES_ANALYSES_MAX) {
        series_list_done(&l);
        return err_set_at(err, ERR_LIMIT, "?label",
                          "more than %d analyses have this label; ask for one of its values",
                          SERIES_ANALYSES_MAX);
    }
    s->item = xrealloc(s->item, (s->n_items + l.count + 1) * sizeof *s->item);
    for (size_t i = 0; i < l.count; i++)
        s->item[s->n_items++] = (struct series_item){.step = l.step[i]};
    free(l.step);
    return more;
}

/* --- order --------------------------------------------------------------------------------- */

/* strtod() knows more. */
bool series_number(const char *s, double *out)
{
    char *end;

    if (!*s || s[strspn(s, "+-.eE0123456789")])
        return false;
    *out = strtod(s, &end);
    return !*end && isfinite(*out);
}

static int by_time(const struct series_step *a, const struct series_step *b)
{
    return a->created_ms != b->created_ms
               ? (a->created_ms > b->created_ms) - (a->created_ms < b->created_ms)
               : strcmp(a->analysis, b->analysis);
}

static int by_step(const struct series_item *a, const struct series_item *b)
{
    if (!a->step.step || !b->step.step)
        return (a->step.step == NULL) - (b->step.step == NULL);
    if (a->numeric)
        return (a->number > b->number) - (a->number < b->number);
    return strcmp(a->step.step, b->step.step);
}

static int by_run_and_step(const void *x, const void *y)
{
    const struct series_item *a = x, *b = y;
    int c = strcmp(a->step.value, b->step.value);

    if (c == 0)
        c = by_step(a, b);
    if (c == 0) /* the newest of a step first: the others are dropped */
        c = a->step.step ? by_time(&b->step, &a->step) : by_time(&a->step, &b->step);
    return c;
}

/* Items come in order of their value. */
static void note_numbers(struct series *s)
{
    for (size_t i = 0, end; i < s->n_items; i = end) {
        bool numeric = true;

        for (end = i;
             end < s->n_items && strcmp(s->item[end].step.value, s->item[i].step.value) == 0;
             end++) {
            const char *step = s->item[end].step.step;

            if (step && !series_number(step, &s->item[end].number))
                numeric = false;
        }
        for (size_t k = i; k < end; k++)
            s->item[k].numeric = numeric;
    }
}

static bool same_step(const struct series_item *a, const struct series_item *b)
{
    return a->step.step && b->step.step && strcmp(a->step.value, b->step.value) == 0 &&
           by_step(a, b) == 0;
}

static void drop_older(struct series *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_items; i++)
        if (n > 0 && same_step(&s->item[n - 1], &s->item[i]))
            series_step_done(&s->item[i].step);
        else
            s->item[n++] = s->item[i];
    s->n_items = n;
}

/* Where the page begins: at the analysis that its token names, or, when that has been replaced by
 * a newer one of the same step, at its place. */
static size_t find_start(const struct series *s)
{
    const struct page_cursor *from = &s->ask.page.from;

    for (size_t i = 0; *from->before_id && i < s->n_items; i++)
        if (strcmp(s->item[i].step.analysis, from->before_id) == 0)
            return i;
    return from->first < s->n_items ? (size_t)from->first : s->n_items;
}

void series_order(struct series *s)
{
    size_t left;

    note_numbers(s);
    if (s->n_items)
        qsort(s->item, s->n_items, sizeof *s->item, by_run_and_step);
    drop_older(s);
    s->first = s->read = find_start(s);
    left = s->n_items - s->first;
    s->end = s->first + (left < s->ask.page.size ? left : s->ask.page.size);
    s->mean = xcalloc(s->end - s->first + 1, sizeof *s->mean);
}

void series_etag(const struct series *s, char out[DOC_ETAG_MAX])
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    char hex[DIGEST_HEX_LEN + 1];
    struct digest d;

    hasher_add_str(h, "series-1");
    hasher_add_str(h, s->ask.url);
    hasher_add_str(h, s->ask.form->word);
    for (size_t i = s->first; i < s->n_items && i <= s->end; i++) { /* and the next page's first */
        hasher_add_str(h, s->item[i].step.analysis);
        hasher_add_u64(h, s->item[i].step.version);
    }
    hasher_finish(h, &d);
    digest_hex(&d, hex);
    snprintf(out, DOC_ETAG_MAX, "\"%.32s\"", hex);
}
