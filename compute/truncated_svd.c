/* truncated_svd.c: projection of lines on a few eigenvectors, or off them.
 *
 * Which half of the eigenvectors is computed follows from their number alone. A space of
 * neighbouring eigenvectors is found to about 1e-15 lambda_max / gap; where the gap at k is small,
 * what is kept and what is dropped are nearly the same size, and `change` hardly depends on it.
 */
#include "compute/truncated_svd.h"

#include "compute/gram_vectors.h"
#include "compute/lapack.h"
#include "compute/lines.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct truncated_svd {
    const struct matrix_source *src;
    struct gram_vectors g; /* count may be 0: then there is nothing to project on */
    bool subtract;         /* the result is the line minus its projection, else the projection */
};

void truncated_svd_free(struct truncated_svd *t)
{
    if (t)
        gram_vectors_free(&t->g);
    free(t);
}

DEFINE_AUTO(struct truncated_svd, truncated_svd_free)

/* Which eigenpairs, ascending, and how they are used. */
struct choice {
    size_t first, count;
    bool subtract;
};

static struct choice choose(size_t n, enum truncation how, size_t k)
{
    bool top = k <= n / 2; /* the k largest are fewer than the others */
    bool keep = how == TRUNCATE_KEEP;

    return (struct choice){
        .first = top ? n - k : 0, .count = top ? k : n - k, .subtract = keep ? !top : top};
}

static double sum_of(const double *x, size_t n)
{
    double s = 0;

    for (size_t i = 0; i < n; i++)
        s += x[i];
    return s;
}

static void fill_info(const struct truncated_svd *t, size_t kept, struct truncated_info *info)
{
    double n = (double)t->g.n, part = sum_of(t->g.lambda, t->g.count);
    double square = t->subtract ? part : t->g.trace - part;
    double doubt = fmax(16, 4 * sqrt(n)) * DBL_EPSILON * t->g.trace;

    info->kept = kept;
    info->norm = sqrt(t->g.trace);
    info->change = square > 0 ? sqrt(square) : 0;
    info->change_bound = doubt > 0 ? doubt / fmax(info->change, sqrt(doubt)) : 0;
}

/* All or nothing is kept: only the norm is wanted, and the check that elements are finite. */
static int no_vectors(struct truncated_svd *t, struct err *err)
{
    AUTO(gram_vectors_free) struct gram_vectors one = {0};
    int r = gram_vectors(t->src, t->src->n_short - 1, 1, &one, err);

    if (r == 0) {
        t->g.n = one.n;
        t->g.trace = one.trace;
    }
    return r;
}

int truncated_svd_new(const struct matrix_source *src, enum truncation how, size_t k,
                      struct truncated_svd **out, struct truncated_info *info, struct err *err)
{
    AUTO(truncated_svd_freep) struct truncated_svd *t = NULL;
    size_t n = src->n_short;
    struct choice c;
    int r;

    if (k == 0 || k > n)
        return err_set(err, ERR_INVALID, "%zu of %zu singular values", k, n);
    t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, ERR_NOMEM, "out of memory");
    c = choose(n, how, k);
    t->src = src;
    t->subtract = c.subtract;
    r = c.count > 0 ? gram_vectors(src, c.first, c.count, &t->g, err) : no_vectors(t, err);
    if (r < 0)
        return r;
    fill_info(t, how == TRUNCATE_KEEP ? k : n - k, info);
    *out = TAKE(t);
    return 0;
}

/* lines (n x count, column-major) become V V' lines, or lines - V V' lines. */
static void project(const struct truncated_svd *t, size_t count, double *lines, double *weights)
{
    lapack_int n = lapack_size(t->g.n), c = lapack_size(t->g.count), k = lapack_size(count);

    if (t->g.count == 0) {
        if (!t->subtract)
            memset(lines, 0, t->g.n * count * sizeof *lines);
        return;
    }
    cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, c, k, n, 1, t->g.v, n, lines, n, 0,
                weights, c);
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, n, k, c, t->subtract ? -1 : 1, t->g.v, n,
                weights, c, t->subtract, lines, n);
}

static int read_truncated(void *arg, size_t first, size_t count, enum precision p, void *out,
                          uint64_t *n_nonfinite, struct err *err)
{
    const struct truncated_svd *t = arg;
    size_t n = t->g.n;
    AUTO(freep) double *lines = malloc(count * n * sizeof *lines);
    AUTO(freep) double *scratch = malloc(count * n * sizeof *scratch); /* c <= n */
    int r;

    if (!lines || !scratch)
        return err_set(err, ERR_NOMEM, "no memory for %zu lines of a matrix", count);
    r = lines_read(t->src, first, count, lines, scratch, n_nonfinite, err);
    if (r < 0)
        return r;
    project(t, count, lines, scratch);
    lines_store(lines, count, n, BLOCK_LINES_CONTIGUOUS, p, out);
    return 0;
}

struct matrix_source truncated_svd_source(struct truncated_svd *t)
{
    return (struct matrix_source){.n_long = t->src->n_long,
                                  .n_short = t->src->n_short,
                                  .order = BLOCK_LINES_CONTIGUOUS,
                                  .read = read_truncated,
                                  .arg = t};
}
