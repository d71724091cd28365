/* analyze_products.c: see analyze_products.h.
 *
 * WeightWatcher's rule for intra-layer products (0.7.5.5): the larger dimension that two matrices
 * share is summed over, whichever way round they lie; two that share none have no row.
 */
#include "daemon/analyze_products.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of both names; rows with longer ones go by their numbers. */
#define NAMES_MAX 4000

struct factor {
    size_t row;
    struct layer_part m;
};

/* A matrix, or with compat the first slice of a convolution. */
static bool take(const struct analyze *a, size_t row, struct factor *out)
{
    const struct layer *l = &a->layers.l[row];

    if (l->skip != SKIP_NONE || l->made != MADE_TENSOR || l->expert >= 0 ||
        (l->n_slices != 1 && !a->params.compat))
        return false;
    *out = (struct factor){row, layer_own_part(l)};
    out->m.n_slices = 1;
    out->m.slice_stride = 0;
    return true;
}

static uint64_t shared(const struct layer_part *x, const struct layer_part *y)
{
    uint64_t rows = x->rows == y->rows || x->rows == y->cols ? x->rows : 0;
    uint64_t cols = x->cols == y->rows || x->cols == y->cols ? x->cols : 0;

    return rows > cols ? rows : cols;
}

static void exchange(uint64_t *x, uint64_t *y)
{
    uint64_t t = *x;

    *x = *y;
    *y = t;
}

static void turn(struct layer_part *p)
{
    exchange(&p->rows, &p->cols);
    exchange(&p->row_stride, &p->col_stride);
}

/* Upstream takes a product for the second layer, and a convolution's factor on eigenvalues with it;
 * on singular values that is its root. */
static double compat_scale(const struct analyze *a, const struct layer *right)
{
    return a->params.compat ? sqrt(analyze_scale(right)) : 1;
}

static void make_row(struct analyze *a, size_t at, const struct factor *x, const struct factor *y)
{
    struct layer_list *ll = &a->layers;
    const struct layer *left = &ll->l[x->row], *right = &ll->l[y->row];
    struct layer_part part[] = {x->m, y->m};
    uint64_t inner = shared(&x->m, &y->m);
    struct layer *l = &ll->l[at];

    if (part[0].cols != inner)
        turn(&part[0]);
    if (part[1].rows != inner)
        turn(&part[1]);
    *l = (struct layer){.tensor = left->tensor,
                        .block = "",
                        .file = left->file,
                        .index = left->index,
                        .expert = -1,
                        .type = TYPE_OTHER,
                        .role = ROLE_OTHER,
                        .dtype = left->dtype,
                        .rank = 2,
                        .dims = {part[0].rows, part[1].cols},
                        .rows = part[0].rows,
                        .cols = part[1].cols,
                        .n_slices = 1,
                        .row_stride = part[1].cols,
                        .col_stride = 1,
                        .offset = left->offset,
                        .nbytes = left->nbytes,
                        .inner = inner,
                        .scale = compat_scale(a, right),
                        .sparse = a->params.sparse_products,
                        .roots = a->params.compat};
    l->name = layer_list_keep(ll, xasprintf("%zu X %zu", x->row, y->row));
    l->longname = l->name;
    if (strlen(left->longname) + strlen(right->longname) < NAMES_MAX)
        l->longname = layer_list_keep(ll, xasprintf("%s X %s", left->longname, right->longname));
    layer_list_make(ll, at, MADE_PRODUCT, part);
}

int analyze_product_rows(struct analyze *a)
{
    size_t count = a->layers.count, n = 0, pairs = 0;
    AUTO(freep) struct factor *v = xcalloc(count + 1, sizeof *v);

    for (size_t i = 0; i < count; i++)
        n += take(a, i, &v[n]);
    for (size_t i = 1; i < n; i++)
        pairs += shared(&v[i - 1].m, &v[i].m) != 0;
    if (count + pairs > LAYERS_MAX)
        return err_set_at(&a->err, ERR_LIMIT, "/params/products",
                          "with products the model has more than %d rows", LAYERS_MAX);
    if (pairs == 0)
        return 0;
    (void)layer_list_add(&a->layers, pairs);
    for (size_t i = 1; i < n; i++)
        if (shared(&v[i - 1].m, &v[i].m))
            make_row(a, count++, &v[i - 1], &v[i]);
    a->n_products = pairs;
    return 0;
}
