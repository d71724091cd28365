/* product.c: the spectrum of L R', from a small matrix with the same singular values.
 *
 * With L = Q_l R_l where the shared dimension K is the short side of L, L R' = Q_l (R_l R'): Q_l
 * has no say in the singular values, and R_l is K x K. The same on the right. A factor whose long
 * side is shared has few enough rows as it is; it is read once, block by block.
 */
#include "compute/lapack.h"
#include "compute/lines.h"
#include "compute/low_rank.h"
#include "compute/random.h"
#include "compute/tsqr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t shared_size(const struct product_factor *f)
{
    return f->shared_in_line ? f->src->n_short : f->src->n_long;
}

size_t product_count(const struct product_factor *left, const struct product_factor *right)
{
    size_t l = left->src->n_short, r = right->src->n_short;

    if (shared_size(left) != shared_size(right))
        return 0;
    return l < r ? l : r;
}

size_t product_max(const struct product_factor *left, const struct product_factor *right)
{
    size_t l = left->src->n_short, r = right->src->n_short;

    return l > r ? l : r;
}

/* --- factors --------------------------------------------------------------------------------- */

/* Frobenius norm, and that all is finite. */
static int norm_of(const struct matrix_source *src, double *norm, struct err *err)
{
    size_t step = lines_at_once(src->n_short);
    AUTO(freep) double *block = malloc(step * src->n_short * sizeof *block);
    uint64_t n_nonfinite = 0;
    double sum = 0;

    if (!block)
        return err_set(err, ERR_NOMEM, "no memory for lines of a matrix");
    for (size_t i = 0; i < src->n_long; i += step) {
        size_t k = src->n_long - i < step ? src->n_long - i : step;
        int r = src->read(src->arg, i, k, PRECISION_DOUBLE, block, &n_nonfinite, err);

        if (r < 0)
            return r;
        sum += cblas_ddot(lapack_size(k * src->n_short), block, 1, block, 1);
    }
    if (n_nonfinite > 0 || !isfinite(sum))
        return err_set(err, ERR_NUMERIC, "elements, or their squares, are not finite");
    *norm = sqrt(sum);
    return 0;
}

/* One factor, ready to be multiplied: p x K, either in memory (R, p = K) or read by lines, line k
 * being column k. */
struct ready {
    const struct matrix_source *src;
    size_t p, shared;
    double *r;     /* p x K, column-major, or NULL */
    double *block; /* `step` columns */
    double *scratch;
};

static void ready_free(struct ready *f)
{
    free(f->r);
    free(f->block);
    free(f->scratch);
}

static int make_ready(const struct product_factor *f, size_t step, struct ready *out,
                      struct err *err)
{
    size_t n = f->src->n_short;

    *out = (struct ready){.src = f->src, .p = n, .shared = shared_size(f)};
    if (f->shared_in_line) {
        out->r = malloc(n * n * sizeof *out->r);
        return out->r ? tsqr_factor(f->src, lines_at_once(n), out->r, err)
                      : err_set(err, ERR_NOMEM, "no memory for a matrix of order %zu", n);
    }
    out->block = malloc(step * n * sizeof *out->block);
    out->scratch = malloc(step * n * sizeof *out->scratch);
    if (!out->block || !out->scratch)
        return err_set(err, ERR_NOMEM, "no memory for lines of a matrix");
    return 0;
}

/* Columns [first, first + count) of the factor: p x count with leading dimension p. */
static int columns_of(struct ready *f, size_t first, size_t count, const double **out,
                      struct err *err)
{
    uint64_t n_nonfinite = 0;

    if (f->r) {
        *out = f->r + first * f->p;
        return 0;
    }
    *out = f->block;
    return lines_read(f->src, first, count, f->block, f->scratch, &n_nonfinite, err);
}

/* x (left.p x right.p, column-major) = left right'. */
static int multiply(struct ready *left, struct ready *right, size_t step, double *x,
                    struct err *err)
{
    for (size_t i = 0; i < left->shared; i += step) {
        size_t k = left->shared - i < step ? left->shared - i : step;
        const double *a = NULL, *b = NULL;
        int r = columns_of(left, i, k, &a, err);

        if (r == 0)
            r = columns_of(right, i, k, &b, err);
        if (r < 0)
            return r;
        cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, lapack_size(left->p),
                    lapack_size(right->p), lapack_size(k), 1, a, lapack_size(left->p), b,
                    lapack_size(right->p), i > 0, x, lapack_size(left->p));
    }
    return 0;
}

/* --- with zeros and ones between ------------------------------------------------------------- */

/* All of a factor: p x K. */
static int whole_of(struct ready *f, size_t step, double *out, struct err *err)
{
    for (size_t i = 0; i < f->shared; i += step) {
        size_t k = f->shared - i < step ? f->shared - i : step;
        const double *columns = NULL;
        int r = columns_of(f, i, k, &columns, err);

        if (r < 0)
            return r;
        memcpy(out + i * f->p, columns, k * f->p * sizeof *out);
    }
    return 0;
}

/* Rows [first, first + count) of S, each from its own stream, as columns of `out` (n x count).
 * Returns the number of ones. */
static double fill_sparse(uint64_t seed, size_t first, size_t count, size_t n, double *out)
{
    double ones = 0;

    for (size_t i = 0; i < count; i++) {
        struct random r;
        uint64_t bits = 0;

        random_init(&r, seed, first + i);
        for (size_t j = 0; j < n; j++) {
            bits = j % 64 == 0 ? random_u64(&r) : bits >> 1;
            out[i * n + j] = (double)(bits & 1);
            ones += out[i * n + j];
        }
    }
    return ones;
}

