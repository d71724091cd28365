/* bulge.c: band to tridiagonal by chasing bulges, values only.
 *
 * Sweep s annihilates column s below its sub-diagonal with one reflector of `width` rows, which
 * fills the block below (the bulge); step after step the next block's first column is annihilated
 * and the fill moves down by `width` rows until it leaves the matrix. The rest of each bulge is
 * left for the following sweeps (Murata & Horikoshi 1975; Bischof, Lang, Sun 2000).
 *
 * LAPACK's dsytrd_sb2st does the same with vector operations on packed lower blocks and visits
 * the whole band between two steps of a sweep. Here a step is fused into passes over two small
 * dense blocks (symmetric blocks in full, so that every pass is a plain loop over columns), and
 * SWEEPS neighbouring sweeps follow each other closely, so the band comes from memory once per
 * SWEEPS sweeps. Measured: 4 to 7 times as fast.
 */
#include "compute/band.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 6: in flight at a time; their windows, 2 * 8 * width^2 bytes each, share the L2 cache. */
#define SWEEPS 6

/* A window of BAND_WIDTH_MAX rows with padding at both ends. */
#define BAND_VECTOR_MAX (BAND_WIDTH_MAX + 2 * BAND_ALIGN)

/* Below this the squares in a norm lose digits: such a column counts as zero. */
#define NORM2_MIN 1e-290

/* H = I - tau v v' on rows [row, row + n); v[row % BAND_ALIGN] = 1 is its first element. */
struct reflector {
    double v[BAND_VECTOR_MAX] __attribute__((aligned(64)));
    double tau, beta; /* H x = beta e_1 for the x it was made from */
    size_t row, n;
};

/* Zero the padding before and after the n elements that belong to the window. */
static inline void window_clear(double *w, size_t lead, size_t n, size_t end)
{
    for (size_t i = 0; i < lead; i++)
        w[i] = 0;
    for (size_t i = lead + n; i < end; i++)
        w[i] = 0;
}

/* Turn the column held in h->v (padding zero) into the reflector that annihilates it. */
static void reflector_make(struct reflector *h, size_t row, size_t n)
{
    double *x = h->v + row % BAND_ALIGN;
    double alpha = x[0];
    double norm2[4] = {0};
    double scale;
    double tail;

    h->row = row;
    h->n = n;
    x[0] = 0;
    for (size_t i = 0; i < n; i++)
        norm2[i % 4] += x[i] * x[i];
    tail = (norm2[0] + norm2[1]) + (norm2[2] + norm2[3]);
    x[0] = 1;
    if (tail < NORM2_MIN) {
        h->tau = 0;
        h->beta = alpha;
        return;
    }
    h->beta = -copysign(sqrt(alpha * alpha + tail), alpha);
    h->tau = (h->beta - alpha) / h->beta;
    scale = 1 / (alpha - h->beta);
    for (size_t i = 1; i < n; i++)
        x[i] *= scale;
}

#if defined(__x86_64__)
#define VLEN    8
#define EVEN    0, 2, 4, 6, 8, 10, 12, 14
#define ODD     1, 3, 5, 7, 9, 11, 13, 15
#define TARGET  __attribute__((target("avx512f,avx512dq,avx512vl,fma")))
#define NAME(x) x##_avx512
#include "compute/bulge_kernel.inc"
#define VLEN    4
#define EVEN    0, 2, 4, 6
#define ODD     1, 3, 5, 7
#define TARGET  __attribute__((target("avx2,fma")))
#define NAME(x) x##_avx2
#include "compute/bulge_kernel.inc"
#endif
#define VLEN 2
#define EVEN 0, 2
#define ODD  1, 3
#define TARGET
#define NAME(x) x##_generic
#include "compute/bulge_kernel.inc"

typedef void step_fn(double *a, size_t ld, size_t below, struct reflector *h,
                     struct reflector *next);

static step_fn *step_choose(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return step_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return step_avx2;
#endif
    return step_generic;
}

static size_t band_ld(size_t width)
{
    /* Rows j - width ... j + 2 width of column j, and a vector of padding at both ends. */
    return (3 * width + 3 * BAND_ALIGN - 1) / BAND_ALIGN * BAND_ALIGN;
}

/* Doubles in front of element (0, 0), and in all. */
static size_t band_head(size_t width)
{
    return (width + 2 * BAND_ALIGN - 1) / BAND_ALIGN * BAND_ALIGN;
}

