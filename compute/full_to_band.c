/* full_to_band.c: first stage of the two-stage tridiagonalisation, in both precisions. */
#include "compute/full_to_band.h"

#include "compute/band.h"
#include "compute/lapack.h"
#include "compute/panel_multiply.h"

#include <stdlib.h>
#include <string.h>

/* Tiles of the trailing matrix: dgemm is near its top speed from 512 columns on, and the
 * triangular tiles on the diagonal, which are slower, stay a small part. */
#define UPDATE_TILE 512

/* Vectors that straddle two cache lines cost a third of the speed. NULL when out of memory. */
static void *aligned_new(size_t bytes)
{
    void *p = NULL;

    return posix_memalign(&p, 64, bytes) == 0 ? p : NULL;
}

#define REAL      double
#define BLAS(x)   cblas_d##x
#define LAPACK(x) LAPACKE_d##x
#define NAME(x)   x##_double
#include "compute/full_to_band.inc"

#define REAL      float
#define BLAS(x)   cblas_s##x
#define LAPACK(x) LAPACKE_s##x
#define NAME(x)   x##_single
#include "compute/full_to_band.inc"
