/* sparsegpt.c: see sparsegpt.h. */
#include "compute/sparsegpt.h"

#include "compute/lapack.h"
#include "compute/prune_select.h"

#include <stdlib.h>
#include <string.h>

struct sweep {
    float *w;
    size_t rows, cols;
    const float *u;
    const struct sparsegpt_options *opt;
    uint8_t *mask;
    size_t first;    /* column of the block */
    float *panel;    /* rows of U, from there on: block x (cols - first) */
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

static void gather(struct sweep *s, size_t first, size_t width)
{
    size_t len = s->cols - first;

    s->first = first;
    for (size_t j = 0; j < len; j++)
        for (size_t i = 0; i < width && i <= j; i++)
            s->panel[i * len + j] = s->u[sparsegpt_place(s->cols, first + i, first + j)];
}

/* (column, column) of U and what is right of it */
static const float *pivot(const struct sweep *s, size_t column)
{
    return s->panel + (column - s->first) * (s->cols - s->first + 1);
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
            s->score[r * width + i] = score_of(s->w[r * s->cols + first + i], *pivot(s, first + i));
    memset(s->chosen, 0, prune_mask_bytes(s->rows * width));
    prune_lowest(s->score, s->rows * width, after - before, s->scratch, s->chosen);
}

/* N:M: of the m weights from column `at` on, as they are by now. */
static void choose_group(const struct sweep *s, const float *w, size_t at, size_t len,
                         uint8_t *chosen)
{
    float score[64];

    for (size_t i = 0; i < len; i++)
        score[i] = score_of(w[i], *pivot(s, at + i));
    memset(chosen, 0, prune_mask_bytes(len));
    prune_lowest_of_groups(score, len, s->opt->m, s->opt->pruned, chosen);
}

static void sweep_row(struct sweep *s, size_t r, size_t first, size_t width, take_fn *take)
{
    float *w = s->w + r * s->cols + first, *change = s->change + r * width;
    uint8_t *mask = s->mask + r * prune_mask_bytes(s->cols), group[8] = {0};
    unsigned m = s->opt->m;

    for (size_t i = 0; i < width; i++) {
        const float *u = pivot(s, first + i);
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

        gather(s, first, width);
        if (!s->opt->m)
            choose_block(s, first, width);
        for (size_t r = 0; r < s->rows; r++)
            sweep_row(s, r, first, width, take);
        if (rest > 0)
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, lapack_size(s->rows),
                        lapack_size(rest), lapack_size(width), -1, s->change, lapack_size(width),
                        s->panel + width, lapack_size(s->cols - first), 1, s->w + first + width,
                        lapack_size(s->cols));
    }
}

int sparsegpt(float *w, size_t rows, size_t cols, const float *u,
              const struct sparsegpt_options *opt, uint8_t *mask, double *error, struct err *err)
{
    size_t block = opt->block ? opt->block : SPARSEGPT_BLOCK, n;
    AUTO(freep) float *change = NULL;
    AUTO(freep) float *score = NULL;
    AUTO(freep) float *panel = NULL;
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
    panel = malloc(block * cols * sizeof *panel);
    chosen = malloc(prune_mask_bytes(n));
    scratch = malloc(n * sizeof *scratch);
    if (!change || !score || !panel || !chosen || !scratch)
        return err_set(err, ERR_NOMEM, "no memory for a block of %zu weights", n);
    struct sweep s = {.w = w,
                      .rows = rows,
                      .cols = cols,
                      .u = u,
                      .opt = opt,
                      .mask = mask,
                      .panel = panel,
                      .change = change,
                      .score = score,
                      .chosen = chosen,
                      .scratch = scratch};
    sweep_all(&s, block);
    *error = s.loss / 2;
    return 0;
}
