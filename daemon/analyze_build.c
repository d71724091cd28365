/* analyze_build.c: tables -> rows and content units; digests of units -> the model's identity. */
#include "daemon/analyze_adapter.h"
#include "daemon/analyze_base.h"
#include "daemon/analyze_products.h"

#include "compute/low_rank.h"

#include <stdlib.h>
#include <string.h>

#define STACK_MAX 65536 /* longest first dimension taken for a stack */

/* --- tables to rows ------------------------------------------------------------------------ */

static int parse_tables(struct analyze *a)
{
    a->table = xcalloc(a->n_tables, sizeof *a->table);
    for (size_t i = 0; i < a->n_tables; i++) {
        const struct input *in = &a->input[a->n_side + i];
        int r = tensor_table_parse(in->bytes.data, in->bytes.len, in->file->id.size, &a->table[i],
                                   &a->err);

        if (r < 0)
            return r;
    }
    return 0;
}

static void parse_config(struct analyze *a)
{
    for (size_t i = 0; i < a->n_side; i++) {
        const struct input *in = &a->input[i];

        if (in->kind != INSPECT_HF_CONFIG || !in->found)
            continue;
        if (in->file == &a->source->config)
            a->have_config = hf_config_read(in->bytes.data, in->bytes.len, &a->config, NULL) == 0;
        else
            a->base->have_config =
                hf_config_read(in->bytes.data, in->bytes.len, &a->base->config, NULL) == 0;
    }
}

static int by_tensor_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every name the index gives to shard `file` must be there; tensors it does not name are counted.
 */
static int check_shard(struct analyze *a, const struct hf_index *ix, uint32_t file,
                       const struct tensor_table *tt)
{
    AUTO(freep) const char **name = xcalloc(tt->count, sizeof *name);
    size_t named = 0;

    for (size_t i = 0; i < tt->count; i++)
        name[i] = tt->t[i].name;
    if (tt->count)
        qsort(name, tt->count, sizeof *name, by_tensor_name);
    for (size_t i = 0; i < ix->n_entries; i++) {
        const struct hf_index_entry *e = &ix->entry[i];
        const char *key = e->tensor;

        if (e->shard != file)
            continue;
        if (!tt->count || !bsearch(&key, name, tt->count, sizeof *name, by_tensor_name))
            return err_set(&a->err, ERR_FORMAT,
                           "the index puts tensor \"%.150s\" into \"%.100s\", which has no such "
                           "tensor",
                           key, ix->shard[file]);
        named++;
    }
    if (ix == &a->index)
        a->unmapped += tt->count - named;
    return 0;
}

static int check_shards(struct analyze *a)
{
    const struct base_model *b = a->base;
    uint32_t n = (uint32_t)a->n_own;
    int r = 0;

    for (uint32_t f = 0; r == 0 && f < a->n_tables; f++) {
        const struct hf_index *ix = f < n ? &a->index : &b->index;

        if (f < n ? a->have_index : b->have_index)
            r = check_shard(a, ix, f < n ? f : f - n, &a->table[f]);
    }
    return r;
}

/* Matrices of a stack have digests of their own, so that one changed expert costs one solve. */
static size_t units_in(const struct tensor *t)
{
    return t->rank == 3 && t->dims[0] >= 1 && t->dims[0] <= STACK_MAX && t->nbytes > 0
               ? (size_t)t->dims[0]
               : 1;
}

static void make_unit(struct analyze *a, uint32_t file, uint32_t tensor, size_t n, size_t k)
{
    const struct tensor *t = &a->table[file].t[tensor];
    struct unit *u = &a->unit[a->n_units++];
    bool stack = n > 1 || (t->rank == 3 && t->nbytes > 0 && t->dims[0] == 1);

    *u = (struct unit){.file = file, .tensor = tensor, .dtype = t->dtype};
    u->rank = stack ? t->rank - 1 : t->rank;
    memcpy(u->dims, t->dims + (stack ? 1 : 0), u->rank * sizeof *u->dims);
    u->nbytes = t->nbytes / n;
    u->offset = t->offset + k * u->nbytes;
    u->first_leaf = a->n_leaves;
    u->n_leaves = (size_t)((u->nbytes + ANALYZE_LEAF_BYTES - 1) / ANALYZE_LEAF_BYTES);
    a->n_leaves += u->n_leaves;
}

static void make_units(struct analyze *a)
{
    size_t total = 0;

    for (size_t f = 0; f < a->n_tables; f++)
        for (size_t i = 0; i < a->table[f].count; i++) {
            total += units_in(&a->table[f].t[i]);
            if (f >= a->n_own)
                continue;
            a->nbytes += a->table[f].t[i].nbytes;
            a->n_params += tensor_elements(&a->table[f].t[i]);
            a->n_tensors++;
        }
    a->unit = xcalloc(total, sizeof *a->unit);
    a->unit_of = xcalloc(a->n_tables, sizeof *a->unit_of);
    for (size_t f = 0; f < a->n_tables; f++) {
        a->unit_of[f] = xcalloc(a->table[f].count, sizeof **a->unit_of);
        for (size_t i = 0; i < a->table[f].count; i++) {
            size_t n = units_in(&a->table[f].t[i]);

            a->unit_of[f][i] = a->n_units;
            for (size_t k = 0; k < n; k++)
                make_unit(a, (uint32_t)f, (uint32_t)i, n, k);
        }
    }
    a->leaf = xcalloc(a->n_leaves, sizeof *a->leaf);
}

