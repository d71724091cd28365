/* file_matrix.c: see file_matrix.h.
 *
 * Which stored dimension is long decides the order of a block. Rows long: a block of lines is a
 * run of whole rows, contiguous in the file. Columns long: a block is a range of columns, read
 * row by row, and comes out with strided lines, which costs no transposition.
 */
#include "daemon/file_matrix.h"

#include "common/fdio.h"
#include "models/dtype.h"

#include <stdlib.h>

#define SCRATCH_BYTES (1u << 20)

struct file_matrix {
    int fd;
    struct wire_matrix m;
    enum dtype dtype;
    size_t element; /* bytes */
    uint64_t slice;
    uint8_t *bytes; /* the whole tensor when loaded, else scratch */
    bool loaded;
    struct matrix_source source;
};

bool file_matrix_loads(const struct wire_matrix *m)
{
    return m->col_stride != 1 || m->row_stride != m->cols || m->n_slices != 1;
}

static size_t decode(const struct file_matrix *fm, const uint8_t *src, size_t count, size_t stride,
                     enum precision p, void *out, size_t at)
{
    if (p == PRECISION_SINGLE)
        return dtype_decode_f32(fm->dtype, src, count, stride, (float *)out + at);
    return dtype_decode_f64(fm->dtype, src, count, stride, (double *)out + at);
}

/* `count` contiguous elements from element index `first` of the file's matrix. */
static int read_run(struct file_matrix *fm, uint64_t first, size_t count, enum precision p,
                    void *out, size_t at, uint64_t *n_nonfinite, struct err *err)
{
    size_t chunk = SCRATCH_BYTES / fm->element;

    while (count > 0) {
        size_t n = count < chunk ? count : chunk;
        int r = fd_pread_all(fm->fd, fm->bytes, n * fm->element, fm->m.offset + first * fm->element,
                             err);

        if (r < 0)
            return r;
        *n_nonfinite += decode(fm, fm->bytes, n, 1, p, out, at);
        first += n;
        at += n;
        count -= n;
    }
    return 0;
}

static int read_rows(void *arg, size_t first, size_t count, enum precision p, void *out,
                     uint64_t *n_nonfinite, struct err *err)
{
    struct file_matrix *fm = arg;

    return read_run(fm, first * fm->m.cols, count * fm->m.cols, p, out, 0, n_nonfinite, err);
}

static int read_columns(void *arg, size_t first, size_t count, enum precision p, void *out,
                        uint64_t *n_nonfinite, struct err *err)
{
    struct file_matrix *fm = arg;

    for (uint64_t row = 0; row < fm->m.rows; row++) {
        int r =
            read_run(fm, row * fm->m.cols + first, count, p, out, row * count, n_nonfinite, err);

        if (r < 0)
            return r;
    }
    return 0;
}

/* From memory, any strides: lines come out contiguous. */
static int read_loaded(void *arg, size_t first, size_t count, enum precision p, void *out,
                       uint64_t *n_nonfinite, struct err *err)
{
    struct file_matrix *fm = arg;
    const struct wire_matrix *m = &fm->m;
    bool rows_long = m->rows >= m->cols;
    uint64_t line_stride = rows_long ? m->row_stride : m->col_stride;
    uint64_t along = rows_long ? m->col_stride : m->row_stride;
    size_t n_short = fm->source.n_short;

    (void)err;
    for (size_t i = 0; i < count; i++) {
        uint64_t start = fm->slice * m->slice_stride + (first + i) * line_stride;

        *n_nonfinite +=
            decode(fm, fm->bytes + start * fm->element, n_short, along, p, out, i * n_short);
    }
    return 0;
}

static void set_source(struct file_matrix *fm)
{
    const struct wire_matrix *m = &fm->m;
    bool rows_long = m->rows >= m->cols;

    fm->source = (struct matrix_source){.n_long = rows_long ? m->rows : m->cols,
                                        .n_short = rows_long ? m->cols : m->rows,
                                        .order = BLOCK_LINES_CONTIGUOUS,
                                        .read = rows_long ? read_rows : read_columns,
                                        .arg = fm};
    if (fm->loaded)
        fm->source.read = read_loaded;
    else if (!rows_long)
        fm->source.order = BLOCK_LINES_STRIDED;
}

int file_matrix_open(int fd, const struct wire_matrix *m, struct file_matrix **out, struct err *err)
{
    AUTO(file_matrix_freep) struct file_matrix *fm = calloc(1, sizeof *fm);
    size_t nbytes = file_matrix_loads(m) ? m->nbytes : SCRATCH_BYTES;

    if (!fm)
        return err_set(err, ERR_NOMEM, "out of memory");
    fm->fd = fd;
    fm->m = *m;
    fm->dtype = (enum dtype)m->dtype;
    fm->element = dtype_bits(fm->dtype) / 8;
    fm->loaded = file_matrix_loads(m);
    fm->bytes = malloc(nbytes);
    if (!fm->bytes)
        return err_set(err, ERR_NOMEM, "no memory for a tensor of %zu bytes", nbytes);
    if (fm->loaded) {
        int r = fd_pread_all(fd, fm->bytes, nbytes, m->offset, err);

        if (r < 0)
            return r;
    }
    set_source(fm);
    *out = TAKE(fm);
    return 0;
}

void file_matrix_free(struct file_matrix *fm)
{
    if (!fm)
        return;
    free(fm->bytes);
    free(fm);
}

int file_matrix_box(struct file_matrix *fm, const struct matrix_box *box, enum precision p,
                    void *out, uint64_t *n_nonfinite, struct err *err)
{
    const struct wire_matrix *m = &fm->m;

    ASSERT(box->slice < m->n_slices && box->row + box->n_rows <= m->rows &&
           box->col + box->n_cols <= m->cols);
    if (!fm->loaded && box->n_cols == m->cols)
        return read_run(fm, box->row * m->cols, box->n_rows * m->cols, p, out, 0, n_nonfinite, err);
    for (uint64_t i = 0; i < box->n_rows; i++) {
        uint64_t first = box->slice * m->slice_stride + (box->row + i) * m->row_stride +
                         box->col * m->col_stride;
        int r = 0;

        if (fm->loaded)
            *n_nonfinite += decode(fm, fm->bytes + first * fm->element, box->n_cols, m->col_stride,
                                   p, out, i * box->n_cols);
        else
            r = read_run(fm, first, box->n_cols, p, out, i * box->n_cols, n_nonfinite, err);
        if (r < 0)
            return r;
    }
    return 0;
}

const struct matrix_source *file_matrix_slice(struct file_matrix *fm, uint64_t slice)
{
    ASSERT(slice < fm->m.n_slices);
    fm->slice = slice;
    return &fm->source;
}
