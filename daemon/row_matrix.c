/* row_matrix.c: see row_matrix.h. */
#include "daemon/row_matrix.h"

#include "compute/low_rank.h"

#include <math.h>
#include <stdlib.h>

struct row_matrix {
    struct weights w;
    struct file_matrix *fm[WEIGHTS_TENSORS_MAX];
    struct matrix_difference delta;
    struct matrix_source source;
};

void row_matrix_free(struct row_matrix *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->w.n; i++)
        file_matrix_free(m->fm[i]);
    free(m);
}

int row_matrix_open(const int *fd, const struct weights *w, struct row_matrix **out,
                    struct err *err)
{
    AUTO(row_matrix_freep) struct row_matrix *m = calloc(1, sizeof *m);
    int r = 0;

    if (!m)
        return err_set(err, ERR_NOMEM, "out of memory");
    m->w = *w;
    for (size_t i = 0; r == 0 && i < w->n; i++)
        r = file_matrix_open(fd[i], &w->tensor[i], &m->fm[i], err);
    if (r == 0 && w->made == MADE_DELTA) {
        m->delta.w = file_matrix_slice(m->fm[0], 0);
        m->delta.base = file_matrix_slice(m->fm[1], 0);
        r = difference_source(&m->delta, &m->source, err);
    }
    if (r == 0)
        *out = TAKE(m);
    return r;
}

const struct matrix_source *row_matrix_slice(struct row_matrix *m, uint64_t slice)
{
    const struct matrix_source *own = file_matrix_slice(m->fm[0], slice);

    if (m->w.made == MADE_TENSOR)
        return own;
    (void)file_matrix_slice(m->fm[1], slice);
    return &m->source;
}

/* --- boxes ----------------------------------------------------------------------------------- */

static void store(const double *x, size_t n, enum precision p, void *out, uint64_t *n_nonfinite)
{
    for (size_t i = 0; i < n; i++) {
        *n_nonfinite += isfinite(x[i]) ? 0 : 1;
        if (p == PRECISION_SINGLE)
            ((float *)out)[i] = (float)x[i];
        else
            ((double *)out)[i] = x[i];
    }
}

static int delta_box(struct row_matrix *m, const struct matrix_box *box, enum precision p,
                     void *out, uint64_t *n_nonfinite, struct err *err)
{
    size_t n = (size_t)(box->n_rows * box->n_cols);
    AUTO(freep) double *x = malloc(2 * n * sizeof *x);
    uint64_t ignored = 0; /* what is not finite leaves a difference that is not */
    int r;

    if (!x)
        return err_set(err, ERR_NOMEM, "no memory for a window");
    r = file_matrix_box(m->fm[0], box, PRECISION_DOUBLE, x, &ignored, err);
    if (r == 0)
        r = file_matrix_box(m->fm[1], box, PRECISION_DOUBLE, x + n, &ignored, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        x[i] -= x[n + i];
    store(x, n, p, out, n_nonfinite);
    return 0;
}

int row_matrix_box(struct row_matrix *m, const struct matrix_box *box, enum precision p, void *out,
                   uint64_t *n_nonfinite, struct err *err)
{
    return m->w.made == MADE_TENSOR ? file_matrix_box(m->fm[0], box, p, out, n_nonfinite, err)
                                    : delta_box(m, box, p, out, n_nonfinite, err);
}
