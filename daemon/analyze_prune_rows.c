/* analyze_prune_rows.c: see analyze_prune.h. */
#include "daemon/analyze_prune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_PLAN "/params/plan"

/* --- finding layers by name ----------------------------------------------------------------- */

struct named {
    const char *name;
    size_t layer;
};

static int by_name(const void *a, const void *b)
{
    const struct named *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* By longname and by the full name of the tensor: a plan from numbers that were sent has either. */
static struct named *index_layers(const struct layer_list *ll, size_t *n)
{
    struct named *v = xcalloc(2 * ll->count + 1, sizeof *v);

    *n = 0;
    for (size_t i = 0; i < ll->count; i++) {
        v[(*n)++] = (struct named){ll->l[i].longname, i};
        if (strcmp(ll->l[i].longname, ll->l[i].tensor) != 0 && ll->l[i].expert < 0)
            v[(*n)++] = (struct named){ll->l[i].tensor, i};
    }
    if (*n)
        qsort(v, *n, sizeof *v, by_name);
    return v;
}

static const struct layer *find_layer(const struct analyze *a, const struct named *v, size_t n,
                                      const char *name, size_t *at)
{
    const struct named key = {.name = name};
    const struct named *found = n ? bsearch(&key, v, n, sizeof *v, by_name) : NULL;

    if (!found)
        return NULL;
    *at = found->layer;
    return &a->layers.l[found->layer];
}

/* --- one matrix ----------------------------------------------------------------------------- */

/* Rows are outputs. A convolution is one matrix, outputs by everything else. */
static int set_matrix(const struct layer *l, struct wire_matrix *m, struct err *err)
{
    bool transposed = l->type == TYPE_CONV1D;
    uint64_t cols = 1;

    if (l->role == ROLE_EMBEDDING || l->role == ROLE_HEAD || l->role == ROLE_ROUTER ||
        l->rank < 2 || l->rows == 0)
        return err_set_at(err, ERR_INVALID, AT_PLAN, "\"%.100s\" is not a matrix that is pruned",
                          l->longname);
    if (!dtype_zero_is_bytes(l->dtype))
        return err_set_at(err, ERR_UNSUPPORTED, AT_PLAN, "\"%.100s\" has dtype %s: not pruned yet",
                          l->longname, dtype_name(l->dtype));
    for (uint32_t i = 1; i < l->rank; i++)
        cols *= l->dims[i];
    *m = (struct wire_matrix){.dtype = l->dtype,
                              .offset = l->offset,
                              .nbytes = l->nbytes,
                              .n_slices = 1,
                              .rows = transposed ? cols : l->dims[0],
                              .cols = transposed ? l->dims[0] : cols,
                              .row_stride = transposed ? 1 : cols,
                              .col_stride = transposed ? cols : 1};
    return 0;
}

static const char *const kinds[] = {"sumsq", "xlast", "gram", "score", "count", "sum"};

/* Which kinds of statistics the method reads. */
static unsigned kinds_needed(const struct prune_task *t)
{
    if (t->update)
        return 1u << STAT_GRAM;
    if (t->use_dsnot)
        return 1u << STAT_SUMSQ | 1u << STAT_SUM | 1u << STAT_SEEN;
    if (t->opt.method == PRUNE_EXTERNAL)
        return 1u << STAT_SCORE;
    return t->opt.method == PRUNE_MAGNITUDE ? 0 : 1u << STAT_SUMSQ;
}

static void set_range(const struct analyze *a, const char *module, enum prune_statistic which,
                      struct prune_task *t)
{
    const struct prune_work *w = a->prune;
    const struct tensor *s = calibration_find(&w->stats.calibration, module, kinds[which]);

    if (s)
        t->stat[which] = (struct prune_range){true, s->dtype, s->offset, tensor_elements(s)};
}

static int check_range(const struct layer *l, const struct prune_task *t,
                       enum prune_statistic which, struct err *err)
{
    const struct prune_range *s = &t->stat[which];
    uint64_t n = t->m.cols;
    bool fits = which == STAT_SUMSQ || which == STAT_SUM ? s->count == n
                : which == STAT_GRAM  ? s->count == n * n || s->count == n * (n + 1) / 2
                : which == STAT_SCORE ? s->count == n * t->m.rows
                : which == STAT_SEEN  ? s->count == 2
                                      : s->count % n == 0 && s->count / n - 1 < PRUNE_TOKENS_MAX;

    if (!s->present)
        return err_set_at(err, ERR_INVALID, "/params/stats",
                          "the statistics have no \"%s\" for \"%.100s\"", kinds[which],
                          l->longname);
    if (!fits || !dtype_decodable(s->dtype))
        return err_set_at(
            err, ERR_INVALID, "/params/stats",
            "\"%.100s.%s\" has %llu elements of dtype %s, which does not fit a matrix "
            "with %llu inputs and %llu outputs",
            l->longname, kinds[which], (unsigned long long)s->count, dtype_name(s->dtype),
            (unsigned long long)n, (unsigned long long)t->m.rows);
    return 0;
}

/* One that the method can do without, but not in the wrong size. */
static int set_if_there(const struct analyze *a, const struct layer *l, struct prune_task *t,
                        enum prune_statistic which, struct err *err)
{
    set_range(a, l->longname, which, t);
    return t->stat[which].present ? check_range(l, t, which, err) : 0;
}

static int set_statistics(const struct analyze *a, const struct layer *l, struct prune_task *t,
                          struct err *err)
{
    unsigned needed = kinds_needed(t);
    int r = needed ? set_if_there(a, l, t, STAT_SEEN, err) : 0;

    if (a->prune->stats.calibration.n_sequences)
        t->n_sequences = (double)a->prune->stats.calibration.n_sequences;
    for (int k = 0; r == 0 && k < STAT_COUNT; k++)
        if (needed & 1u << k) {
            set_range(a, l->longname, (enum prune_statistic)k, t);
            r = check_range(l, t, (enum prune_statistic)k, err);
        }
    if (r == 0 && needed & 1u << STAT_GRAM) /* the one is checked against the other */
        r = set_if_there(a, l, t, STAT_SUMSQ, err);
    if (r < 0 || !t->use_trim)
        return r;
    set_range(a, l->longname, STAT_XLAST, t);
    if (t->stat[STAT_XLAST].present)
        return check_range(l, t, STAT_XLAST, err);
    set_range(a, l->longname, STAT_GRAM, t);
    if (t->stat[STAT_GRAM].present)
        return check_range(l, t, STAT_GRAM, err);
    return err_set_at(err, ERR_INVALID, "/params/stats",
                      "the statistics have neither \"xlast\" nor \"gram\" for \"%.100s\"",
                      l->longname);
}

static int add_row(struct analyze *a, size_t layer, const json_t *tensor, struct err *err)
{
    struct prune_work *w = a->prune;
    const struct layer *l = &a->layers.l[layer];
    struct prune_row *row = &w->row[w->n_rows];
    const json_t *pruned = json_object_get(tensor, "pruned_of_m");
    int r;

    *row = (struct prune_row){.layer = layer, .task = w->params.task, .fd = -1};
    row->target = json_number_value(json_object_get(tensor, "sparsity"));
    row->task.opt.sparsity = row->target;
    r = set_matrix(l, &row->task.m, err);
    if (r < 0)
        return r;
    if (row->task.update && !dtype_encodable(l->dtype))
        return err_set_at(err, ERR_UNSUPPORTED, "/params/method",
                          "\"%.100s\" has dtype %s, to which changed weights cannot be rounded",
                          l->longname, dtype_name(l->dtype));
    if (w->plan_m && json_is_integer(pruned)) {
        row->task.opt.selection = PRUNE_N_OF_M;
        row->task.opt.m = w->plan_m;
        row->task.opt.pruned = (unsigned)json_integer_value(pruned);
    }
    if (row->task.opt.selection == PRUNE_N_OF_M && row->task.m.cols % row->task.opt.m)
        return err_set_at(err, ERR_INVALID, "/params/n_of_m",
                          "\"%.100s\" has %llu inputs, no multiple of %u", l->longname,
                          (unsigned long long)row->task.m.cols, row->task.opt.m);
    if (row->task.opt.selection == PRUNE_N_OF_M)
        row->target = (double)row->task.opt.pruned / row->task.opt.m;
    r = set_statistics(a, l, &row->task, err);
    /* Where nearly nothing or nearly everything goes, TRIM has no choice to make. */
    if (row->target <= 0 || row->target > TRIM_MAX)
        row->task.use_trim = false;
    w->n_rows++;
    return r;
}

/* --- all ------------------------------------------------------------------------------------ */

static int by_place(const void *x, const void *y, void *layers)
{
    const struct layer_list *ll = layers;
    const struct layer *p = &ll->l[((const struct prune_row *)x)->layer];
    const struct layer *q = &ll->l[((const struct prune_row *)y)->layer];

    if (p->file != q->file)
        return p->file < q->file ? -1 : 1;
    return (p->offset > q->offset) - (p->offset < q->offset);
}

static void make_key(const struct analyze *a, size_t file, struct prune_shard *s)
{
    const struct prune_work *w = a->prune;
    const struct file_identity *id = &a->source->file[file].id;
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, "spectrald-prune-3");
    hasher_add(h, id, sizeof *id);
    hasher_add_str(h, prune_format_name(w->params.format));
    if (w->params.smooth.on) {
        AUTO(freep) char *text = prune_params_text(&w->params);

        hasher_add_u64(h, SMOOTH_VERSION);
        hasher_add_str(h, text);
    }
    if (w->stats.source)
        hasher_add(h, &w->stats.source->file[0].id, sizeof w->stats.source->file[0].id);
    for (size_t i = s->first; i < s->first + s->count; i++) {
        struct buf b = BUF_INIT;

        prune_task_put(&b, &w->row[i].task);
        hasher_add(h, b.data, b.len);
        buf_done(&b);
    }
    hasher_finish(h, &s->key);
}

