/* panel_multiply.c: a symmetric matrix times a panel, for the instruction set at hand.
 *
 * dsymm packs every element of the matrix twice, once per triangle, and its blocks fill the whole
 * second-level cache; for a panel of 64 columns that costs as much as the product, and more when
 * another worker shares the cache. Here a tile is copied once, while the one before is in work, and
 * used for the rows and, transposed, for the columns it stands for. Measured with both cores busy,
 * order 4096: 45 against 28 Gflop/s.
 */
#include "compute/panel_multiply.h"

#include <stdbool.h>
#include <string.h>

/* Rows of the product that are summed in registers at a time, divides PANEL_ROWS. */
#define ROWS 6

#define TILE  PANEL_ROWS
#define STRIP (8 * TILE)

#define REAL double
#if defined(__x86_64__)
#define VLEN    8
#define VECS    4
#define TARGET  __attribute__((target("avx512f,fma")))
#define NAME(x) x##_double_avx512
#include "compute/panel_multiply.inc"
#define VLEN    4
#define VECS    2
#define TARGET  __attribute__((target("avx2,fma")))
#define NAME(x) x##_double_avx2
#include "compute/panel_multiply.inc"
#endif
#define VLEN 2
#define VECS 2
#define TARGET
#define NAME(x) x##_double_generic
#include "compute/panel_multiply.inc"
#undef REAL

#define REAL float
#if defined(__x86_64__)
#define VLEN    16
#define VECS    2
#define TARGET  __attribute__((target("avx512f,fma")))
#define NAME(x) x##_single_avx512
#include "compute/panel_multiply.inc"
#define VLEN    8
#define VECS    2
#define TARGET  __attribute__((target("avx2,fma")))
#define NAME(x) x##_single_avx2
#include "compute/panel_multiply.inc"
#endif
#define VLEN 4
#define VECS 2
#define TARGET
#define NAME(x) x##_single_generic
#include "compute/panel_multiply.inc"
#undef REAL

void panel_multiply_double(const double *a, size_t lda, size_t m, size_t width, const double *x,
                           size_t ldx, double *y, size_t ldy)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        multiply_double_avx512(a, lda, m, width, x, ldx, y, ldy);
        return;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        multiply_double_avx2(a, lda, m, width, x, ldx, y, ldy);
        return;
    }
#endif
    multiply_double_generic(a, lda, m, width, x, ldx, y, ldy);
}

void panel_multiply_single(const float *a, size_t lda, size_t m, size_t width, const float *x,
                           size_t ldx, float *y, size_t ldy)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        multiply_single_avx512(a, lda, m, width, x, ldx, y, ldy);
        return;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        multiply_single_avx2(a, lda, m, width, x, ldx, y, ldy);
        return;
    }
#endif
    multiply_single_generic(a, lda, m, width, x, ldx, y, ldy);
}
