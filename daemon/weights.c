/* weights.c: see weights.h. */
#include "daemon/weights.h"

#include "daemon/file_matrix.h"

/* Of one block of lines, as spectrum.h reads them. */
#define BLOCK_BYTES 64e6

static struct wire_matrix own_tensor(const struct layer *l)
{
    return (struct wire_matrix){.dtype = l->dtype,
                                .offset = l->offset,
                                .nbytes = l->nbytes,
                                .rows = l->rows,
                                .cols = l->cols,
                                .n_slices = l->n_slices,
                                .row_stride = l->row_stride,
                                .col_stride = l->col_stride,
                                .slice_stride = l->slice_stride};
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
                            .n = 1 + layer_n_parts(l)};
    out->tensor[0] = own_tensor(l);
    for (size_t i = 1; i < out->n; i++)
        out->tensor[i] = part_tensor(&l->part[i - 1]);
}

void weights_put(struct buf *b, const struct weights *w)
{
    buf_put_u8(b, (uint8_t)w->made);
    for (size_t i = 0; i < w->n; i++)
        wire_put_matrix(b, &w->tensor[i]);
}

static bool same_shape(const struct wire_matrix *a, const struct wire_matrix *b)
{
    return a->rows == b->rows && a->cols == b->cols && a->n_slices == b->n_slices;
}

int weights_get(struct reader *r, struct weights *out, struct err *err)
{
    struct weights w = {.made = (enum layer_made)reader_u8(r)};
    struct layer kind = {.made = w.made};
    int rc = 0;

    if (r->fault || w.made >= MADE_COUNT)
        return err_set(err, ERR_INTERNAL, "a task names no weights");
    w.n = 1 + layer_n_parts(&kind);
    for (size_t i = 0; rc == 0 && i < w.n; i++)
        rc = wire_get_matrix(r, &w.tensor[i], err);
    if (rc < 0)
        return rc;
    if (w.made == MADE_DELTA && !same_shape(&w.tensor[0], &w.tensor[1]))
        return err_set(err, ERR_INTERNAL, "a task's tensors do not fit together");
    w.rows = w.tensor[0].rows;
    w.cols = w.tensor[0].cols;
    w.n_slices = w.tensor[0].n_slices;
    *out = w;
    return 0;
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
    for (size_t i = 0; i < w->n; i++) {
        swap(&w->tensor[i].rows, &w->tensor[i].cols);
        swap(&w->tensor[i].row_stride, &w->tensor[i].col_stride);
    }
}

bool weights_wide(const struct weights *w)
{
    return w->made != MADE_TENSOR || dtype_bits((enum dtype)w->tensor[0].dtype) > 32;
}

double weights_bytes(const struct weights *w)
{
    double bytes = 0, block = 8.0 * (double)w->rows * (double)w->cols;

    for (size_t i = 0; i < w->n; i++)
        if (file_matrix_loads(&w->tensor[i]))
            bytes += (double)w->tensor[i].nbytes;
    if (w->made != MADE_TENSOR) /* both, and room to turn one over */
        bytes += 3 * (block < BLOCK_BYTES ? block : BLOCK_BYTES);
    return bytes;
}
