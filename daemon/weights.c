/* weights.c: see weights.h. */
#include "daemon/weights.h"

#include "compute/spectrum.h"
#include "daemon/file_matrix.h"

#include <math.h>

/* Of one block of lines, as spectrum.h reads them. */
#define BLOCK_BYTES 64e6

bool weights_are_product(const struct weights *w)
{
    return w->made == MADE_LORA || w->made == MADE_PRODUCT;
}

static struct wire_matrix part_tensor(const struct layer_part *p)
{
    return (struct wire_matrix){.dtype = p->dtype,
                                .offset = p->offset,
                                .nbytes = p->nbytes,
                                .rows = p->rows,
                                .cols = p->cols,
                                .n_slices = p->n_slices,
                                .row_stride = p->row_stride,
                                .col_stride = p->col_stride,
                                .slice_stride = p->slice_stride};
}

void weights_of_layer(const struct layer *l, struct weights *out)
{
    *out = (struct weights){.made = l->made,
                            .rows = l->rows,
                            .cols = l->cols,
                            .n_slices = l->n_slices,
                            .n = layer_n_parts(l->made),
                            .scale = l->scale,
                            .sparse = l->sparse,
                            .roots = l->roots};
    for (size_t i = 0; i < out->n; i++)
        out->tensor[i] = part_tensor(&l->part[i]);
    if (l->made == MADE_TENSOR) {
        struct layer_part own = layer_own_part(l);

        out->n = 1;
        out->tensor[0] = part_tensor(&own);
    }
}

void weights_put(struct buf *b, const struct weights *w)
{
    buf_put_u8(b, (uint8_t)w->made);
    buf_put_u8(b, w->transposed);
    buf_put_f64(b, w->scale);
    buf_put_u8(b, w->sparse);
    buf_put_u8(b, w->roots);
    buf_put_u64(b, w->seed);
    for (size_t i = 0; i < w->n; i++)
        wire_put_matrix(b, &w->tensor[i]);
}

static bool same_shape(const struct wire_matrix *a, const struct wire_matrix *b)
{
    return a->rows == b->rows && a->cols == b->cols && a->n_slices == b->n_slices;
}

/* The shape of what comes of the tensors; false when they do not fit together. */
static bool set_shape(struct weights *w)
{
    const struct wire_matrix *t = w->tensor, *left = &t[w->transposed], *right = &t[!w->transposed];
    bool product = weights_are_product(w) || w->made == MADE_MERGED;

    w->rows = product ? left->rows : t[0].rows;
    w->cols = product ? right->cols : t[0].cols;
    w->n_slices = t[0].n_slices;
    if (w->made == MADE_DELTA)
        return same_shape(&t[0], &t[1]);
    if (!product)
        return true;
    return left->cols == right->rows && t[0].n_slices == 1 && t[1].n_slices == 1 &&
           isfinite(w->scale) &&
           (weights_are_product(w) ||
            (t[2].rows == w->rows && t[2].cols == w->cols && t[2].n_slices == 1));
}

int weights_get(struct reader *r, struct weights *out, struct err *err)
{
    struct weights w = {.made = (enum layer_made)reader_u8(r)};
    int rc = 0;

    w.transposed = reader_u8(r) != 0;
    w.scale = reader_f64(r);
    w.sparse = reader_u8(r) != 0;
    w.roots = reader_u8(r) != 0;
    w.seed = reader_u64(r);
    if (r->fault || w.made >= MADE_COUNT)
        return wire_bad_task(err);
    w.n = w.made == MADE_TENSOR ? 1 : layer_n_parts(w.made);
    for (size_t i = 0; rc == 0 && i < w.n; i++)
        rc = wire_get_matrix(r, &w.tensor[i], err);
    if (rc == 0 && !set_shape(&w))
        rc = wire_bad_task(err);
    if (rc == 0)
        *out = w;
    return rc;
}

bool weights_turned(const struct wire_matrix *m)
{
    return m->n_slices == 1 && m->row_stride == 1 && m->col_stride == m->rows;
}

static double elements(const struct wire_matrix *m)
{
    return (double)m->rows * (double)m->cols;
}

static double short_side(const struct wire_matrix *m)
{
    return (double)(m->rows < m->cols ? m->rows : m->cols);
}

/* A factorisation of each factor, the product of what is left, its spectrum. */
double weights_product_flops(const struct weights *w)
{
    const struct wire_matrix *t = w->tensor;
    double l = short_side(&t[0]), r = short_side(&t[1]);

    return 2 * elements(&t[0]) * l + 2 * elements(&t[1]) * r +
           (w->sparse ? 2 * elements(&t[0]) * (double)t[0].cols : 0) +
           spectrum_flops((uint64_t)fmax(l, r), (uint64_t)fmin(l, r));
}

static void swap(uint64_t *a, uint64_t *b)
{
    uint64_t t = *a;

    *a = *b;
    *b = t;
}

void weights_transpose(struct weights *w)
{
    swap(&w->rows, &w->cols);
    w->transposed = !w->transposed;
    for (size_t i = 0; i < w->n; i++) {
        swap(&w->tensor[i].rows, &w->tensor[i].cols);
        swap(&w->tensor[i].row_stride, &w->tensor[i].col_stride);
    }
}

bool weights_wide(const struct weights *w)
{
    return w->made != MADE_TENSOR || dtype_bits((enum dtype)w->tensor[0].dtype) > 32;
}

/* What is held whole: factors, decoded or reduced. */
static double factor_bytes(const struct weights *w)
{
    double l = short_side(&w->tensor[0]), r = short_side(&w->tensor[1]), n = fmax(l, r);

    return weights_are_product(w) ? 8 * (l * l + r * r + 4 * n * n) + BLOCK_BYTES +
                                        (w->sparse ? 8 * elements(&w->tensor[1]) : 0)
                                  : 8 * (elements(&w->tensor[0]) + elements(&w->tensor[1]));
}

double weights_bytes(const struct weights *w)
{
    double bytes = 0, block = 8.0 * (double)w->rows * (double)w->cols;

    for (size_t i = 0; i < w->n; i++)
        if (file_matrix_loads(&w->tensor[i]) &&
            !(weights_are_product(w) && weights_turned(&w->tensor[i])))
            bytes += (double)w->tensor[i].nbytes;
    if (weights_are_product(w) || w->made == MADE_MERGED)
        bytes += factor_bytes(w);
    if (w->made == MADE_DELTA || w->made == MADE_MERGED) /* both, and room to turn one over */
        bytes += 3 * (block < BLOCK_BYTES ? block : BLOCK_BYTES);
    return bytes;
}
