/* series_read.c: the values of a series out of the layer rows. */
#include "api/series_data.h"

#include "daemon/row_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows in one turn on the store thread: some milliseconds. */
#define ROWS_AT_ONCE 1000

/* One analysis while its rows are read. */
struct reading {
    struct series *s;
    struct series_run *run;
    uint32_t step;
    size_t n_new; /* layers of the run that this analysis brought */
    size_t next;  /* the number that the next layer probably has */
    double sum;
    size_t count;
    bool full;
};

static struct series_run *run_of(struct series *s, size_t item)
{
    struct series_run *run = s->n_runs ? &s->run[s->n_runs - 1] : NULL;

    if (run && strcmp(s->item[run->first].step.value, s->item[item].step.value) == 0)
        return run;
    s->run = xrealloc(s->run, (s->n_runs + 1) * sizeof *s->run);
    run = &s->run[s->n_runs++];
    *run = (struct series_run){.first = item, .first_cell = s->n_cells, .index = json_object()};
    return run;
}

/* The layer's number in the run; a new one is added, unless that would be one too many. */
static bool find_layer(struct reading *g, const char *longname, uint32_t *out)
{
    struct series_run *run = g->run;
    json_t *known;

    if (g->next >= run->n_layers || strcmp(run->layer[g->next], longname) != 0) {
        known = json_object_get(run->index, longname);
        g->next = known ? (size_t)json_integer_value(known) : run->n_layers;
    }
    if (g->next == run->n_layers) {
        if (g->s->n_layers + g->n_new == SERIES_LAYERS_MAX)
            return false;
        if ((run->n_layers & (run->n_layers - 1)) == 0) /* a power of two: full */
            run->layer = xrealloc(run->layer, (2 * run->n_layers + 1) * sizeof *run->layer);
        run->layer[run->n_layers] = xstrdup(longname);
        (void)json_object_set_new_nocheck(run->index, longname,
                                          json_integer((json_int_t)run->n_layers));
        run->n_layers++;
        g->n_new++;
    }
    *out = (uint32_t)g->next++;
    return true;
}

static void put_cell(struct series *s, struct series_cell cell, const char *text)
{
    if (s->n_cells == s->cap_cells) {
        s->cap_cells = s->cap_cells ? 2 * s->cap_cells : 1024;
        s->cell = xrealloc(s->cell, s->cap_cells * sizeof *s->cell);
    }
    cell.at = s->text.len;
    buf_put(&s->text, text, cell.len);
    s->cell[s->n_cells++] = cell;
}

static bool wanted(const struct series *s, const char *json, size_t len)
{
    return (!s->role_needle.len || row_text_holds(json, len, &s->role_needle)) &&
           (!s->type_needle.len || row_text_holds(json, len, &s->type_needle));
}

static bool take_row(void *arg, const char *longname, const char *json, size_t len)
{
    struct reading *g = arg;
    size_t n;
    const char *text =
        wanted(g->s, json, len) ? row_text_number(json, len, &g->s->metric_needle, &n) : NULL;
    struct series_cell cell = {.step = g->step};

    if (!text)
        return true;
    if (!find_layer(g, longname, &cell.layer)) {
        g->full = true;
        return false;
    }
    cell.len = (uint32_t)n;
    put_cell(g->s, cell, text);
    g->sum += strtod(text, NULL);
    g->count++;
    return true;
}

static int read_rows(struct reading *g, struct store *st, const struct digest *key, struct err *err)
{
    struct layer_row row = {0};
    int r;

    if (!g->s->ask.layer)
        return store_rows_each(st, key, take_row, g, err);
    r = store_rows_find(st, key, g->s->ask.layer, &row, err);
    if (r == 0)
        (void)take_row(g, row.longname, row.json, strlen(row.json));
    layer_row_done(&row);
    return r == ERR_NOT_FOUND ? 0 : r;
}

/* The page ends before this analysis. */
static int end_early(struct reading *g, size_t item, size_t first_cell, struct err *err)
{
    struct series *s = g->s;

    if (item == s->first)
        return err_set_at(err, ERR_LIMIT, "?layer",
                          "one analysis alone has more than %d layers; ask for one layer, role or "
                          "layer_type",
                          SERIES_LAYERS_MAX);
    while (g->n_new > 0) {
        free(g->run->layer[--g->run->n_layers]);
        g->n_new--;
    }
    s->n_cells = first_cell;
    s->end = item;
    if (g->run->first == item) { /* a run that had only begun */
        free(g->run->layer);
        json_decref(g->run->index);
        s->n_runs--;
    }
    return 0;
}

static int read_item(struct series *s, struct store *st, size_t item, struct err *err)
{
    struct series_run *run = run_of(s, item);
    struct reading g = {.s = s, .run = run, .step = (uint32_t)(item - run->first)};
    size_t first_cell = s->n_cells, values;
    int r = read_rows(&g, st, &s->item[item].step.rows, err);

    if (r < 0)
        return r;
    /* The run's layers times steps, nulls included. */
    values = run->n_layers * (run->n_steps + 1) - (run->n_layers - g.n_new) * run->n_steps;
    if (g.full || (item > s->first && s->n_values + values > SERIES_VALUES_MAX))
        return end_early(&g, item, first_cell, err);
    s->n_values += values;
    s->n_layers += g.n_new;
    run->n_steps++;
    run->n_cells = s->n_cells - run->first_cell;
    s->mean[item - s->first] = g.count ? g.sum / (double)g.count : NAN;
    return 0;
}

int series_read_some(struct series *s, struct store *st, struct err *err)
{
    size_t rows = 0;

    while (s->read < s->end && rows < ROWS_AT_ONCE) {
        const struct series_step *step = &s->item[s->read].step;
        int r = read_item(s, st, s->read, err);

        if (r < 0)
            return r;
        rows += s->ask.layer ? 10 : step->n_layers + 10;
        s->read++;
    }
    return s->read < s->end;
}
