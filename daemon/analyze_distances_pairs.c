/* analyze_distances_pairs.c: which tensors of two models belong together: those of one name. */
#include "daemon/analyze_distances.h"

#include "compute/spectrum.h"

#include <stdlib.h>
#include <string.h>

/* --- pairs ----------------------------------------------------------------------------------- */

/* A tensor as it lies in one of the two models. */
struct place {
    struct wire_matrix m;
    struct digest digest;
    int fd;
};

static size_t add_pair(struct distances_work *w, const struct place *own, const struct place *base,
                       bool sliced, const char *label)
{
    struct tensor_pair *p;

    if (w->n_pairs == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 256;
        w->pair = xrealloc(w->pair, w->cap * sizeof *w->pair);
    }
    p = &w->pair[w->n_pairs];
    *p = (struct tensor_pair){.digest = {own->digest, base->digest},
                              .label = label,
                              .identical = digest_equal(&own->digest, &base->digest),
                              .leader = DISTANCE_NONE};
    distance_pair_make(&own->digest, &base->digest, sliced, &p->pair);
    const struct place *first = p->pair.turned ? base : own, *second = p->pair.turned ? own : base;

    p->task = (struct distance_task){.a = first->m, .b = second->m};
    p->fd[0] = first->fd;
    p->fd[1] = second->fd;
    return w->n_pairs++;
}

/* A bias, as one long column. */
static struct wire_matrix vector_of(const struct tensor *t)
{
    return (struct wire_matrix){.dtype = (uint32_t)t->dtype,
                                .offset = t->offset,
                                .nbytes = t->nbytes,
                                .rows = t->dims[0],
                                .cols = 1,
                                .n_slices = 1,
                                .row_stride = 1,
                                .col_stride = 1,
                                .slice_stride = 0};
}

/* --- rows ------------------------------------------------------------------------------------ */

struct finding {
    struct analyze *a;
    struct tensor_names own, base; /* tensors of the model, and of the other */
};

static struct place place_of(const struct analyze *a, const struct wire_matrix *m, uint32_t file,
                             const struct unit *u)
{
    return (struct place){*m, u->digest, analyze_file(a, file)->fd};
}

static size_t weight_pair(const struct analyze *a, const struct layer *l)
{
    struct weights w;
    struct place own, base;

    ASSERT(l->made == MADE_DELTA);
    weights_of_layer(l, &w);
    own = place_of(a, &w.tensor[0], l->part[0].file, analyze_part_unit(a, &l->part[0]));
    base = place_of(a, &w.tensor[1], l->part[1].file, analyze_part_unit(a, &l->part[1]));
    return add_pair(a->distances, &own, &base, l->type == TYPE_CONV2D, l->longname);
}

static struct place bias_place(const struct analyze *a, const struct named_tensor *n)
{
    const struct wire_matrix m = vector_of(n->t);

    return place_of(a, &m, n->file, &a->unit[a->unit_of[n->file][n->index]]);
}

static bool is_vector(const struct tensor *t)
{
    return t->rank == 1 && t->dims[0] > 0 && dtype_decodable(t->dtype);
}

/* Upstream compares biases as well. */
static void find_bias(const struct finding *f, const struct layer *l, struct distance_row *row)
{
    const struct analyze *a = f->a;
    AUTO(freep) char *name = xasprintf("%s.bias", l->longname);
    const struct named_tensor *own = l->expert < 0 ? tensor_names_find(&f->own, name) : NULL;
    const struct named_tensor *base = own ? tensor_names_find(&f->base, name) : NULL;
    const struct tensor *x = own ? own->t : NULL, *y = base ? base->t : NULL;

    if (!x || !is_vector(x))
        return;
    if (!y) {
        row->bias_reason = skip_reason_name(SKIP_NO_BASE);
    } else if (!is_vector(y) || y->dims[0] != x->dims[0]) {
        row->bias_reason = skip_reason_name(SKIP_BASE_SHAPE);
    } else {
        const struct place p = bias_place(a, own), q = bias_place(a, base);

        row->bias = add_pair(a->distances, &p, &q, false, l->longname);
        a->distances->pair[row->bias].vector = true;
    }
}

