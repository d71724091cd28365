/* symmetric.c: chooses the way to tridiagonal form, and scales. */
#include "compute/symmetric.h"

#include "compute/band.h"
#include "compute/full_to_band.h"
#include "compute/lapack.h"

#include <math.h>
#include <stdlib.h>

/* Measured on one core (Skylake-SP, AVX-512), one stage against two: n = 256: 2.7, 3.3 ms;
 * n = 512: 15.2, 15.0 ms; n = 1024: 110, 74 ms. With LAPACK's own two-stage routines: 1024. */
#define TWO_STAGE_MIN 512

/* Scale when the largest entry is not within 2^+-this, so that squares of what matters relative
 * to it stay normal numbers. */
#define EXPONENT_MAX_DOUBLE 300
#define EXPONENT_MAX_SINGLE 10

bool symmetric_two_stage_pays(size_t n)
{
    return n >= TWO_STAGE_MIN;
}

/* A narrow band makes the first stage slow (products with few columns), a wide one the second
 * (6 n^2 width flops in small blocks). */
static size_t band_width(size_t n)
{
    size_t width = n < 3000 ? 32 : 64;

    return n > width ? width : n > 1 ? n - 1 : 1;
}

double symmetric_bytes(size_t n)
{
    size_t width = band_width(n);

    return band_bytes(n, width) + (double)(4 * (n + 48) * (width + 31)) * (double)sizeof(double);
}

/* The power of two to scale by, for a largest entry of 2^exponent. */
static int scale_exponent(double largest, int exponent_max)
{
    int exponent = 0;

    (void)frexp(largest, &exponent);
    return abs(exponent) <= exponent_max ? 0 : -exponent;
}

static int one_stage(double *a, size_t n, size_t ld, double *lambda, double *e, struct err *err)
{
    const lapack_int ln = lapack_size(n);
    size_t lwork = 32 * n;
    AUTO(freep) double *tau = malloc(n * sizeof(double));
    AUTO(freep) double *work = malloc(lwork * sizeof(double));
    lapack_int info;

    if (!tau || !work)
        return err_set(err, ERR_NOMEM, "no memory to reduce a matrix of order %zu", n);
    info = LAPACKE_dsytrd_work(LAPACK_COL_MAJOR, 'L', ln, a, lapack_size(ld), lambda, e, tau, work,
                               lapack_size(lwork));
    ASSERT(info == 0);
    return 0;
}

int symmetric_tridiagonal_double(double *a, size_t n, size_t ld, bool two_stage, double *d,
                                 double *e, int *exponent, struct err *err)
{
    AUTO(band_freep) struct band *band = NULL;
    double largest = 0;
    int r = two_stage ? band_new(n, band_width(n), &band, err) : 0;

    if (r < 0)
        return r;
    for (size_t j = 0; j < n; j++)
        largest = fmax(largest, a[j + j * ld]);
    *exponent = scale_exponent(largest, EXPONENT_MAX_DOUBLE);
    for (size_t j = 0; *exponent != 0 && j < n; j++)
        for (size_t i = j; i < n; i++)
            a[i + j * ld] = ldexp(a[i + j * ld], *exponent);
    if (!two_stage)
        return one_stage(a, n, ld, d, e, err);
    r = full_to_band_double(a, n, ld, band, err);
    if (r == 0)
        band_tridiagonalise(band, d, e);
    return r;
}

/* Small matrices: nothing is won by single precision. */
static int single_as_double(const float *a, size_t n, size_t ld, double *d, double *e,
                            int *exponent, struct err *err)
{
    AUTO(freep) double *wide = malloc(n * n * sizeof(double));

    if (!wide)
        return err_set(err, ERR_NOMEM, "no memory for a matrix of order %zu", n);
    for (size_t j = 0; j < n; j++)
        for (size_t i = j; i < n; i++)
            wide[i + j * n] = (double)a[i + j * ld];
    return symmetric_tridiagonal_double(wide, n, n, false, d, e, exponent, err);
}

int symmetric_tridiagonal_single(float *a, size_t n, size_t ld, bool two_stage, double *d,
                                 double *e, int *exponent, struct err *err)
{
    AUTO(band_freep) struct band *band = NULL;
    float largest = 0;
    int r;

    if (!two_stage)
        return single_as_double(a, n, ld, d, e, exponent, err);
    r = band_new(n, band_width(n), &band, err);
    if (r < 0)
        return r;
    for (size_t j = 0; j < n; j++)
        largest = fmaxf(largest, a[j + j * ld]);
    *exponent = scale_exponent((double)largest, EXPONENT_MAX_SINGLE);
    for (size_t j = 0; *exponent != 0 && j < n; j++)
        for (size_t i = j; i < n; i++)
            a[i + j * ld] = ldexpf(a[i + j * ld], *exponent);
    r = full_to_band_single(a, n, ld, band, err);
    if (r == 0)
        band_tridiagonalise(band, d, e);
    return r;
}

/* Eigenvalues of the tridiagonal matrix (lambda, e), with the scaling undone. */
static int finish(size_t n, double *lambda, double *e, int exponent, struct err *err)
{
    int r = lapack_tridiagonal_eigenvalues(n, lambda, e, err);

    if (r == 0 && exponent != 0)
        for (size_t j = 0; j < n; j++)
            lambda[j] = ldexp(lambda[j], -exponent);
    return r;
}

static double *sub_diagonal_new(size_t n, struct err *err)
{
    double *e = malloc(n * sizeof *e);

    if (!e)
        err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", n);
    return e;
}

int symmetric_eigenvalues_double(double *a, size_t n, size_t ld, bool two_stage, double *lambda,
                                 struct err *err)
{
    AUTO(freep) double *e = sub_diagonal_new(n, err);
    int exponent;
    int r = e ? symmetric_tridiagonal_double(a, n, ld, two_stage, lambda, e, &exponent, err)
              : ERR_NOMEM;

    return r < 0 ? r : finish(n, lambda, e, exponent, err);
}

int symmetric_eigenvalues_single(float *a, size_t n, size_t ld, bool two_stage, double *lambda,
                                 struct err *err)
{
    AUTO(freep) double *e = sub_diagonal_new(n, err);
    int exponent;
    int r = e ? symmetric_tridiagonal_single(a, n, ld, two_stage, lambda, e, &exponent, err)
              : ERR_NOMEM;

    return r < 0 ? r : finish(n, lambda, e, exponent, err);
}
