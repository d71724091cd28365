/* row_matrix.c: see row_matrix.h. */
#include "daemon/row_matrix.h"

#include "compute/low_rank.h"

#include <math.h>
#include <stdlib.h>

/* Of lines that are only looked at. */
#define COUNT_BYTES (1u << 20)

struct row_matrix {
    struct weights w;
    struct file_matrix *fm[WEIGHTS_TENSORS_MAX];
    bool turned[WEIGHTS_TENSORS_MAX]; /* factors of a product, read as they lie */
    struct matrix_difference delta;
    struct low_rank_sum sum;
    double *left, *right; /* factors of the sum: rows x inner, inner x cols */
    struct matrix_source source;
};

void row_matrix_free(struct row_matrix *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->w.n; i++)
        file_matrix_free(m->fm[i]);
    free(m->left);
    free(m->right);
    free(m);
}

/* A whole tensor, row by row; what is not finite is left to the sum. */
static int load(struct file_matrix *fm, const struct wire_matrix *t, double **out, struct err *err)
{
    struct matrix_box all = {.n_rows = t->rows, .n_cols = t->cols};
    uint64_t ignored = 0;

    *out = malloc((size_t)(t->rows * t->cols) * sizeof **out);
    if (!*out)
        return err_set(err, ERR_NOMEM, "no memory for a factor of %llu x %llu",
                       (unsigned long long)t->rows, (unsigned long long)t->cols);
    return file_matrix_box(fm, &all, PRECISION_DOUBLE, *out, &ignored, err);
}

static int open_sum(struct row_matrix *m, struct err *err)
{
    const struct weights *w = &m->w;
    size_t left = w->transposed, right = !w->transposed;
    int r = load(m->fm[left], &w->tensor[left], &m->left, err);

    if (r == 0)
        r = load(m->fm[right], &w->tensor[right], &m->right, err);
    if (r < 0)
        return r;
    m->sum = (struct low_rank_sum){.base = file_matrix_slice(m->fm[2], 0),
                                   .b = m->left,
                                   .a = m->right,
                                   .rows = (size_t)w->rows,
                                   .cols = (size_t)w->cols,
                                   .rank = (size_t)w->tensor[left].cols,
                                   .scale = w->scale};
    return low_rank_source(&m->sum, &m->source, err);
}

static int open_delta(struct row_matrix *m, struct err *err)
{
    m->delta.w = file_matrix_slice(m->fm[0], 0);
    m->delta.base = file_matrix_slice(m->fm[1], 0);
    return difference_source(&m->delta, &m->source, err);
}

static void turn(struct wire_matrix *t)
{
    uint64_t rows = t->rows;

    t->rows = t->cols;
    t->cols = rows;
    t->row_stride = rows;
    t->col_stride = 1;
}

int row_matrix_open(const int *fd, const struct weights *w, struct row_matrix **out,
                    struct err *err)
{
    AUTO(row_matrix_freep) struct row_matrix *m = calloc(1, sizeof *m);
    int r = 0;

    if (!m)
        return err_set(err, ERR_NOMEM, "out of memory");
    m->w = *w;
    for (size_t i = 0; i < w->n && weights_are_product(w); i++) {
        m->turned[i] = weights_turned(&w->tensor[i]);
        if (m->turned[i])
            turn(&m->w.tensor[i]);
    }
    for (size_t i = 0; r == 0 && i < w->n; i++)
        r = file_matrix_open(fd[i], &m->w.tensor[i], &m->fm[i], err);
    if (r == 0 && w->made == MADE_DELTA)
        r = open_delta(m, err);
    if (r == 0 && w->made == MADE_MERGED)
        r = open_sum(m, err);
    if (r == 0)
        *out = TAKE(m);
    return r;
}

const struct matrix_source *row_matrix_slice(struct row_matrix *m, uint64_t slice)
{
    const struct matrix_source *own = file_matrix_slice(m->fm[0], slice);

    ASSERT(!weights_are_product(&m->w));
    if (m->w.made == MADE_TENSOR)
        return own;
    (void)file_matrix_slice(m->fm[1], slice);
    return &m->source;
}

/* --- products -------------------------------------------------------------------------------- */

