/* low_rank.c: sources that add or subtract as they read. */
#include "compute/low_rank.h"

#include "compute/lapack.h"
#include "compute/lines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Lines of the base, or zeros. */
static int base_lines(const struct low_rank_sum *s, size_t n_short, size_t first, size_t count,
                      double *out, double *scratch, uint64_t *n_nonfinite, struct err *err)
{
    if (s->base)
        return lines_read(s->base, first, count, out, scratch, n_nonfinite, err);
    memset(out, 0, count * n_short * sizeof *out);
    return 0;
}

/* lines += scale B A there. In column-major terms `lines` is n_short x count: A' B_block' when
 * lines are rows, B A_block when they are columns. */
static void add_product(const struct low_rank_sum *s, size_t first, size_t count, double *lines)
{
    lapack_int rows = lapack_size(s->rows), cols = lapack_size(s->cols),
               rank = lapack_size(s->rank), k = lapack_size(count);

    if (s->rows >= s->cols)
        cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, cols, k, rank, s->scale, s->a, cols,
                    s->b + first * s->rank, rank, 1, lines, cols);
    else
        cblas_dgemm(CblasColMajor, CblasTrans, CblasTrans, rows, k, rank, s->scale, s->b, rank,
                    s->a + first, cols, 1, lines, rows);
}

static uint64_t count_nonfinite(const double *x, size_t n)
{
    uint64_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += isfinite(x[i]) ? 0 : 1;
    return count;
}

static int read_sum(void *arg, size_t first, size_t count, enum precision p, void *out,
                    uint64_t *n_nonfinite, struct err *err)
{
    const struct low_rank_sum *s = arg;
    size_t n = s->rows < s->cols ? s->rows : s->cols;
    AUTO(freep) double *lines = malloc(count * n * sizeof *lines);
    AUTO(freep) double *scratch = malloc(count * n * sizeof *scratch);
    uint64_t ignored = 0; /* what the base has is in the sum, too */
    int r;

    if (!lines || !scratch)
        return err_set(err, ERR_NOMEM, "no memory for %zu lines of a matrix", count);
    r = base_lines(s, n, first, count, lines, scratch, &ignored, err);
    if (r < 0)
        return r;
    add_product(s, first, count, lines);
    *n_nonfinite += count_nonfinite(lines, count * n);
    lines_store(lines, count, n, BLOCK_LINES_CONTIGUOUS, p, out);
    return 0;
}

int low_rank_source(struct low_rank_sum *sum, struct matrix_source *out, struct err *err)
{
    bool tall = sum->rows >= sum->cols;
    size_t n_long = tall ? sum->rows : sum->cols, n_short = tall ? sum->cols : sum->rows;

    if (n_short == 0 || sum->rank == 0 || n_short > INT32_MAX || n_long > INT32_MAX ||
        sum->rank > INT32_MAX)
        return err_set(err, ERR_INVALID, "a product of rank %zu, %zu x %zu", sum->rank, sum->rows,
                       sum->cols);
    if (sum->base && (sum->base->n_long != n_long || sum->base->n_short != n_short))
        return err_set(err, ERR_INVALID, "the base is %zu x %zu, the product %zu x %zu",
                       sum->base->n_long, sum->base->n_short, n_long, n_short);
    *out = (struct matrix_source){.n_long = n_long,
                                  .n_short = n_short,
                                  .order = BLOCK_LINES_CONTIGUOUS,
                                  .read = read_sum,
                                  .arg = sum};
    return 0;
}

static int read_difference(void *arg, size_t first, size_t count, enum precision p, void *out,
                           uint64_t *n_nonfinite, struct err *err)
{
    const struct matrix_difference *d = arg;
    size_t n = d->w->n_short, size = count * n;
    AUTO(freep) double *block = malloc(3 * size * sizeof *block);
    double *base = block + size, *scratch = block + 2 * size;
    uint64_t ignored = 0; /* what is not finite leaves a difference that is not */
    int r;

    if (!block)
        return err_set(err, ERR_NOMEM, "no memory for %zu lines of a matrix", count);
    r = lines_read(d->w, first, count, block, scratch, &ignored, err);
    if (r == 0)
        r = lines_read(d->base, first, count, base, scratch, &ignored, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < size; i++)
        block[i] -= base[i];
    *n_nonfinite += count_nonfinite(block, size);
    lines_store(block, count, n, BLOCK_LINES_CONTIGUOUS, p, out);
    return 0;
}

int difference_source(struct matrix_difference *d, struct matrix_source *out, struct err *err)
{
    if (d->w->n_long != d->base->n_long || d->w->n_short != d->base->n_short)
        return err_set(err, ERR_INVALID, "a matrix of %zu x %zu and a base of %zu x %zu",
                       d->w->n_long, d->w->n_short, d->base->n_long, d->base->n_short);
    *out = (struct matrix_source){.n_long = d->w->n_long,
                                  .n_short = d->w->n_short,
                                  .order = BLOCK_LINES_CONTIGUOUS,
                                  .read = read_difference,
                                  .arg = d};
    return 0;
}
