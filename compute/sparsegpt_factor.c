/* sparsegpt_factor.c: see sparsegpt.h.
 *
 * H = V V^T with V upper is L L^T of the flipped matrix, element (i, j) at (n - 1 - i, n - 1 - j).
 * A packed triangle is that lower triangle in LAPACK's rectangular full packed format ('N', 'L'; W.
 * Gustavson et al., ACM TOMS 37, 2010): half the memory of a square matrix at its speed.
 */
#include "compute/sparsegpt.h"

#include "compute/lapack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double ladder[] = {0.03, 0.1, 0.3};

size_t sparsegpt_packed(size_t n)
{
    return n % 2 ? (n + 1) / 2 * n : n / 2 * (n + 1);
}

size_t sparsegpt_place(size_t n, size_t i, size_t j)
{
    size_t row = n - 1 - i, col = n - 1 - j, odd = n % 2, half = (n + 1) / 2, ld = n + 1 - odd;

    return col < half ? row + 1 - odd + col * ld : col - half + (row - half + odd) * ld;
}

/* H without damping. The diagonal of an input that was always zero becomes the least of the others.
 */
static int prepare(double *h, size_t n, double scale, struct sparsegpt_factor_info *info,
                   double *mean, struct err *err)
{
    double least = INFINITY;

    *mean = 0;
    info->n_dead = 0;
    for (size_t i = 0; i < sparsegpt_packed(n); i++)
        h[i] *= scale;
    for (size_t i = 0; i < n; i++) {
        double d = h[sparsegpt_place(n, i, i)];

        if (d < 0)
            return err_set(err, ERR_INVALID, "diagonal element %zu of the Gram matrix is negative",
                           i);
        if (d > 0 && d < least)
            least = d;
        info->n_dead += !(d > 0);
        *mean += d / (double)n;
    }
    if (info->n_dead == n)
        return err_set(err, ERR_INVALID, "the inputs were always zero");
    for (size_t i = 0; info->n_dead > 0 && i < n; i++) {
        double *d = &h[sparsegpt_place(n, i, i)];

        if (!(*d > 0))
            *d = least;
    }
    return 0;
}

/* U, or ERR_NUMERIC. */
static int factor(double *h, size_t n, double shift, struct err *err)
{
    lapack_int size = lapack_size(n), info;

    for (size_t i = 0; i < n; i++)
        h[sparsegpt_place(n, i, i)] += shift;
    info = LAPACKE_dpftrf_work(LAPACK_COL_MAJOR, 'N', 'L', size, h);
    if (info == 0)
        info = LAPACKE_dtftri_work(LAPACK_COL_MAJOR, 'N', 'L', 'N', size, h);
    return info == 0 ? 0 : err_set(err, ERR_NUMERIC, "the Gram matrix is not positive definite");
}

/* Doubles to floats in the same place; the rest is given back. */
static float *compact(double *h, size_t count)
{
    char *bytes = (char *)h;
    void *half;

    for (size_t i = 0; i < count; i++) {
        double d;
        float f;

        memcpy(&d, bytes + i * sizeof d, sizeof d);
        f = (float)d;
        memcpy(bytes + i * sizeof f, &f, sizeof f);
    }
    half = realloc(h, count * sizeof(float));
    return half ? half : (void *)bytes;
}

int sparsegpt_factor(size_t n, sparsegpt_read *gram, void *arg, double scale, double damping,
                     float **u, struct sparsegpt_factor_info *out, struct err *err)
{
    size_t count = sparsegpt_packed(n);
    AUTO(freep) double *h = malloc(count * sizeof *h);
    int r = ERR_NUMERIC;

    if (!h)
        return err_set(err, ERR_NOMEM, "no memory for %.0f bytes", (double)count * sizeof *h);
    for (size_t rung = 0; r == ERR_NUMERIC && rung <= ARRAY_LEN(ladder); rung++) {
        double mean = 0;

        if (rung > 0 && ladder[rung - 1] <= damping)
            continue;
        r = gram(arg, h, err);
        if (r == 0)
            r = prepare(h, n, scale, out, &mean, err);
        if (r < 0)
            return r;
        out->damping = rung ? ladder[rung - 1] : damping;
        out->shift = out->damping * mean;
        r = factor(h, n, out->shift, err);
    }
    if (r < 0)
        return r;
    *u = compact(TAKE(h), count);
    return 0;
}