/* x = left S right', *ones = sum of S. */
static int multiply_sparse(struct ready *left, struct ready *right, size_t step, uint64_t seed,
                           double *x, double *ones, struct err *err)
{
    size_t n = left->shared;
    AUTO(freep) double *whole = malloc(n * right->p * sizeof *whole);
    AUTO(freep) double *s = malloc(n * step * sizeof *s);
    AUTO(freep) double *y = malloc(right->p * step * sizeof *y); /* right S', a block */
    int r;

    if (!whole || !s || !y)
        return err_set(err, ERR_NOMEM, "no memory for a factor of %zu x %zu", n, right->p);
    r = whole_of(right, step, whole, err);
    for (size_t i = 0; r == 0 && i < n; i += step) {
        size_t k = n - i < step ? n - i : step;
        const double *a = NULL;

        *ones += fill_sparse(seed, i, k, n, s);
        r = columns_of(left, i, k, &a, err);
        if (r < 0)
            return r;
        cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, lapack_size(right->p),
                    lapack_size(k), lapack_size(n), 1, whole, lapack_size(right->p), s,
                    lapack_size(n), 0, y, lapack_size(right->p));
        cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, lapack_size(left->p),
                    lapack_size(right->p), lapack_size(k), 1, a, lapack_size(left->p), y,
                    lapack_size(right->p), i > 0, x, lapack_size(left->p));
    }
    return r;
}

/* --- the small matrix ------------------------------------------------------------------------ */

struct small {
    const double *x; /* rows x cols, column-major */
    size_t rows, cols;
};

static int read_small(void *arg, size_t first, size_t count, enum precision p, void *out,
                      uint64_t *n_nonfinite, struct err *err)
{
    const struct small *s = arg;
    bool wide = s->cols >= s->rows; /* lines are columns */
    size_t n = wide ? s->rows : s->cols;

    (void)err;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < n; j++) {
            double v = wide ? s->x[(first + i) * s->rows + j] : s->x[j * s->rows + first + i];
            size_t at = wide ? i * n + j : j * count + i;

            *n_nonfinite += isfinite(v) ? 0 : 1;
            if (p == PRECISION_SINGLE)
                ((float *)out)[at] = (float)v;
            else
                ((double *)out)[at] = v;
        }
    return 0;
}

static int solve(struct small *s, double factor, double *lambda, struct product_info *info,
                 struct err *err)
{
    bool wide = s->cols >= s->rows;
    struct matrix_source src = {.n_long = wide ? s->cols : s->rows,
                                .n_short = wide ? s->rows : s->cols,
                                .order = wide ? BLOCK_LINES_CONTIGUOUS : BLOCK_LINES_STRIDED,
                                .read = read_small,
                                .arg = s};
    struct spectrum_options opt = {.precision = PRECISION_DOUBLE};
    int r = spectrum_compute(&src, &opt, lambda, &info->spectrum, err);

    if (r < 0)
        return r;
    if (info->spectrum.n_nonfinite > 0)
        return err_set(err, ERR_NUMERIC, "elements of the product are not finite");
    for (size_t i = 0; i < src.n_short; i++)
        lambda[i] *= factor * factor;
    info->spectrum.error_bound *= factor * factor;
    return 0;
}

static int product_of(const struct product_factor *left, const struct product_factor *right,
                      const struct product_options *opt, double *lambda, struct product_info *info,
                      struct err *err)
{
    double norms = info->norm_left * info->norm_right, ones = 0;
    AUTO(ready_free) struct ready l = {0};
    AUTO(ready_free) struct ready r = {0};
    AUTO(freep) double *x = NULL;
    size_t step = lines_at_once(product_max(left, right));
    int rc = make_ready(left, step, &l, err);

    if (rc == 0)
        rc = make_ready(right, step, &r, err);
    if (rc < 0)
        return rc;
    x = malloc(l.p * r.p * sizeof *x);
    if (!x)
        return err_set(err, ERR_NOMEM, "no memory for a product of %zu x %zu", l.p, r.p);
    rc = opt->sparsify ? multiply_sparse(&l, &r, step, opt->seed, x, &ones, err)
                       : multiply(&l, &r, step, x, err);
    if (rc < 0)
        return rc;
    if (opt->sparsify) /* |S|_F = sqrt(ones) */
        norms += sqrt(sqrt(ones));
    else if (!opt->normalise)
        norms = 1;
    return solve(&(struct small){x, l.p, r.p}, opt->scale / norms, lambda, info, err);
}

int product_spectrum(const struct product_factor *left, const struct product_factor *right,
                     const struct product_options *opt, double *lambda, struct product_info *info,
                     struct err *err)
{
    struct product_info i = {0};
    int r;

    if (product_count(left, right) == 0 || !isfinite(opt->scale))
        return err_set(err, ERR_INVALID, "factors that share %zu and %zu dimensions",
                       shared_size(left), shared_size(right));
    if (product_max(left, right) > SPECTRUM_N_MAX)
        return err_set(err, ERR_LIMIT, "a product of %zu rows or columns, the limit is %d",
                       product_max(left, right), SPECTRUM_N_MAX);
    r = norm_of(left->src, &i.norm_left, err);
    if (r == 0)
        r = norm_of(right->src, &i.norm_right, err);
    if (r < 0)
        return r;
    if ((opt->normalise || opt->sparsify) && !(i.norm_left > 0 && i.norm_right > 0))
        return err_set(err, ERR_NUMERIC, "a factor is zero");
    r = product_of(left, right, opt, lambda, &i, err);
    if (r == 0)
        *info = i;
    return r;
}
