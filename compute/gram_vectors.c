/* gram_vectors.c: dsyevr on the Gram matrix. */
#include "compute/gram_vectors.h"

#include "compute/lapack.h"
#include "compute/spectrum.h"

#include <math.h>
#include <stdlib.h>

#define BLOCK_BYTES (16 << 20)

void gram_vectors_free(struct gram_vectors *g)
{
    free(g->lambda);
    free(g->v);
    *g = (struct gram_vectors){0};
}

double gram_vectors_bytes(size_t n_short, size_t count)
{
    double n = (double)n_short;

    return 8 * n * ((double)spectrum_gram_ld(n_short) + (double)count + 64) + 3. * BLOCK_BYTES;
}

static int form_gram(const struct matrix_source *src, double *gram, double *trace, struct err *err)
{
    size_t n = src->n_short, ld = spectrum_gram_ld(n);
    uint64_t n_nonfinite = 0;
    double sum = 0;
    int r = spectrum_gram_part(src, 0, src->n_long, gram, &sum, &n_nonfinite, err);

    if (r < 0)
        return r;
    *trace = 0;
    for (size_t i = 0; i < n; i++)
        *trace += gram[i * ld + i];
    if (n_nonfinite > 0 || !isfinite(*trace))
        return err_set(err, ERR_NUMERIC, "elements, or their squares, are not finite");
    return 0;
}

/* Work sizes of dsyevr: what it asks for. */
static int solve(double *gram, size_t n, struct gram_vectors *g, double *values, struct err *err)
{
    lapack_int ld = lapack_size(spectrum_gram_ld(n)), order = lapack_size(n), found = 0, info;
    lapack_int il = lapack_size(g->first + 1), iu = lapack_size(g->first + g->count), ask = 0;
    char range = g->count == n ? 'A' : 'I';
    double query = 0;
    AUTO(freep) lapack_int *support = malloc(2 * n * sizeof *support);
    AUTO(freep) lapack_int *iwork = malloc(10 * n * sizeof *iwork);
    AUTO(freep) double *work = NULL;

    info = LAPACKE_dsyevr_work(LAPACK_COL_MAJOR, 'V', range, 'L', order, gram, ld, 0, 0, il, iu, 0,
                               &found, values, g->v, order, support, &query, -1, &ask, -1);
    ASSERT(info == 0 && (size_t)ask <= 10 * n);
    work = malloc(((size_t)query + 64) * sizeof *work);
    if (!support || !iwork || !work)
        return err_set(err, ERR_NOMEM, "no memory for eigenvectors of order %zu", n);
    info = LAPACKE_dsyevr_work(LAPACK_COL_MAJOR, 'V', range, 'L', order, gram, ld, 0, 0, il, iu, 0,
                               &found, values, g->v, order, support, work,
                               lapack_size((size_t)query + 64), iwork, lapack_size(10 * n));
    ASSERT(info >= 0);
    if (info > 0 || (size_t)found != g->count)
        return err_set(err, ERR_NUMERIC, "dsyevr found %d of %zu eigenvectors", (int)found,
                       g->count);
    for (size_t i = 0; i < g->count; i++)
        g->lambda[i] = values[i] > 0 ? values[i] : 0;
    return 0;
}

int gram_vectors(const struct matrix_source *src, size_t first, size_t count,
                 struct gram_vectors *out, struct err *err)
{
    size_t n = src->n_short;
    struct gram_vectors g = {.n = n, .first = first, .count = count};
    AUTO(freep) double *gram = NULL, *values = NULL;
    int r;

    if (count == 0 || first >= n || count > n - first)
        return err_set(err, ERR_INVALID, "eigenvectors %zu to %zu of %zu", first, first + count, n);
    if (n > SPECTRUM_N_MAX)
        return err_set(err, ERR_LIMIT, "the short side has %zu elements, the limit is %d", n,
                       SPECTRUM_N_MAX);
    gram = calloc(n * spectrum_gram_ld(n), sizeof *gram);
    values = malloc(n * sizeof *values);
    g.lambda = malloc(count * sizeof *g.lambda);
    g.v = malloc(n * count * sizeof *g.v);
    if (!gram || !values || !g.lambda || !g.v)
        r = err_set(err, ERR_NOMEM, "no memory for eigenvectors of order %zu", n);
    else
        r = form_gram(src, gram, &g.trace, err);
    if (r == 0)
        r = solve(gram, n, &g, values, err);
    if (r < 0) {
        gram_vectors_free(&g);
        return r;
    }
    *out = g;
    return 0;
}
