/* sparsegpt.c: see sparsegpt.h. */
#include "compute/sparsegpt.h"

#include "compute/lapack.h"
#include "compute/prune_select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double ladder[] = {0.03, 0.1, 0.3};

/* --- the factor ------------------------------------------------------------------------------ */

/* Both triangles of the flipped matrix: element (i, j) <- (n - 1 - i, n - 1 - j). */
static void flip(double *a, size_t n)
{
    for (size_t i = 0, j = n * n - 1; i < j; i++, j--) {
        double t = a[i];

        a[i] = a[j];
        a[j] = t;
    }
}

static int prepare(double *h, size_t n, double scale, double *diagonal,
                   struct sparsegpt_factor_info *info, double *mean, struct err *err)
{
    double least = INFINITY;

    *mean = 0;
    info->n_dead = 0;
    for (size_t i = 0; i < n * n; i++)
        h[i] *= scale;
    for (size_t i = 0; i < n; i++) {
        double d = h[i * n + i];

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
    for (size_t i = 0; i < n; i++) {
        if (!(h[i * n + i] > 0))
            h[i * n + i] = least;
        diagonal[i] = h[i * n + i];
    }
    return 0;
}

/* The lower triangle (column-major) from the upper one, which the factorisation leaves alone. */
static void restore(double *h, size_t n, const double *diagonal, double shift)
{
    for (size_t j = 0; j < n; j++) {
        h[j * n + j] = diagonal[j] + shift;
        for (size_t i = j + 1; i < n; i++)
            h[j * n + i] = h[i * n + j];
    }
}

/* Doubles to floats in the same place, triangle by triangle: U is upper. */
static void compact(double *h, size_t n)
{
    char *bytes = (char *)h;

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double d;
            float f;

            memcpy(&d, bytes + (i * n + j) * sizeof d, sizeof d);
            f = j >= i ? (float)d : 0;
            memcpy(bytes + (i * n + j) * sizeof f, &f, sizeof f);
        }
}

int sparsegpt_factor(double *gram, size_t n, double scale, double damping,
                     struct sparsegpt_factor_info *out, struct err *err)
{
    AUTO(freep) double *diagonal = malloc(n * sizeof *diagonal);
    lapack_int size = lapack_size(n), info = 1;
    double mean;
    int r;

    if (!diagonal)
        return err_set(err, ERR_NOMEM, "no memory for %zu columns", n);
    /* Reversed, a lower factor is the upper one that is wanted. */
    flip(gram, n);
    r = prepare(gram, n, scale, diagonal, out, &mean, err);
    if (r < 0)
        return r;
    for (size_t rung = 0; info != 0 && rung <= ARRAY_LEN(ladder); rung++) {
        if (rung > 0 && ladder[rung - 1] <= damping)
            continue;
        out->damping = rung ? ladder[rung - 1] : damping;
        out->shift = out->damping * mean;
        restore(gram, n, diagonal, out->shift);
        info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', size, gram, size);
    }
    if (info == 0)
        info = LAPACKE_dtrtri_work(LAPACK_COL_MAJOR, 'L', 'N', size, gram, size);
    if (info != 0)
        return err_set(err, ERR_NUMERIC, "the Gram matrix is not positive definite");
    flip(gram, n);
    /* Column-major and lower before, so column-major and upper now; rows are wanted. */
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < j; i++)
            gram[i * n + j] = gram[j * n + i];
    compact(gram, n);
    return 0;
}

/* --- the sweep ------------------------------------------------------------------------------- */

struct sweep {
    float *w;
    size_t rows, cols;
    const float *u;
    const struct sparsegpt_options *opt;
    uint8_t *mask;
    float *change;   /* rows x block: what each column of the block passes on */
    float *score;    /* rows x block */
    uint8_t *chosen; /* bits of score */
    uint32_t *scratch;
    double loss;
};

/* x[0 .. n) -= a u[0 .. n) */
#define DEFINE_TAKE(name, target)                                                                  \
    target static void name(float *restrict x, const float *restrict u, size_t n, float a)         \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            x[i] -= a * u[i];                                                                      \
    }
#if defined(__x86_64__)
DEFINE_TAKE(take_avx2, __attribute__((target("avx2,fma"))))
#endif
DEFINE_TAKE(take_generic, )

typedef void take_fn(float *restrict x, const float *restrict u, size_t n, float a);

static take_fn *choose_take(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return take_avx2;
#endif
    return take_generic;
}

static bool bit(const uint8_t *mask, size_t i)
{
    return mask[i >> 3] >> (i & 7) & 1;
}

