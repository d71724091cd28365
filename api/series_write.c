/* series_write.c: a series as JSON or CSV. */
#include "api/series_data.h"

#include "api/csv.h"
#include "common/json_out.h"

#include <stdlib.h>
#include <string.h>

static void put_steps(const struct series *s, const struct series_run *run, struct buf *b)
{
    json_text_key(b, "steps");
    buf_printf(b, "[");
    for (size_t i = 0; i < run->n_steps; i++) {
        const struct series_step *step = &s->item[run->first + i].step;

        buf_printf(b, i ? ",{" : "{");
        json_text_key_string(b, "step", step->step);
        json_text_key_string(b, "analysis", step->analysis);
        json_out_time(b, "created_at", step->created_ms);
        buf_printf(b, "}");
    }
    buf_printf(b, "]");
}

static void put_cell(const struct series *s, const struct series_cell *c, struct buf *b)
{
    buf_put(b, s->text.data + c->at, c->len);
}

/* The cells of the run by layer, each in order of steps: `begin` has n_layers + 1 ends. */
static const struct series_cell **by_layer(const struct series *s, const struct series_run *run,
                                           size_t *begin)
{
    const struct series_cell *cell = s->cell ? s->cell + run->first_cell : NULL;
    const struct series_cell **sorted = xcalloc(run->n_cells + 1, sizeof *sorted);
    size_t *at = xcalloc(run->n_layers + 1, sizeof *at);

    for (size_t i = 0; i < run->n_cells; i++)
        begin[cell[i].layer + 1]++;
    for (size_t l = 0; l < run->n_layers; l++)
        begin[l + 1] += begin[l];
    memcpy(at, begin, run->n_layers * sizeof *at);
    for (size_t i = 0; i < run->n_cells; i++)
        sorted[at[cell[i].layer]++] = &cell[i];
    free(at);
    return sorted;
}

static void put_values(const struct series *s, const struct series_run *run,
                       const struct series_cell *const *cell, size_t n, struct buf *b)
{
    size_t k = 0;

    json_text_key(b, "values");
    buf_printf(b, "[");
    for (size_t step = 0; step < run->n_steps; step++) {
        if (step > 0)
            buf_put_u8(b, ',');
        if (k < n && cell[k]->step == step)
            put_cell(s, cell[k], b);
        else
            buf_put(b, "null", 4);
        while (k < n && cell[k]->step == step) /* two rows of one name: the first counts */
            k++;
    }
    buf_printf(b, "]");
}

static void put_layers(const struct series *s, const struct series_run *run, struct buf *b)
{
    AUTO(freep) size_t *begin = xcalloc(run->n_layers + 2, sizeof *begin);
    const struct series_cell **sorted = by_layer(s, run, begin);

    json_text_key(b, "layers");
    buf_printf(b, "[");
    for (size_t l = 0; l < run->n_layers; l++) {
        buf_printf(b, l ? ",{" : "{");
        json_text_key_string(b, "longname", run->layer[l]);
        put_values(s, run, sorted + begin[l], begin[l + 1] - begin[l], b);
        buf_printf(b, "}");
    }
    buf_printf(b, "]");
    free(sorted);
}

static void put_run(const struct series *s, const struct series_run *run, struct buf *b)
{
    buf_printf(b, "{");
    json_text_key_string(b, "value", s->item[run->first].step.value);
    put_steps(s, run, b);
    put_layers(s, run, b);
    json_text_key(b, "mean");
    for (size_t i = 0; i < run->n_steps; i++) {
        buf_printf(b, i ? "," : "[");
        json_text_real(b, s->mean[run->first - s->first + i]);
    }
    buf_printf(b, "]}");
}

static void write_json(const struct series *s, const char *token, struct buf *b)
{
    buf_printf(b, "{");
    json_text_key_string(b, "metric", s->ask.metric);
    json_text_key_string(b, "label", s->ask.label);
    json_text_key_string(b, "step_label", s->ask.step_label);
    json_text_key(b, "series");
    buf_printf(b, "[");
    for (size_t r = 0; r < s->n_runs; r++) {
        buf_printf(b, r ? "," : "");
        put_run(s, &s->run[r], b);
    }
    buf_printf(b, "]");
    json_text_key_string(b, "next_page_token", token);
    buf_printf(b, "}");
}

static void csv_word(struct buf *b, const char *s)
{
    if (s)
        csv_text(b, s, strlen(s));
    csv_comma(b);
}

/* A line for each value that there is. */
static void write_csv(const struct series *s, struct buf *b)
{
    buf_printf(b, "value,step,analysis,longname,%s", s->ask.metric);
    csv_end(b);
    for (size_t r = 0; r < s->n_runs; r++) {
        const struct series_run *run = &s->run[r];

        for (size_t i = 0; i < run->n_cells; i++) {
            const struct series_cell *c = &s->cell[run->first_cell + i];
            const struct series_step *step = &s->item[run->first + c->step].step;

            csv_word(b, step->value);
            csv_word(b, step->step);
            csv_word(b, step->analysis);
            csv_word(b, run->layer[c->layer]);
            put_cell(s, c, b);
            csv_end(b);
        }
    }
}

void series_write(const struct series *s, struct immutable_text *out)
{
    bool more = s->end < s->n_items;
    char token[PAGE_TOKEN_MAX] = "";
    struct page_cursor next = {.first = s->end};

    if (more) {
        memcpy(next.before_id, s->item[s->end].step.analysis, sizeof next.before_id);
        page_token(&s->ask.page, &next, token);
        out->link = xasprintf("<%s&page_token=%s>; rel=\"next\"", s->ask.url, token);
    }
    out->type = s->ask.form->type;
    if (strcmp(s->ask.form->word, "csv") == 0)
        write_csv(s, &out->body);
    else
        write_json(s, token, &out->body);
}