/* Norms, biases and the like are no layers, and what was not asked for is left out. */
static bool is_listed(const struct layer *l)
{
    switch (l->skip) {
    case SKIP_NORM:
    case SKIP_BIAS:
    case SKIP_ONE_DIMENSION:
    case SKIP_MASK:
    case SKIP_FILTERED:
        return false;
    default:
        return true;
    }
}

static void add_row(const struct finding *f, size_t layer)
{
    struct distances_work *w = f->a->distances;
    const struct layer *l = &f->a->layers.l[layer];
    struct distance_row *row = &w->row[w->n_rows++];

    *row = (struct distance_row){.layer = layer, .weight = DISTANCE_NONE, .bias = DISTANCE_NONE};
    if (l->skip == SKIP_NONE)
        row->weight = weight_pair(f->a, l);
    if (l->skip == SKIP_NONE)
        find_bias(f, l, row);
}

/* Matrices of the other model that this one does not have. */
static size_t count_only_in_base(const struct finding *f)
{
    size_t n = 0;

    for (size_t i = 0; i < f->base.n; i++)
        n += f->base.v[i].t->rank >= 2 && !tensor_names_find(&f->own, f->base.v[i].t->name);
    return n;
}

static int by_key(const void *x, const void *y, void *arg)
{
    const struct tensor_pair *pair = arg;
    size_t i = *(const size_t *)x, k = *(const size_t *)y;
    int order = memcmp(pair[i].pair.key.b, pair[k].pair.key.b, DIGEST_LEN);

    return order ? order : (i > k) - (i < k);
}

/* The first of several pairs of the same contents stands for all. */
static void find_leaders(struct distances_work *w)
{
    AUTO(freep) size_t *order = xcalloc(w->n_pairs + 1, sizeof *order);
    size_t leader = 0;

    for (size_t i = 0; i < w->n_pairs; i++)
        order[i] = i;
    if (w->n_pairs)
        qsort_r(order, w->n_pairs, sizeof *order, by_key, w->pair);
    for (size_t i = 0; i < w->n_pairs; i++) {
        struct tensor_pair *p = &w->pair[order[i]], *first = &w->pair[leader];

        /* turned another way, a pair has the norms the other way round */
        if (i > 0 && digest_equal(&p->pair.key, &first->pair.key) &&
            p->pair.turned == first->pair.turned)
            p->leader = leader;
        else
            leader = order[i];
    }
}

/* Whether the similarity is computed, and what that takes. */
static void choose_cka(const struct distances_work *w, struct tensor_pair *p)
{
    const struct wire_matrix *m = &p->task.a;
    bool asked = w->params.cka && !p->identical && !p->vector;

    p->task.cka = asked && (m->rows < m->cols ? m->rows : m->cols) <= SPECTRUM_N_MAX;
    if (p->task.cka && distance_task_bytes(&p->task) > w->budget)
        p->task.cka = false;
    p->cka_left_out = asked && !p->task.cka;
}

void analyze_distances_pair(struct analyze *a)
{
    struct distances_work *w = a->distances;
    struct finding f = {.a = a};

    tensor_names_make(a->table, 0, a->n_own, &f.own);
    tensor_names_make(a->table, a->n_own, a->n_tables, &f.base);
    w->row = xcalloc(a->layers.count + 1, sizeof *w->row);
    for (size_t i = 0; i < a->layers.count; i++)
        if (is_listed(&a->layers.l[i]))
            add_row(&f, i);
    w->n_only_in_base = count_only_in_base(&f);
    find_leaders(w);
    for (size_t i = 0; i < w->n_pairs; i++)
        choose_cka(w, &w->pair[i]);
    tensor_names_done(&f.own);
    tensor_names_done(&f.base);
}
