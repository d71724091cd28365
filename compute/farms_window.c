/* farms_window.c: see farms_window.h. */
#include "compute/farms_window.h"

#include "compute/lapack.h"
#include "compute/spectrum.h"
#include "compute/symmetric.h"
#include "compute/tridiagonal.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Columns that are read, and transposed, at a time. */
#define READ_LINES 32

/* Lines to hold at a time: moving them for each window costs as much as its products. */
static size_t strip_capacity(size_t order, size_t all)
{
    return all < 2 * order ? all : 2 * order;
}

#define REAL      double
#define PRECISION PRECISION_DOUBLE
#define EPSILON   DBL_EPSILON
#define TRACE_MIN 1e-280
#define TRACE_MAX 1e280
#define BLAS(x)   cblas_d##x
#define NAME(x)   x##_double
#include "compute/farms_window.inc"

#define REAL      float
#define PRECISION PRECISION_SINGLE
#define EPSILON   ((double)FLT_EPSILON)
#define TRACE_MIN 1e-30
#define TRACE_MAX 1e36
#define BLAS(x)   cblas_s##x
#define NAME(x)   x##_single
#include "compute/farms_window.inc"

double farms_strip_bytes(size_t order, size_t length, size_t all, size_t windows)
{
    double lines = (double)strip_capacity(order, all), ld = (double)spectrum_gram_ld(order);
    double work = fmax((double)order * ld, (double)READ_LINES * (double)length);

    return 8 * (lines * (double)length + lines * (ld + 1) + work +
                (double)windows * (double)order) +
           symmetric_bytes(order) + tridiagonal_bytes(order);
}

int farms_strip_solve(const struct farms_strip *s, enum precision precision, double *lambda,
                      double *bound, uint64_t *n_nonfinite, struct err *err)
{
    bool fits = precision == PRECISION_SINGLE;
    int r = 0;

    if (fits)
        r = strip_solve_single(s, lambda, bound, n_nonfinite, &fits, err);
    if (r < 0 || fits || *n_nonfinite)
        return r;
    fits = true;
    r = strip_solve_double(s, lambda, bound, n_nonfinite, &fits, err);
    if (r == 0 && !fits)
        r = err_set(err, ERR_NUMERIC, "squares of the weights leave the range of double");
    return r;
}