static int count_nonfinite(const struct matrix_source *src, uint64_t *n_nonfinite, struct err *err)
{
    size_t step = COUNT_BYTES / sizeof(double) / src->n_short + 1;
    AUTO(freep) double *lines = malloc(step * src->n_short * sizeof *lines);
    int r = 0;

    if (!lines)
        return err_set(err, ERR_NOMEM, "no memory for lines of a matrix");
    for (size_t i = 0; r == 0 && i < src->n_long; i += step)
        r = src->read(src->arg, i, src->n_long - i < step ? src->n_long - i : step,
                      PRECISION_DOUBLE, lines, n_nonfinite, err);
    return r;
}

/* Lines of a file's matrix are rows when these are not fewer than its columns. */
static struct product_factor factor_of(struct row_matrix *m, size_t i, bool shares_rows)
{
    const struct wire_matrix *t = &m->w.tensor[i];

    return (struct product_factor){.src = file_matrix_slice(m->fm[i], 0),
                                   .shared_in_line =
                                       (t->rows >= t->cols) != (shares_rows != m->turned[i])};
}

static void take_roots(double *lambda, size_t n, double *bound)
{
    for (size_t i = 0; i < n; i++)
        lambda[i] = sqrt(lambda[i]);
    *bound = sqrt(*bound);
}

int row_matrix_product(struct row_matrix *m, double **lambda, size_t *n, struct spectrum_info *info,
                       struct err *err)
{
    struct product_factor left = factor_of(m, 0, false), right = factor_of(m, 1, true);
    struct product_options opt = {.scale = m->w.scale,
                                  .normalise = m->w.made == MADE_PRODUCT,
                                  .sparsify = m->w.sparse,
                                  .seed = m->w.seed};
    struct product_info p = {0};
    int r = count_nonfinite(left.src, &p.spectrum.n_nonfinite, err);

    ASSERT(weights_are_product(&m->w));
    if (r == 0)
        r = count_nonfinite(right.src, &p.spectrum.n_nonfinite, err);
    if (r < 0)
        return r;
    *n = product_count(&left, &right);
    *lambda = malloc((*n + 1) * sizeof **lambda);
    if (!*lambda)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", *n);
    if (p.spectrum.n_nonfinite == 0)
        r = product_spectrum(&left, &right, &opt, *lambda, &p, err);
    if (m->w.roots && r == 0 && p.spectrum.n_nonfinite == 0)
        take_roots(*lambda, *n, &p.spectrum.error_bound);
    *info = p.spectrum;
    return r;
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

/* left right of these rows and columns, added to what is there. */
static void add_product(const struct low_rank_sum *s, const struct matrix_box *box, double *out)
{
    for (uint64_t i = 0; i < box->n_rows; i++)
        for (size_t k = 0; k < s->rank; k++) {
            double f = s->scale * s->b[(box->row + i) * s->rank + k];
            const double *a = s->a + k * s->cols + box->col;

            for (uint64_t j = 0; j < box->n_cols; j++)
                out[i * box->n_cols + j] += f * a[j];
        }
}

static int sum_box(struct row_matrix *m, const struct matrix_box *box, enum precision p, void *out,
                   uint64_t *n_nonfinite, struct err *err)
{
    size_t n = (size_t)(box->n_rows * box->n_cols);
    AUTO(freep) double *x = malloc(n * sizeof *x);
    uint64_t ignored = 0;
    int r;

    if (!x)
        return err_set(err, ERR_NOMEM, "no memory for a window");
    r = file_matrix_box(m->fm[2], box, PRECISION_DOUBLE, x, &ignored, err);
    if (r < 0)
        return r;
    add_product(&m->sum, box, x);
    store(x, n, p, out, n_nonfinite);
    return 0;
}

int row_matrix_box(struct row_matrix *m, const struct matrix_box *box, enum precision p, void *out,
                   uint64_t *n_nonfinite, struct err *err)
{
    switch (m->w.made) {
    case MADE_DELTA:
        return delta_box(m, box, p, out, n_nonfinite, err);
    case MADE_MERGED:
        return sum_box(m, box, p, out, n_nonfinite, err);
    default:
        return file_matrix_box(m->fm[0], box, p, out, n_nonfinite, err);
    }
}
