/* analyze_adapter.c: see analyze_adapter.h. */
#include "daemon/analyze_adapter.h"

#include "daemon/analyze_base.h"
#include "models/adapter.h"

#include <stdlib.h>
#include <string.h>

struct adapting {
    struct analyze *a;
    bool merged;                  /* the rows are weights with what the adapter adds */
    struct tensor_names names;    /* then: of the base */
    struct adapter_config config; /* where `known` */
    bool known;
};

static void adapting_done(struct adapting *w)
{
    tensor_names_done(&w->names);
    adapter_config_done(&w->config);
}

static int read_config(struct adapting *w)
{
    struct analyze *a = w->a;
    int r = 0;

    for (size_t i = 0; r == 0 && i < a->n_side; i++) {
        const struct input *in = &a->input[i];

        if (in->kind != INSPECT_ADAPTER_CONFIG)
            continue;
        if (!in->found)
            return err_set_at(&a->err, in->err.code, "/source", "%s", in->err.text);
        r = adapter_config_read(in->bytes.data, in->bytes.len, &w->config, &a->err);
        w->known = r == 0;
    }
    return r;
}

/* --- one pair -------------------------------------------------------------------------------- */

static void exchange(uint64_t *x, uint64_t *y)
{
    uint64_t t = *x;

    *x = *y;
    *y = t;
}

static void transpose(struct layer_part *p)
{
    exchange(&p->rows, &p->cols);
    exchange(&p->row_stride, &p->col_stride);
}

/* The weights that an adapter is for: MODULE.weight, as PEFT saves models without adapters, or
 * MODULE.base_layer.weight. */
static const struct named_tensor *find_weights(const struct adapting *w, const char *module)
{
    static const char *const end[] = {".weight", ".base_layer.weight"};
    const char *name = adapter_module_of_base(module);
    const struct named_tensor *at = NULL;

    for (size_t i = 0; !at && i < ARRAY_LEN(end); i++) {
        AUTO(freep) char *full = xasprintf("%s%s", name, end[i]);

        at = tensor_names_find(&w->names, full);
    }
    return at;
}

static enum skip_reason weights_part(const struct adapting *w, const char *module, uint64_t rows,
                                     uint64_t cols, struct layer_part *out)
{
    const struct named_tensor *at = find_weights(w, module);
    const struct tensor *t;

    if (!at)
        return SKIP_NO_BASE;
    t = at->t;
    if (t->rank != 2 || t->dims[0] != rows || t->dims[1] != cols)
        return SKIP_BASE_SHAPE;
    if (!analyze_base_usable(w->a, t->dtype))
        return SKIP_BASE_DTYPE;
    *out = (struct layer_part){.file = at->file,
                               .index = at->index,
                               .expert = -1,
                               .dtype = t->dtype,
                               .rows = rows,
                               .cols = cols,
                               .n_slices = 1,
                               .row_stride = cols,
                               .col_stride = 1,
                               .offset = t->offset,
                               .nbytes = t->nbytes};
    return SKIP_NONE;
}

static double scale_of(const struct adapting *w, const struct adapter_pair *p, uint64_t rank)
{
    if (!w->known || w->a->params.compat) /* upstream knows no scale */
        return 1;
    return adapter_scale(&w->config, p->module, rank);
}

static enum skip_reason reason_against(const struct adapting *w, const struct adapter_pair *p,
                                       uint64_t rank)
{
    uint64_t told = w->known ? adapter_rank(&w->config, p->module) : 0;

    if (told && told != rank)
        return SKIP_ADAPTER_RANK;
    return p->dora && w->merged ? SKIP_ADAPTER_DORA : SKIP_NONE;
}

static void make_row(struct adapting *w, const struct adapter_pair *p)
{
    struct layer_list *ll = &w->a->layers;
    struct layer *l = &ll->l[p->b];
    const char *base = adapter_module_of_base(p->module);
    struct layer_part part[] = {layer_own_part(l), layer_own_part(&ll->l[p->a]), {0}};

    l->inner = l->cols;
    l->scale = scale_of(w, p, l->inner);
    l->skip = reason_against(w, p, l->inner);
    l->notes |= (p->dora ? (unsigned)NOTE_DORA : 0) | (w->known ? 0 : (unsigned)NOTE_SCALE_UNKNOWN);
    if (p->embedding || (w->known && w->config.transposed)) { /* (B A)' = A' B' */
        struct layer_part b = part[0];

        part[0] = part[1];
        part[1] = b;
        transpose(&part[0]);
        transpose(&part[1]);
    }
    l->rows = l->dims[0] = part[0].rows;
    l->cols = l->dims[1] = part[1].cols;
    if (l->skip == SKIP_NONE && w->merged)
        l->skip = weights_part(w, p->module, l->rows, l->cols, &part[2]);
    layer_list_make(ll, p->b, w->merged ? MADE_MERGED : MADE_LORA, part);
    layer_list_rename(ll, p->b, w->merged ? base : p->name, w->merged ? base : p->module);
}

/* --- all of them ----------------------------------------------------------------------------- */

int analyze_adapter_rows(struct analyze *a)
{
    AUTO(adapting_done) struct adapting w = {.a = a};
    AUTO(freep) struct adapter_pair *pair = NULL;
    size_t n;
    int r = 0;

    if (a->params.adapter == ADAPTER_FACTORS)
        return 0;
    n = adapter_pairs(&a->layers, &pair);
    if (n == 0 && a->params.adapter == ADAPTER_MERGED)
        return err_set_at(&a->err, ERR_INVALID, "/params/adapter",
                          "the model has no adapter (lora_A, lora_B) to merge");
    if (n > 0 && a->params.adapter == ADAPTER_DELTA && a->base)
        return err_set_at(&a->err, ERR_INVALID, "/params/adapter",
                          "the model is an adapter: with a base, say merged or factors");
    if (n > 0)
        r = read_config(&w);
    if (r < 0)
        return r;
    w.merged = n > 0 && a->params.adapter == ADAPTER_MERGED;
    if (w.merged)
        tensor_names_make(a->table, a->n_own, a->n_tables, &w.names);
    a->adapted = n > 0;
    for (size_t i = 0; i < n; i++)
        make_row(&w, &pair[i]);
    if (n > 0)
        layer_list_sort(&a->layers);
    return 0;
}