static float score_of(float w, float pivot)
{
    return w * w / (pivot * pivot);
}

/* Which weights of columns [first, first + width) go, before any is changed. */
static void choose_block(struct sweep *s, size_t first, size_t width)
{
    double per_column = (double)s->rows * s->opt->sparsity;
    size_t before = (size_t)(per_column * (double)first);
    size_t after = (size_t)(per_column * (double)(first + width));

    for (size_t r = 0; r < s->rows; r++)
        for (size_t i = 0; i < width; i++)
            s->score[r * width + i] =
                score_of(s->w[r * s->cols + first + i], s->u[(first + i) * s->cols + first + i]);
    memset(s->chosen, 0, prune_mask_bytes(s->rows * width));
    prune_lowest(s->score, s->rows * width, after - before, s->scratch, s->chosen);
}

/* N:M: of the m weights from column `at` on, as they are by now. */
static void choose_group(const struct sweep *s, const float *w, size_t at, size_t len,
                         uint8_t *chosen)
{
    float score[64];

    for (size_t i = 0; i < len; i++)
        score[i] = score_of(w[i], s->u[(at + i) * s->cols + at + i]);
    memset(chosen, 0, prune_mask_bytes(len));
    prune_lowest_of_groups(score, len, s->opt->m, s->opt->pruned, chosen);
}

static void sweep_row(struct sweep *s, size_t r, size_t first, size_t width, take_fn *take)
{
    float *w = s->w + r * s->cols + first, *change = s->change + r * width;
    uint8_t *mask = s->mask + r * prune_mask_bytes(s->cols), group[8] = {0};
    unsigned m = s->opt->m;

    for (size_t i = 0; i < width; i++) {
        const float *u = s->u + (first + i) * s->cols + first + i;
        bool goes;

        if (m && i % m == 0)
            choose_group(s, w + i, first + i, width - i < m ? width - i : m, group);
        goes = m ? bit(group, i % m) : bit(s->chosen, r * width + i);
        change[i] = goes ? w[i] / u[0] : 0;
        if (!goes)
            continue;
        s->loss += (double)change[i] * (double)change[i];
        mask[(first + i) >> 3] |= (uint8_t)(1u << ((first + i) & 7));
        take(w + i + 1, u + 1, width - i - 1, change[i]);
        w[i] = 0;
    }
}

static void sweep_all(struct sweep *s, size_t block)
{
    take_fn *take = choose_take();

    for (size_t first = 0; first < s->cols; first += block) {
        size_t width = s->cols - first < block ? s->cols - first : block;
        size_t rest = s->cols - first - width;

        if (!s->opt->m)
            choose_block(s, first, width);
        for (size_t r = 0; r < s->rows; r++)
            sweep_row(s, r, first, width, take);
        if (rest > 0)
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, lapack_size(s->rows),
                        lapack_size(rest), lapack_size(width), -1, s->change, lapack_size(width),
                        s->u + first * s->cols + first + width, lapack_size(s->cols), 1,
                        s->w + first + width, lapack_size(s->cols));
    }
}

int sparsegpt(float *w, size_t rows, size_t cols, const float *u,
              const struct sparsegpt_options *opt, uint8_t *mask, double *error, struct err *err)
{
    size_t block = opt->block ? opt->block : SPARSEGPT_BLOCK, n;
    AUTO(freep) float *change = NULL;
    AUTO(freep) float *score = NULL;
    AUTO(freep) uint8_t *chosen = NULL;
    AUTO(freep) uint32_t *scratch = NULL;

    if (opt->m > 64 || opt->pruned > opt->m || (opt->m && block % opt->m))
        return err_set(err, ERR_INVALID, "the block of %zu columns is no multiple of %u", block,
                       opt->m);
    if (!(opt->sparsity >= 0 && opt->sparsity <= 1))
        return err_set(err, ERR_INVALID, "expected a sparsity from 0 to 1");
    if (block > cols)
        block = cols;
    n = rows * block;
    change = malloc(n * sizeof *change);
    score = malloc(n * sizeof *score);
    chosen = malloc(prune_mask_bytes(n));
    scratch = malloc(n * sizeof *scratch);
    if (!change || !score || !chosen || !scratch)
        return err_set(err, ERR_NOMEM, "no memory for a block of %zu weights", n);
    struct sweep s = {.w = w,
                      .rows = rows,
                      .cols = cols,
                      .u = u,
                      .opt = opt,
                      .mask = mask,
                      .change = change,
                      .score = score,
                      .chosen = chosen,
                      .scratch = scratch};
    sweep_all(&s, block);
    *error = s.loss / 2;
    return 0;
}