static size_t band_total(size_t n, size_t width)
{
    return band_head(width) + n * (band_ld(width) + 1) + 2 * width + 2 * BAND_ALIGN;
}

double band_bytes(size_t n, size_t width)
{
    return (double)band_total(n, width) * (double)sizeof(double);
}

int band_new(size_t n, size_t width, struct band **out, struct err *err)
{
    struct band *b;
    size_t total;
    void *memory = NULL;

    ASSERT(n >= 1 && n <= 1 << 20 && width >= 1 && width <= BAND_WIDTH_MAX);
    total = band_total(n, width) * sizeof(double);
    b = malloc(sizeof(*b));
    if (!b || posix_memalign(&memory, 64, total) != 0) {
        free(b);
        return err_set(err, ERR_NOMEM, "no memory for a band matrix of order %zu", n);
    }
    memset(memory, 0, total);
    *b = (struct band){.n = n, .width = width, .ld = band_ld(width), .memory = memory};
    b->a = (double *)memory + band_head(width);
    *out = b;
    return 0;
}

void band_free(struct band *b)
{
    if (!b)
        return;
    free(b->memory);
    free(b);
}

/* The reflector that annihilates column s of the band below its sub-diagonal. */
static void sweep_begin(struct band *b, size_t s, struct reflector *h)
{
    size_t row = s + 1;
    size_t n = b->n - row < b->width ? b->n - row : b->width;
    size_t lead = row % BAND_ALIGN;
    double *column = b->a + row + s * b->ld;

    memset(h->v, 0, sizeof(h->v));
    memcpy(h->v + lead, column, n * sizeof(double));
    reflector_make(h, row, n);
    column[0] = h->beta;
    for (size_t i = 1; i < n; i++)
        column[i] = 0;
}

/* The last row of a diagonal block was changed below the diagonal only, by the sweep before. */
static void mirror_last_row(struct band *b, size_t row, size_t n)
{
    size_t last = row + n - 1;

    for (size_t j = row; j < last; j++)
        b->a[j + last * b->ld] = b->a[last + j * b->ld];
}

/* Advance a sweep by one step: its reflector is used up and *spare takes its place.
 * False when the sweep has left the matrix. */
static bool sweep_step(struct band *b, step_fn *step, struct reflector **h,
                       struct reflector **spare)
{
    struct reflector *used = *h;
    size_t end = used->row + used->n;
    size_t below = b->n - end < b->width ? b->n - end : b->width;

    mirror_last_row(b, used->row, used->n);
    step(b->a, b->ld, below, used, *spare);
    *h = *spare;
    *spare = used;
    return below > 0;
}

/* Run sweeps first ... first + count - 1. A sweep may do step k once the one before it has done
 * step k + 1: they enter one by one, then move together, and leave in the same order. */
static void sweeps_run(struct band *b, step_fn *step, size_t first, size_t count)
{
    struct reflector memory[SWEEPS + 1] = {0};
    struct reflector *h[SWEEPS];
    struct reflector *spare = &memory[SWEEPS];
    size_t entered = 0;
    size_t gone = 0;

    while (gone < count) {
        if (entered < count) {
            h[entered] = &memory[entered];
            sweep_begin(b, first + entered, h[entered]);
            entered++;
        }
        for (size_t q = gone; q < entered; q++)
            if (!sweep_step(b, step, &h[q], &spare))
                gone++;
    }
}

static void tridiagonalise(struct band *b, step_fn *step, double *d, double *e)
{
    for (size_t j = 0; j < b->n; j++)
        for (size_t i = j + 1; i < b->n && i <= j + b->width; i++)
            b->a[j + i * b->ld] = b->a[i + j * b->ld];
    for (size_t s = 0; s + 2 < b->n; s += SWEEPS)
        sweeps_run(b, step, s, b->n - 2 - s < SWEEPS ? b->n - 2 - s : SWEEPS);
    for (size_t j = 0; j < b->n; j++) {
        d[j] = b->a[j + j * b->ld];
        if (j + 1 < b->n)
            e[j] = b->a[j + 1 + j * b->ld];
    }
}

void band_tridiagonalise(struct band *b, double *d, double *e)
{
    tridiagonalise(b, step_choose(), d, e);
}