static void make_shards(struct analyze *a)
{
    struct prune_work *w = a->prune;
    size_t at = 0;

    w->shard = xcalloc(a->source->n_files, sizeof *w->shard);
    for (size_t f = 0; f < a->source->n_files; f++) {
        struct prune_shard *s = &w->shard[f];

        *s = (struct prune_shard){
            .first = at, .next = at, .front = at, .fd = -1, .nbytes = a->source->file[f].id.size};
        while (at < w->n_rows && a->layers.l[w->row[at].layer].file == f)
            at++;
        s->count = at - s->first;
        make_key(a, f, s);
    }
}

int analyze_prune_shards(struct analyze *a, struct err *err)
{
    struct prune_work *w = a->prune;

    if (w->n_rows)
        qsort_r(w->row, w->n_rows, sizeof *w->row, by_place, &a->layers);
    make_shards(a);
    return analyze_prune_layout(a, err);
}

int analyze_prune_rows(struct analyze *a, struct err *err)
{
    struct prune_work *w = a->prune;
    json_auto_t *plan =
        json_loadb((const char *)w->plan_text.data, w->plan_text.len, JSON_ALLOW_NUL, NULL);
    const json_t *tensors = json_object_get(plan, "tensors"), *t;
    AUTO(freep) struct named *index = NULL;
    size_t n_index, i;
    int r;

    if (!json_is_array(tensors) || !json_is_string(json_object_get(plan, "id")))
        return err_set_at(err, ERR_INVALID, AT_PLAN, "it is no plan of sparsities");
    if (json_object_get(json_object_get(plan, "params"), "structure"))
        return err_set_at(
            err, ERR_UNSUPPORTED, AT_PLAN,
            "a plan of widths is not carried out yet: only single weights are pruned");
    w->plan_id = xstrdup(json_string_value(json_object_get(plan, "id")));
    w->plan_m = (unsigned)json_integer_value(json_object_get(json_object_get(plan, "params"), "m"));
    if (w->plan_m && w->params.task.opt.selection == PRUNE_N_OF_M)
        return err_set_at(err, ERR_INVALID, "/params/n_of_m", "the plan is an N:M plan already");
    w->row = xcalloc(json_array_size(tensors) + 1, sizeof *w->row);
    r = prune_blocks_exist(&w->params.blocks, &a->layers, err);
    if (r < 0)
        return r;
    index = index_layers(&a->layers, &n_index);
    json_array_foreach(tensors, i, t)
    {
        const char *name = json_string_value(json_object_get(t, "name"));
        size_t layer;

        if (!name || !json_is_number(json_object_get(t, "sparsity")))
            return err_set_at(err, ERR_INVALID, AT_PLAN, "it is no plan of sparsities");
        if (!find_layer(a, index, n_index, name, &layer))
            return err_set_at(err, ERR_INVALID, AT_PLAN,
                              "the plan names \"%.100s\", which the model does not have", name);
        if (!prune_blocks_take(&w->params.blocks, a->layers.l[layer].block))
            continue;
        r = add_row(a, layer, t, err);
        if (r < 0)
            return r;
    }
    if (w->n_rows)
        qsort_r(w->row, w->n_rows, sizeof *w->row, by_place, &a->layers);
    for (i = 1; i < w->n_rows; i++)
        if (w->row[i].layer == w->row[i - 1].layer)
            return err_set_at(err, ERR_INVALID, AT_PLAN, "the plan names \"%.100s\" twice",
                              a->layers.l[w->row[i].layer].longname);
    r = prune_blocks_all_taken(&w->params.blocks, err);
    return r < 0 ? r : analyze_prune_shards(a, err);
}
