/* analyze_reshape_width.c: see analyze_reshape.h. */
#include "daemon/analyze_reshape.h"

#include "compute/lowest.h"
#include "compute/width_cut.h"

#include <stdlib.h>
#include <string.h>

#define AT_PLAN "/params/plan"

/* As the models of transformers name it. */
static const char *const widths[] = {
    "intermediate_size", "n_inner",         "ffn_dim",    "d_ff", "ffn_hidden_size",
    "encoder_ffn_dim",   "decoder_ffn_dim", "hidden_dim", NULL};

static const struct layer *part_of(const struct analyze *a, size_t i, enum feed_forward_part p)
{
    size_t row = a->prune->reshape->ff[i].part[p];

    return row == FEED_FORWARD_NONE ? NULL : &a->layers.l[row];
}

static int find_parts(struct analyze *a, struct err *err)
{
    struct reshape *r = a->prune->reshape;
    size_t n;
    int rc = feed_forward_find(&a->layers, &r->ff, &n, err);

    if (rc < 0) {
        AUTO(freep) char *text = xstrdup(err->text);

        return err_set_at(err, rc, "/source", "%s", text);
    }
    r->of = r->ff[0].width;
    for (size_t i = 1; i < n; i++)
        if (r->ff[i].width != r->of)
            return err_set_at(err, ERR_UNSUPPORTED, "/source",
                              "\"%.100s\" has %llu neurons, \"%.100s\" %llu: one number in "
                              "config.json could not describe them",
                              part_of(a, 0, FF_DOWN)->longname, (unsigned long long)r->of,
                              part_of(a, i, FF_DOWN)->longname, (unsigned long long)r->ff[i].width);
    if (r->of > SQUARES_MAX / 2)
        return err_set_at(err, ERR_LIMIT, "/source", "%llu neurons in a block, the limit is %u",
                          (unsigned long long)r->of, SQUARES_MAX / 2);
    analyze_reshape_parts(r, n);
    for (size_t i = 0; i < n; i++) {
        r->part[i].name = xstrdup(part_of(a, i, FF_DOWN)->longname);
        r->part[i].block = xstrdup(part_of(a, i, FF_DOWN)->block);
    }
    return 0;
}

/* --- a plan of widths ------------------------------------------------------------------------ */

static const json_t *planned(const json_t *tensors, const struct layer *l)
{
    const json_t *t;
    size_t i;

    json_array_foreach(tensors, i, t)
    {
        const char *name = json_string_value(json_object_get(t, "name"));

        if (name && (strcmp(name, l->longname) == 0 || strcmp(name, l->tensor) == 0))
            return json_object_get(t, "width");
    }
    return NULL;
}

/* Heads stay: only feed-forward parts are cut. */
static int check_groups(const json_t *plan, struct err *err)
{
    const json_t *g;
    size_t i;

    json_array_foreach(json_object_get(plan, "groups"), i, g)
    {
        const char *part = json_string_value(json_object_get(g, "part"));
        const char *block = json_string_value(json_object_get(g, "block"));

        if (part && strcmp(part, "attention") == 0 &&
            !json_equal(json_object_get(g, "kept"), json_object_get(g, "of")))
            return err_set_at(
                err, ERR_UNSUPPORTED, AT_PLAN,
                "the plan removes heads of %.100s: only neurons of feed-forward parts "
                "are left out (make it without head_dim)",
                block ? block : "a part outside any block");
    }
    return 0;
}

static int width_of_plan(struct analyze *a, struct err *err)
{
    struct prune_work *w = a->prune;
    struct reshape *r = w->reshape;
    json_auto_t *plan =
        json_loadb((const char *)w->plan_text.data, w->plan_text.len, JSON_ALLOW_NUL, NULL);
    const json_t *tensors = json_object_get(plan, "tensors");

    if (!json_object_get(json_object_get(plan, "params"), "structure") ||
        !json_is_string(json_object_get(plan, "id")))
        return err_set_at(err, ERR_INVALID, AT_PLAN,
                          "it is no plan of widths: \"structure\" makes one");
    w->plan_id = xstrdup(json_string_value(json_object_get(plan, "id")));
    if (check_groups(plan, err) < 0)
        return ERR_UNSUPPORTED;
    for (size_t i = 0; i < r->n_parts; i++) {
        const struct layer *l = part_of(a, i, FF_DOWN);
        const json_t *width = planned(tensors, l);
        json_int_t kept = json_integer_value(json_object_get(width, "kept"));

        if (!width || kept < 1 || (uint64_t)kept > r->of)
            return err_set_at(err, ERR_INVALID, AT_PLAN,
                              "the plan gives no width of \"%.100s\": stock loaders know one width "
                              "for all blocks",
                              l->longname);
        if (i > 0 && (uint64_t)kept != r->kept)
            return err_set_at(
                err, ERR_UNSUPPORTED, AT_PLAN,
                "the plan keeps %llu neurons of \"%.100s\" and %lld of \"%.100s\": "
                "stock loaders know one width for all blocks (a uniform plan has one)",
                (unsigned long long)r->kept, part_of(a, 0, FF_DOWN)->longname, (long long)kept,
                l->longname);
        r->kept = (uint64_t)kept;
    }
    return 0;
}