static int build_rows(struct analyze *a)
{
    AUTO(freep) const struct tensor_table **tables = xcalloc(a->n_own, sizeof *tables);
    int r;

    for (size_t i = 0; i < a->n_own; i++)
        tables[i] = &a->table[i];
    r = layers_build(tables, a->n_own, a->have_config ? &a->config : NULL, &a->layers, &a->err);
    if (r == 0 && !a->plan && !a->prune && !a->distances)
        r = analyze_adapter_rows(a);
    if (r == 0)
        r = layers_filter(&a->layers, &a->params.filter, &a->err);
    if (r == 0 && a->base && a->params.adapter != ADAPTER_MERGED)
        r = analyze_base_match(a);
    if (r == 0 && a->params.products)
        r = analyze_product_rows(a);
    if (r < 0)
        return r;
    a->lw = xcalloc(a->layers.count, sizeof *a->lw);
    for (size_t i = 0; i < a->layers.count; i++) {
        a->lw[i].outcome = a->layers.l[i].skip == SKIP_NONE ? OUT_WANTED : OUT_SKIPPED;
        a->lw[i].leader = -1;
        a->lw[i].n_led = 1;
    }
    return 0;
}

static void build_run(void *arg, void *state)
{
    struct analyze *a = arg;

    (void)state;
    a->err.code = 0;
    parse_config(a);
    if (parse_tables(a) < 0)
        return;
    if (check_shards(a) == 0 && (!a->base || analyze_base_layers(a) == 0) && build_rows(a) == 0)
        make_units(a);
}

static void build_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (a->job->ended)
        return;
    if (a->err.code) {
        job_fail_err(a->job, &a->err);
        return;
    }
    a->job->rec.layers_total = a->layers.count;
    for (size_t i = 0; i < a->layers.count; i++)
        a->job->rec.layers_done += a->lw[i].outcome == OUT_SKIPPED;
    analyze_next(a);
}

void analyze_build(struct analyze *a)
{
    job_call_file(a->job, build_run, build_done, a);
}

const struct unit *analyze_unit_of(const struct analyze *a, const struct layer *l)
{
    return &a->unit[a->unit_of[l->file][l->index] + (size_t)(l->expert > 0 ? l->expert : 0)];
}

void analyze_content(struct hasher *h, const struct analyze *a, const struct layer *l,
                     struct digest *out)
{
    if (l->made == MADE_TENSOR) {
        *out = analyze_unit_of(a, l)->digest;
        return;
    }
    hasher_add_str(h, "spectrald-made-1");
    hasher_add_str(h, layer_made_name(l->made));
    hasher_add_u64(h, LOW_RANK_VERSION);
    hasher_add(h, &l->scale, sizeof l->scale);
    hasher_add_u64(h, (uint64_t)l->sparse << 1 | l->roots);
    for (size_t i = 0; i < layer_n_parts(l->made); i++) {
        hasher_add(h, analyze_part_unit(a, &l->part[i])->digest.b, DIGEST_LEN);
        hasher_add_u64(h, l->part[i].row_stride);
        hasher_add_u64(h, l->part[i].col_stride);
    }
    hasher_finish(h, out);
}

/* --- identity ------------------------------------------------------------------------------ */

/* Tensors by name, whatever files they lie in: resharding a model does not change its id. */
static void digest_model(struct hasher *h, const struct analyze *a, size_t first, size_t last,
                         struct digest *out)
{
    AUTO(tensor_names_done) struct tensor_names names = {.n = 0};

    tensor_names_make(a->table, first, last, &names);
    hasher_add_str(h, "spectrald-model-1");
    for (size_t i = 0; i < names.n; i++) {
        const struct named_tensor *at = &names.v[i];
        const struct unit *u = &a->unit[a->unit_of[at->file][at->index]];

        hasher_add_str(h, at->t->name);
        for (size_t k = 0; k < units_in(at->t); k++)
            hasher_add(h, u[k].digest.b, DIGEST_LEN);
    }
    hasher_finish(h, out);
}

static void identify_run(void *arg, void *state)
{
    struct analyze *a = arg;
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    (void)state;
    a->err.code = 0;
    if (analyze_unchanged(a) < 0)
        return;
    for (size_t i = 0; i < a->n_units; i++)
        if (!a->input[a->n_side + a->unit[i].file].found)
            analyze_digest_unit(h, a, &a->unit[i]);
    digest_model(h, a, 0, a->n_own, &a->model);
    ident_of_bytes(a->model_id, "mdl_", a->model.b);
    if (a->base) {
        digest_model(h, a, a->n_own, a->n_tables, &a->base->digest);
        ident_of_bytes(a->base->id, "mdl_", a->base->digest.b);
    }
}

static void identify_done(void *arg, const struct err *group_err)
{
    (void)group_err;
    if (analyze_goes_on(arg, NULL))
        analyze_next(arg);
}

void analyze_identify(struct analyze *a)
{
    job_call_file(a->job, identify_run, identify_done, a);
}
