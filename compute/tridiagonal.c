/* tridiagonal.c: bookkeeping of the lanes; the sweep itself is in tridiagonal_sweep.inc.
 *
 * A lane works on the block [l, m] of its matrix: the sub-diagonal element after m is zero, none
 * within is. A sweep makes the one after l small; then l is an eigenvalue and the block begins one
 * further down. The sweep notes the first element within that has become small: the block's new
 * end. Lanes deflate at about the same pace, so hardly any stands still while the others work.
 */
#include "compute/tridiagonal.h"

#include "common/sort.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES TRIDIAGONAL_LANES

/* Sweeps for each eigenvalue, at most; LAPACK's limit. Two do on average. */
#define SWEEPS_MAX 30

/* A squared sub-diagonal element is zero up to this times its diagonal neighbours, and */
#define EPSILON2 (DBL_EPSILON * DBL_EPSILON / 4)
/* up to this, so that its inverse is a number; other squares likewise. */
#define TINY 1e-280

struct lanes {
    size_t n;
    double (*d)[LANES];  /* diagonal */
    double (*e2)[LANES]; /* squares of the sub-diagonal */
    size_t high, low;    /* the rows of all blocks together */
    size_t sweeps[LANES];
    /* of a sweep; a lane without work has l = m = n */
    int64_t l[LANES] __attribute__((aligned(64)));
    int64_t m[LANES] __attribute__((aligned(64)));
    int64_t split[LANES] __attribute__((aligned(64))); /* first small element in (l, m), or m */
    double sigma[LANES] __attribute__((aligned(64)));
    double gamma[LANES] __attribute__((aligned(64))); /* at l, as the sweep left it */
    double last[LANES] __attribute__((aligned(64)));  /* e2 at l, likewise */
};

#if defined(__x86_64__)
#define TARGET  __attribute__((target("avx512f,avx512dq,avx512vl,fma")))
#define VLEN    8
#define NAME(x) x##_avx512
#include "compute/tridiagonal_sweep.inc"
#define TARGET  __attribute__((target("avx2,fma")))
#define VLEN    4
#define NAME(x) x##_avx2
#include "compute/tridiagonal_sweep.inc"
#endif
#define TARGET
#define VLEN    2
#define NAME(x) x##_generic
#include "compute/tridiagonal_sweep.inc"

typedef void sweep_fn(struct lanes *g);

static sweep_fn *sweep_choose(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return sweep_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return sweep_avx2;
#endif
    return sweep_generic;
}

static bool is_small(const struct lanes *g, size_t lane, size_t i)
{
    return g->e2[i][lane] <= EPSILON2 * fabs(g->d[i][lane] * g->d[i + 1][lane]) + TINY;
}

/* Both eigenvalues of [a, b; b, c], given b^2, in place of a and c. */
static void solve_pair(double *a, double *c, double b2)
{
    double sum = *a + *c, half = (*a - *c) / 2, root = 2 * sqrt(half * half + b2);
    double larger = (sum + copysign(root, sum)) / 2; /* in magnitude: nothing cancels */
    double big = fabs(*a) > fabs(*c) ? *a : *c, small = fabs(*a) > fabs(*c) ? *c : *a;

    *a = larger;
    *c = larger != 0 ? big / larger * small - b2 / larger : 0;
}

/* Move the lane past finished eigenvalues to a block that needs a sweep. False when none is left.
 */
static bool lane_advance(struct lanes *g, size_t lane)
{
    size_t l = (size_t)g->l[lane], m = (size_t)g->m[lane];

    for (;;) {
        if (l == m + 1) { /* as at first: m = -1 */
            if (l == g->n)
                break;
            for (m = l; m + 1 < g->n && !is_small(g, lane, m);)
                m++;
        } else if (l < m && is_small(g, lane, l)) {
            l++;
        } else if (m - l <= 1) {
            if (m > l)
                solve_pair(&g->d[l][lane], &g->d[m][lane], g->e2[l][lane]);
            l = m + 1;
        } else {
            g->l[lane] = (int64_t)l;
            g->m[lane] = (int64_t)m;
            return true;
        }
    }
    g->l[lane] = g->m[lane] = (int64_t)g->n;
    return false;
}