static int set_kept(struct analyze *a, struct err *err)
{
    const struct reshape_params *p = &a->prune->params.reshape;
    struct reshape *r = a->prune->reshape;

    if (p->by_plan)
        return width_of_plan(a, err);
    if (p->keep > r->of)
        return err_set_at(err, ERR_INVALID, "/params/keep", "the blocks have %llu neurons",
                          (unsigned long long)r->of);
    r->kept = p->keep;
    if (p->keep)
        return 0;
    r->multiple = p->multiple ? p->multiple : width_cut_multiple(r->of);
    r->kept = width_cut_kept(r->of, p->sparsity, r->multiple);
    return 0;
}

/* --- config.json ----------------------------------------------------------------------------- */

/* Older ones leave it out: four times the width of the model. */
static bool is_gpt2(const struct analyze *a)
{
    static const char *const width[] = {"n_embd", NULL};
    const struct reshape *r = a->prune->reshape;

    return a->have_config && strncmp(a->config.model_type, "gpt", 3) == 0 &&
           4 * analyze_reshape_config_number(r, width) == r->of;
}

static int edit_config(const struct analyze *a, struct err *err)
{
    struct reshape *r = a->prune->reshape;
    json_t *v = json_object_get(r->config_json, "n_inner");

    if (json_is_object(json_object_get(r->config_json, "vision_config")) ||
        json_is_object(json_object_get(r->config_json, "audio_config")))
        return err_set_at(err, ERR_UNSUPPORTED, "/source",
                          "a model of several towers: which of them a width is of is not known");
    if (is_gpt2(a) && (!v || json_is_null(v))) {
        r->edit[r->n_edits++] = (struct reshape_edit){NULL, "n_inner"};
        return 0;
    }
    return analyze_reshape_config_edit(r, widths, r->of, err);
}

/* --- scores ---------------------------------------------------------------------------------- */

static void add_task(struct analyze *a, size_t part, enum feed_forward_part which)
{
    struct reshape *r = a->prune->reshape;
    const struct layer *l = part_of(a, part, which);
    struct reshape_task *t = &r->task[r->n_tasks];

    if (!l)
        return;
    r->n_tasks++;
    *t = (struct reshape_task){.part = part, .which = which};
    t->task.by_columns = feed_forward_dim(&a->layers, &r->ff[part], which) == 1;
    t->task.m = (struct wire_matrix){.dtype = l->dtype,
                                     .offset = l->offset,
                                     .nbytes = l->nbytes,
                                     .n_slices = 1,
                                     .rows = l->dims[0],
                                     .cols = l->dims[1],
                                     .row_stride = l->dims[1],
                                     .col_stride = 1};
}

static void add_tasks(struct analyze *a)
{
    struct reshape *r = a->prune->reshape;

    r->task = xcalloc(3 * r->n_parts + 1, sizeof *r->task);
    for (size_t i = 0; i < r->n_parts; i++) {
        add_task(a, i, FF_DOWN);
        if (r->rank == RESHAPE_BY_MAGNITUDE) {
            add_task(a, i, FF_UP);
            add_task(a, i, FF_GATE);
        }
    }
}

