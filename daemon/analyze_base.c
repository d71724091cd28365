/* analyze_base.c: see analyze_base.h. */
#include "daemon/analyze_base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void analyze_base_free(struct analyze *a)
{
    struct base_model *b = a->base;

    if (!b)
        return;
    hf_index_done(&b->index);
    layer_list_done(&b->layers);
    source_free(b->source);
    free(b);
}

const struct source_file *analyze_file(const struct analyze *a, uint32_t f)
{
    return f < a->n_own ? &a->source->file[f] : &a->base->source->file[f - a->n_own];
}

bool analyze_is_base_file(const struct analyze *a, const struct source_file *f)
{
    const struct source *s = a->base ? a->base->source : NULL;

    return s && (f == &s->index || (f >= s->file && f < s->file + s->n_files));
}

int analyze_unchanged(struct analyze *a)
{
    int r = source_unchanged(a->source, &a->err);

    return r == 0 && a->base ? source_unchanged(a->base->source, &a->err) : r;
}

/* --- opening --------------------------------------------------------------------------------- */

static void opened(void *arg, const struct err *err, struct source *src)
{
    struct analyze *a = arg;
    struct job *j = a->job;

    if (j->ended) {
        source_free(src);
    } else if (err) {
        a->err = *err;
        (void)analyze_goes_on(a, "/params/base");
    } else {
        a->base = xcalloc(1, sizeof *a->base);
        a->base->layers = (struct layer_list)LAYER_LIST_INIT;
        a->base->source = src;
        analyze_next(a);
    }
    job_unref(j);
}

void analyze_open_base(struct analyze *a)
{
    (void)job_ref(a->job);
    locate_source(a->job->svc, &a->params.base, opened, a);
}

int analyze_base_layers(struct analyze *a)
{
    struct base_model *b = a->base;
    size_t n = a->n_tables - a->n_own;
    AUTO(freep) const struct tensor_table **tables = xcalloc(n + 1, sizeof *tables);
    int r;

    for (size_t f = 0; f < n; f++) {
        const struct tensor_table *tt = &a->table[a->n_own + f];

        tables[f] = tt;
        for (size_t i = 0; i < tt->count; i++) {
            b->nbytes += tt->t[i].nbytes;
            b->n_params += tensor_elements(&tt->t[i]);
        }
        b->n_tensors += tt->count;
    }
    r = layers_build(tables, n, b->have_config ? &b->config : NULL, &b->layers, &a->err);
    if (r < 0)
        snprintf(a->err.pointer, sizeof a->err.pointer, "/params/base");
    for (size_t i = 0; i < b->layers.count; i++)
        b->layers.l[i].file += (uint32_t)a->n_own;
    return r;
}

/* --- which tensor goes with which ------------------------------------------------------------ */

bool analyze_base_usable(const struct analyze *a, enum dtype d)
{
    return dtype_decodable(d) && (!dtype_is_integer(d) || a->params.filter.integers);
}

enum skip_reason analyze_base_part(const struct analyze *a, const struct tensor_names *names,
                                   const struct layer *l, struct layer_part *out)
{
    const struct tensor *own = &a->table[l->file].t[l->index], *t;
    const struct named_tensor *at = tensor_names_find(names, l->tensor);
    uint64_t n;

    if (!at)
        return SKIP_NO_BASE;
    t = at->t;
    if (t->rank != own->rank || memcmp(t->dims, own->dims, t->rank * sizeof *t->dims) != 0)
        return SKIP_BASE_SHAPE;
    if (!analyze_base_usable(a, t->dtype))
        return SKIP_BASE_DTYPE;
    n = l->expert < 0 ? 1 : t->dims[0];
    *out = (struct layer_part){.file = at->file,
                               .index = at->index,
                               .expert = l->expert,
                               .dtype = t->dtype,
                               .rows = l->rows,
                               .cols = l->cols,
                               .n_slices = l->n_slices,
                               .row_stride = l->row_stride,
                               .col_stride = l->col_stride,
                               .slice_stride = l->slice_stride,
                               .nbytes = t->nbytes / n};
    out->offset = t->offset + (l->expert < 0 ? 0 : (uint64_t)l->expert * out->nbytes);
    return SKIP_NONE;
}

int analyze_base_match(struct analyze *a)
{
    AUTO(tensor_names_done) struct tensor_names names = {.n = 0};

    tensor_names_make(a->table, a->n_own, a->n_tables, &names);
    for (size_t i = 0; i < a->layers.count; i++) {
        struct layer *l = &a->layers.l[i];
        struct layer_part part[] = {layer_own_part(l), layer_own_part(l)};

        if (l->skip != SKIP_NONE || l->made != MADE_TENSOR)
            continue;
        l->skip = analyze_base_part(a, &names, l, &part[1]);
        if (l->skip == SKIP_NONE)
            layer_list_make(&a->layers, i, MADE_DELTA, part);
    }
    return 0;
}

const struct unit *analyze_part_unit(const struct analyze *a, const struct layer_part *p)
{
    return &a->unit[a->unit_of[p->file][p->index] + (size_t)(p->expert > 0 ? p->expert : 0)];
}