/* The shift: the eigenvalue of the block's first two rows that is closer to the first. */
static double lane_shift(const struct lanes *g, size_t lane)
{
    size_t l = (size_t)g->l[lane];
    double e = sqrt(g->e2[l][lane]), p = g->d[l][lane];
    double t = (g->d[l + 1][lane] - p) / (2 * e);

    return p - e / (t + copysign(hypot(t, 1), t));
}

/* False when every lane is done. */
static bool sweep_begin(struct lanes *g)
{
    g->high = 0;
    g->low = g->n;
    for (size_t k = 0; k < LANES; k++) {
        if ((size_t)g->l[k] == g->n || !lane_advance(g, k))
            continue;
        g->sigma[k] = lane_shift(g, k);
        g->split[k] = g->m[k];
        g->sweeps[k]++;
        g->high = (size_t)g->m[k] > g->high ? (size_t)g->m[k] : g->high;
        g->low = (size_t)g->l[k] < g->low ? (size_t)g->l[k] : g->low;
    }
    return g->high > 0;
}

static int sweep_end(struct lanes *g, struct err *err)
{
    for (size_t k = 0; k < LANES; k++) {
        size_t l = (size_t)g->l[k];

        if (l == g->n)
            continue;
        g->d[l][k] = g->sigma[k] + g->gamma[k];
        g->e2[l][k] = g->last[k];
        g->m[k] = g->split[k];
        if (g->sweeps[k] > SWEEPS_MAX * g->n)
            return err_set(err, ERR_NUMERIC, "QL did not converge (%zu values left)", g->n - l);
    }
    return 0;
}

/* The end with the larger entries last: the iteration finds the smaller ones first. */
static void lane_load(struct lanes *g, size_t lane, const double *d, const double *e)
{
    size_t n = g->n;
    bool turned = fabs(d[n - 1]) < fabs(d[0]);

    for (size_t i = 0; i < n; i++)
        g->d[i][lane] = d[turned ? n - 1 - i : i];
    for (size_t i = 0; i + 1 < n; i++) {
        double x = e[turned ? n - 2 - i : i];

        g->e2[i][lane] = x * x;
    }
    g->sweeps[lane] = 0;
    g->l[lane] = 0;
    g->m[lane] = -1;
}

static int solve_lanes(struct lanes *g, sweep_fn *sweep, size_t count, double *d, const double *e,
                       struct err *err)
{
    int r = 0;

    for (size_t k = 0; k < LANES; k++) {
        if (k < count)
            lane_load(g, k, d + k * g->n, e + k * g->n);
        else
            g->l[k] = g->m[k] = (int64_t)g->n;
    }
    while (r == 0 && sweep_begin(g)) {
        sweep(g);
        r = sweep_end(g, err);
    }
    for (size_t k = 0; r == 0 && k < count; k++) {
        for (size_t i = 0; i < g->n; i++)
            d[k * g->n + i] = g->d[i][k];
        sort_ascending(d + k * g->n, g->n);
    }
    return r;
}

double tridiagonal_bytes(size_t n)
{
    return 2 * LANES * (double)n * (double)sizeof(double);
}

static int solve_all(sweep_fn *sweep, size_t n, size_t count, double *d, const double *e,
                     struct err *err)
{
    struct lanes g = {.n = n};
    void *memory = NULL;
    int r = 0;

    if (n == 0 || count == 0)
        return 0;
    if (posix_memalign(&memory, 64, 2 * n * sizeof *g.d) != 0)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", n);
    memset(memory, 0, 2 * n * sizeof *g.d); /* lanes may be empty */
    g.d = memory;
    g.e2 = g.d + n;
    for (size_t k = 0; r == 0 && k < count; k += LANES)
        r = solve_lanes(&g, sweep, count - k < LANES ? count - k : LANES, d + k * n, e + k * n,
                        err);
    free(memory);
    return r;
}

int tridiagonal_eigenvalues(size_t n, size_t count, double *d, double *e, struct err *err)
{
    return solve_all(sweep_choose(), n, count, d, e, err);
}