/* What is asked for, as far as there are statistics for it. */
static int set_rank(struct analyze *a, struct err *err)
{
    const struct prune_params *p = &a->prune->params;
    struct reshape *r = a->prune->reshape;

    r->rank = p->reshape.rank;
    if (r->rank == RESHAPE_BY_STATS)
        r->rank = p->has_stats ? RESHAPE_BY_WANDA : RESHAPE_BY_MAGNITUDE;
    if (r->rank != RESHAPE_BY_MAGNITUDE && !p->has_stats)
        return err_set_at(err, ERR_INVALID, "/params/stats", "%s needs calibration statistics",
                          reshape_rank_name(r->rank));
    for (size_t i = 0; r->rank != RESHAPE_BY_MAGNITUDE && i < r->n_parts; i++) {
        AUTO(freep) double *v = NULL;
        int rc = analyze_reshape_vector(a, part_of(a, i, FF_DOWN)->longname, "sumsq", (size_t)r->of,
                                        false, &v, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

int analyze_reshape_width(struct analyze *a, struct err *err)
{
    int r = find_parts(a, err);

    if (r == 0)
        r = set_kept(a, err);
    if (r == 0)
        r = edit_config(a, err);
    if (r == 0)
        r = set_rank(a, err);
    if (r == 0)
        add_tasks(a);
    return r;
}

static const double *sum_of(const struct reshape *r, size_t part, enum feed_forward_part which)
{
    for (size_t i = 0; i < r->n_tasks; i++)
        if (r->task[i].part == part && r->task[i].which == which)
            return r->task[i].sum;
    return NULL;
}

static int by_inputs(const struct analyze *a, size_t i, const double *down, double *score,
                     struct err *err)
{
    const struct reshape *r = a->prune->reshape;
    const char *name = part_of(a, i, FF_DOWN)->longname;
    AUTO(freep) double *sumsq = NULL;
    AUTO(freep) double *sum = NULL;
    AUTO(freep) double *count = NULL;
    size_t n = (size_t)r->of;
    struct err why = {0};
    int rc = analyze_reshape_vector(a, name, "sumsq", n, false, &sumsq, err);

    if (rc == 0 && r->rank == RESHAPE_BY_WANDA) {
        rc = width_cut_wanda(sumsq, down, n, score, &why);
    } else if (rc == 0) {
        rc = analyze_reshape_vector(a, name, "sum", n, false, &sum, err);
        if (rc == 0)
            rc = analyze_reshape_vector(a, name, "count", 2, false, &count, err);
        if (rc == 0)
            rc = width_cut_wifv(sumsq, sum, count[0], down, n, score, &why);
    }
    return why.code
               ? err_set_at(err, ERR_INVALID, "/params/stats", "\"%.100s\": %.300s", name, why.text)
               : rc;
}

static int choose(const struct analyze *a, size_t i, double *score, struct err *err)
{
    struct reshape *r = a->prune->reshape;
    const double *up = sum_of(r, i, FF_UP), *down = sum_of(r, i, FF_DOWN);
    const double *gate = up && r->ff[i].fused ? up + r->of : sum_of(r, i, FF_GATE);
    size_t n = (size_t)r->of;
    int rc = 0;

    if (r->rank == RESHAPE_BY_MAGNITUDE)
        width_cut_magnitude(gate, up, down, n, score);
    else
        rc = by_inputs(a, i, down, score, err);
    if (rc == 0)
        rc = lowest_leave(score, n, n - (size_t)r->kept, r->part[i].keep, err);
    if (rc == 0)
        analyze_reshape_share(r, i, score);
    return rc;
}

int analyze_reshape_choose(struct analyze *a, struct err *err)
{
    struct reshape *r = a->prune->reshape;
    AUTO(freep) double *score = xcalloc((size_t)r->of + 1, sizeof *score);
    size_t n = (size_t)r->of;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < r->n_parts; i++)
        rc = choose(a, i, score, err);
    r->doubled = xmalloc(2 * n * r->n_parts + 1);
    for (size_t i = 0; i < r->n_parts; i++)
        for (size_t half = 0; half < 2; half++)
            memcpy(r->doubled + (2 * i + half) * n, r->part[i].keep, n);
    return rc;
}

void analyze_reshape_width_tensors(const struct analyze *a)
{
    const struct reshape *r = a->prune->reshape;

    for (size_t i = 0; i < r->n_parts; i++)
        for (enum feed_forward_part p = FF_UP; p < FF_PARTS; p++) {
            const struct layer *l = part_of(a, i, p);
            bool twice = r->ff[i].fused && (p == FF_UP || p == FF_UP_BIAS);
            struct reshape_tensor *t;

            if (!l)
                continue;
            t = &r->shard[l->file].tensor[l->index];
            t->part = (int64_t)i;
            t->keep = twice ? r->doubled + 2 * i * r->of : r->part[i].keep;
            t->dim = feed_forward_dim(&a->layers, &r->ff[i], p);
        }
}
