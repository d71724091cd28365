/* matrix_distance.c: sums over blocks of lines.
 *
 * CKA where lines are rows: A'B = sum over blocks, n x n, and so are A'A and B'B. Where lines are
 * columns, A'B is long x long, but its norm needs only the short Gram matrices:
 * |A'B|^2 = tr(B'A A'B) = <A A', B B'>.
 */
#include "compute/matrix_distance.h"

#include "compute/lapack.h"
#include "compute/lines.h"
#include "compute/spectrum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Two matrices and room for a block of lines of each. */
struct pair {
    const struct matrix_source *a, *b;
    size_t n, step;
    double *block; /* step x n of a, of b, scratch */
};

/* Lines of a (0) or b (1). */
static int read_lines(const struct pair *p, int which, size_t first, size_t count, double **out,
                      struct err *err)
{
    double *scratch = p->block + 2 * p->step * p->n;
    uint64_t n_nonfinite = 0;
    int r;

    *out = p->block + (size_t)which * p->step * p->n;
    r = lines_read(which ? p->b : p->a, first, count, *out, scratch, &n_nonfinite, err);
    if (r == 0 && n_nonfinite > 0)
        return err_set(err, ERR_NUMERIC, "%llu elements are not finite",
                       (unsigned long long)n_nonfinite);
    return r;
}

static int read_pair(const struct pair *p, size_t first, size_t count, double **a, double **b,
                     struct err *err)
{
    int r = read_lines(p, 0, first, count, a, err);

    *b = NULL;
    return r == 0 ? read_lines(p, 1, first, count, b, err) : r;
}

static int elementwise(const struct pair *p, struct matrix_distance *d, struct err *err)
{
    double aa = 0, bb = 0, ab = 0, dd = 0;

    for (size_t i = 0; i < p->a->n_long; i += p->step) {
        size_t k = p->a->n_long - i < p->step ? p->a->n_long - i : p->step;
        double *a, *b, s[4] = {0};
        int r = read_pair(p, i, k, &a, &b, err);

        if (r < 0)
            return r;
        for (size_t j = 0; j < k * p->n; j++) {
            s[0] += a[j] * a[j];
            s[1] += b[j] * b[j];
            s[2] += a[j] * b[j];
            s[3] += (a[j] - b[j]) * (a[j] - b[j]);
        }
        aa += s[0];
        bb += s[1];
        ab += s[2];
        dd += s[3];
    }
    *d = (struct matrix_distance){.euclidean = sqrt(dd),
                                  .norm_a = sqrt(aa),
                                  .norm_b = sqrt(bb),
                                  .relative = aa > 0 ? sqrt(dd / aa) : NAN,
                                  .cosine = aa > 0 && bb > 0 ? ab / sqrt(aa) / sqrt(bb) : NAN,
                                  .cka = NAN};
    return 0;
}

/* g (n x n) = sum over lines of x y', x and y from a (0) or b (1). Where both are the same: its
 * upper triangle, zeros below. */
static int gram(const struct pair *p, int x, int y, double *g, struct err *err)
{
    lapack_int n = lapack_size(p->n);

    memset(g, 0, p->n * p->n * sizeof *g);
    for (size_t i = 0; i < p->a->n_long; i += p->step) {
        size_t k = p->a->n_long - i < p->step ? p->a->n_long - i : p->step;
        double *line[2] = {NULL, NULL};
        int r = x == y ? read_lines(p, x, i, k, &line[x], err)
                       : read_pair(p, i, k, &line[0], &line[1], err);

        if (r < 0)
            return r;
        if (x == y)
            cblas_dsyrk(CblasColMajor, CblasUpper, CblasNoTrans, n, lapack_size(k), 1, line[x], n,
                        1, g, n);
        else
            cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, n, n, lapack_size(k), 1, line[x],
                        n, line[y], n, 1, g, n);
    }
    return 0;
}

static double inner(const double *x, const double *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) /* a column at a time */
        sum += cblas_ddot(lapack_size(n), x + i * n, 1, y + i * n, 1);
    return sum;
}

/* The same of symmetric matrices, from their upper triangles. */
static double inner_symmetric(const double *x, const double *y, size_t n)
{
    double above = 0, diagonal = 0;

    for (size_t i = 0; i < n; i++) {
        above += cblas_ddot(lapack_size(i), x + i * n, 1, y + i * n, 1);
        diagonal += x[i * n + i] * y[i * n + i];
    }
    return 2 * above + diagonal;
}

static int cka_rows(const struct pair *p, double *g, double *out, struct err *err)
{
    double square[3];

    for (int i = 0; i < 3; i++) { /* A'A, B'B, A'B */
        int r = gram(p, i == 1, i > 0, g, err);

        if (r < 0)
            return r;
        square[i] = i < 2 ? inner_symmetric(g, g, p->n) : inner(g, g, p->n);
    }
    *out =
        square[0] > 0 && square[1] > 0 ? sqrt(square[2] / sqrt(square[0]) / sqrt(square[1])) : NAN;
    return 0;
}

static int cka_columns(const struct pair *p, double *g, double *out, struct err *err)
{
    double *h = g + p->n * p->n, gg, hh;
    int r = gram(p, 0, 0, g, err);

    if (r == 0)
        r = gram(p, 1, 1, h, err);
    if (r < 0)
        return r;
    gg = inner_symmetric(g, g, p->n);
    hh = inner_symmetric(h, h, p->n);
    *out = gg > 0 && hh > 0 ? sqrt(inner_symmetric(g, h, p->n) / sqrt(gg) / sqrt(hh)) : NAN;
    return 0;
}

static int cka(const struct pair *p, bool lines_are_rows, double *out, struct err *err)
{
    AUTO(freep) double *g = NULL;

    if (p->n > SPECTRUM_N_MAX)
        return err_set(err, ERR_LIMIT, "the short side has %zu elements, the limit is %d", p->n,
                       SPECTRUM_N_MAX);
    g = malloc((lines_are_rows ? 1 : 2) * p->n * p->n * sizeof *g);
    if (!g)
        return err_set(err, ERR_NOMEM, "no memory for a matrix of order %zu", p->n);
    return lines_are_rows ? cka_rows(p, g, out, err) : cka_columns(p, g, out, err);
}

int matrix_distance(const struct matrix_source *a, const struct matrix_source *b,
                    bool lines_are_rows, bool with_cka, struct matrix_distance *out,
                    struct err *err)
{
    struct pair p = {.a = a, .b = b, .n = a->n_short, .step = lines_at_once(a->n_short)};
    AUTO(freep) double *block = NULL;
    struct matrix_distance d;
    int r;

    if (a->n_long != b->n_long || a->n_short != b->n_short)
        return err_set(err, ERR_INVALID, "matrices of %zu x %zu and %zu x %zu", a->n_long,
                       a->n_short, b->n_long, b->n_short);
    block = malloc(3 * p.step * p.n * sizeof *block);
    if (!block)
        return err_set(err, ERR_NOMEM, "no memory for lines of a matrix");
    p.block = block;
    r = elementwise(&p, &d, err);
    if (r == 0 && with_cka)
        r = cka(&p, lines_are_rows, &d.cka, err);
    if (r == 0)
        *out = d;
    return r;
}
