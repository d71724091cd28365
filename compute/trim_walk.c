/* trim_walk.c: see trim_walk.h.
 *
 * With tokens the outputs y~ themselves are kept, in double, and added to and taken from; after
 * thousands of steps they are as good as at first. With a Gram matrix G there are as many outputs
 * as inputs, too many to keep: of each row there are y.y~ = w.G w~ and |y~|^2 = w~.G w~, which a
 * weight changes by w_j (G w)_j and 2 w_j (G w~)_j, less w_j^2 G_jj.
 */
#include "compute/trim_walk.h"

#include "compute/lapack.h"
#include "compute/prune_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROW_BLOCK 48  /* rows whose outputs are formed together, whole and pruned */
#define PANEL     256 /* columns of them, at a time */
#define AT_ONCE   4   /* columns in one step */
#define SOME      64  /* weights asked for at a time; a multiple of that */

struct place {
    size_t k;           /* weights that are gone */
    double b, c;        /* y.y~ and |y~|^2 then */
    double power, peak; /* |y|^2, max y^2 */
};

struct trim_walk {
    const struct trim_input *in;
    struct place *place;  /* rows */
    double *y, *left;     /* rows x tokens: y, y~ */
    uint16_t *order16;    /* rows x cols: columns as they go */
    uint32_t *order32;    /* or these, where there are too many */
    float *w;             /* cols: of the row that moves */
    double *whole, *rest; /* cols, with a Gram matrix: w, w~ */
    struct err err;
};

static size_t order_size(size_t cols)
{
    return cols <= UINT16_MAX + 1 ? sizeof(uint16_t) : sizeof(uint32_t);
}

double trim_bytes(size_t rows, size_t cols, size_t tokens)
{
    double r = (double)rows, n = (double)cols, width = (double)(tokens ? tokens : cols);

    return r * n * (double)order_size(cols) + r * (16 * (double)tokens + sizeof(struct place)) +
           ROW_BLOCK * (n * 24 + width * 16) + PANEL * width * 8 + n * 32;
}

void trim_walk_free(struct trim_walk *t)
{
    if (!t)
        return;
    free(t->place);
    free(t->y);
    free(t->left);
    free(t->order16);
    free(t->order32);
    free(t->w);
    free(t->whole);
    free(t->rest);
    free(t);
}

double trim_walk_power(const struct trim_walk *t, size_t row)
{
    return t->place[row].power;
}

double trim_walk_peak(const struct trim_walk *t, size_t row)
{
    return t->place[row].peak;
}

int trim_walk_failed(const struct trim_walk *t, struct err *err)
{
    if (t->err.code && err)
        *err = t->err;
    return t->err.code;
}

static size_t column(const struct trim_walk *t, size_t row, size_t k)
{
    size_t at = row * t->in->cols + k;

    return t->order16 ? t->order16[at] : t->order32[at];
}

/* --- steps ----------------------------------------------------------------------------------- */

/* left += w[0] x[0] + ... + w[3] x[3] */
#define DEFINE_ADD(name, target)                                                                   \
    target static void name(double *restrict left, const float *const x[AT_ONCE],                  \
                            const double w[AT_ONCE], size_t n)                                     \
    {                                                                                              \
        const float *restrict a = x[0], *restrict b = x[1], *restrict c = x[2],                    \
                              *restrict d = x[3];                                                  \
                                                                                                   \
        for (size_t i = 0; i < n; i++)                                                             \
            left[i] += (w[0] * (double)a[i] + w[1] * (double)b[i]) +                               \
                       (w[2] * (double)c[i] + w[3] * (double)d[i]);                                \
    }
/* Two sums of products with the same row of floats. */
#define DEFINE_DOTS(name, target)                                                                  \
    target static void name(const float *restrict g, const double *restrict u,                     \
                            const double *restrict v, size_t n, double *gu, double *gv)            \
    {                                                                                              \
        double su[16] = {0}, sv[16] = {0};                                                         \
        size_t i = 0;                                                                              \
                                                                                                   \
        for (; i + 16 <= n; i += 16)                                                               \
            for (size_t k = 0; k < 16; k++) {                                                      \
                su[k] += (double)g[i + k] * u[i + k];                                              \
                sv[k] += (double)g[i + k] * v[i + k];                                              \
            }                                                                                      \
        for (; i < n; i++) {                                                                       \
            su[0] += (double)g[i] * u[i];                                                          \
            sv[0] += (double)g[i] * v[i];                                                          \
        }                                                                                          \
        *gu = *gv = 0;                                                                             \
        for (size_t k = 0; k < 16; k++) {                                                          \
            *gu += su[k];                                                                          \
            *gv += sv[k];                                                                          \
        }                                                                                          \
    }

#if defined(__x86_64__)
DEFINE_ADD(add_avx512, __attribute__((target("avx512f,fma"))))
DEFINE_ADD(add_avx2, __attribute__((target("avx2,fma"))))
DEFINE_DOTS(dots_avx512, __attribute__((target("avx512f,fma"))))
DEFINE_DOTS(dots_avx2, __attribute__((target("avx2,fma"))))
#endif
DEFINE_ADD(add_generic, )
DEFINE_DOTS(dots_generic, )

static void add(double *left, const float *const x[AT_ONCE], const double w[AT_ONCE], size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        add_avx512(left, x, w, n);
        return;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        add_avx2(left, x, w, n);
        return;
    }
#endif
    add_generic(left, x, w, n);
}

static void dots(const float *g, const double *u, const double *v, size_t n, double *gu, double *gv)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        dots_avx512(g, u, v, n, gu, gv);
        return;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        dots_avx2(g, u, v, n, gu, gv);
        return;
    }
#endif
    dots_generic(g, u, v, n, gu, gv);
}

static double product(const double *u, const double *v, size_t n)
{
    double sum[8] = {0};
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++)
            sum[k] += u[i + k] * v[i + k];
    for (; i < n; i++)
        sum[0] += u[i] * v[i];
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

/* --- going ----------------------------------------------------------------------------------- */

/* left += sign w_j x_j for the columns that go from `from` to `to`. */
static int add_columns(struct trim_walk *t, double *left, size_t row, size_t from, size_t to,
                       double sign)
{
    const struct trim_input *in = t->in;
    uint32_t col[SOME] = {0};
    float w[SOME] = {0};

    for (size_t k = from; k < to; k += SOME) {
        size_t count = to - k < SOME ? to - k : SOME;
        int r;

        for (size_t i = 0; i < count; i++)
            col[i] = (uint32_t)column(t, row, k + i);
        r = in->pick(in->arg, row, col, count, w, &t->err);
        if (r < 0)
            return r;
        for (size_t i = 0; i < count; i += AT_ONCE) {
            const float *x[AT_ONCE];
            double v[AT_ONCE];

            for (size_t m = 0; m < AT_ONCE; m++) {
                x[m] = in->x + col[i + m] * in->tokens;
                v[m] = i + m < count ? sign * (double)w[i + m] : 0;
            }
            add(left, x, v, in->tokens);
        }
    }
    return 0;
}

static int go_tokens(struct trim_walk *t, size_t row, size_t k)
{
    size_t n = t->in->tokens;
    double *left = t->left + row * n;
    struct place *p = &t->place[row];
    int r =
        k > p->k ? add_columns(t, left, row, p->k, k, -1) : add_columns(t, left, row, k, p->k, 1);

    p->b = product(t->y + row * n, left, n);
    p->c = product(left, left, n);
    return r;
}

/* Forward, weights go; backward, they come back in the reverse order. */
static int go_gram(struct trim_walk *t, size_t row, size_t to)
{
    size_t n = t->in->cols;
    struct place *p = &t->place[row];
    bool forward = to > p->k;
    int r = t->in->read(t->in->arg, row, 1, t->w, NULL, &t->err);

    if (r < 0)
        return r;
    for (size_t j = 0; j < n; j++)
        t->rest[j] = t->whole[j] = (double)t->w[j];
    for (size_t k = 0; k < p->k; k++)
        t->rest[column(t, row, k)] = 0;
    for (size_t k = p->k; k != to; k += forward ? 1 : (size_t)-1) {
        size_t j = column(t, row, forward ? k : k - 1);
        const float *g = t->in->gram + j * n;
        double w = t->whole[j], all, rest, sign = forward ? -1 : 1;

        dots(g, t->whole, t->rest, n, &all, &rest);
        p->b += sign * w * all;
        p->c += sign * 2 * w * rest + w * w * (double)g[j];
        t->rest[j] = forward ? 0 : w;
    }
    return 0;
}

void trim_walk_to(struct trim_walk *t, size_t row, size_t k, double *b, double *c)
{
    struct place *p = &t->place[row];

    if (k != p->k && t->err.code == 0) {
        (void)(t->in->gram ? go_gram(t, row, k) : go_tokens(t, row, k));
        p->k = k;
    }
    *b = p->b;
    *c = p->c;
}

/* --- the beginning --------------------------------------------------------------------------- */

/* Scratch for a block of rows. */
struct block {
    float *w, *score;      /* ROW_BLOCK x cols */
    double *wd;            /* 2 ROW_BLOCK x cols: w, then w~ */
    double *out;           /* 2 ROW_BLOCK x width: what they give */
    double *panel;         /* PANEL x width: of x or G, in double */
    uint32_t *order, *key; /* cols, 2 cols */
};

static void block_done(struct block *s)
{
    free(s->w);
    free(s->score);
    free(s->wd);
    free(s->out);
    free(s->panel);
    free(s->order);
    free(s->key);
}

static bool block_init(struct block *s, size_t cols, size_t width)
{
    s->w = malloc(ROW_BLOCK * cols * sizeof *s->w);
    s->score = malloc(ROW_BLOCK * cols * sizeof *s->score);
    s->wd = malloc(2 * ROW_BLOCK * cols * sizeof *s->wd);
    s->out = malloc(2 * ROW_BLOCK * width * sizeof *s->out);
    s->panel = malloc(PANEL * width * sizeof *s->panel);
    s->order = malloc(cols * sizeof *s->order);
    s->key = malloc(2 * cols * sizeof *s->key);
    return s->w && s->score && s->wd && s->out && s->panel && s->order && s->key;
}

static void order_row(struct trim_walk *t, const struct block *s, size_t row, size_t i)
{
    size_t n = t->in->cols;

    prune_order(s->score + i * n, n, s->order, s->key);
    for (size_t k = 0; t->order16 && k < n; k++)
        t->order16[row * n + k] = (uint16_t)s->order[k];
    if (t->order32)
        memcpy(t->order32 + row * n, s->order, n * sizeof *s->order);
}

/* out = [w; w~] x or [w; w~] G, in double, a panel of columns after another. */
static void multiply(const struct trim_input *in, const struct block *s, size_t width)
{
    const float *x = in->gram ? in->gram : in->x;

    for (size_t first = 0; first < in->cols; first += PANEL) {
        size_t count = in->cols - first < PANEL ? in->cols - first : PANEL;

        for (size_t i = 0; i < count * width; i++)
            s->panel[i] = (double)x[first * width + i];
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 2 * ROW_BLOCK, lapack_size(width),
                    lapack_size(count), 1, s->wd + first, lapack_size(in->cols), s->panel,
                    lapack_size(width), first > 0, s->out, lapack_size(width));
    }
}

static void begin_row(struct trim_walk *t, const struct block *s, size_t row, size_t i,
                      size_t width)
{
    const double *y = s->out + i * width, *left = y + ROW_BLOCK * width;
    const double *w = s->wd + i * t->in->cols;
    struct place *p = &t->place[row];

    if (t->in->gram) {
        p->power = product(y, w, width);
        p->b = product(left, w, width);
        p->c = product(left, w + ROW_BLOCK * width, width);
    } else {
        memcpy(t->y + row * width, y, width * sizeof *y);
        memcpy(t->left + row * width, left, width * sizeof *left);
        p->power = product(y, y, width);
        p->b = product(y, left, width);
        p->c = product(left, left, width);
        for (size_t k = 0; k < width; k++)
            p->peak = fmax(p->peak, y[k] * y[k]);
    }
    p->power = fmax(p->power, 0);
}

static int begin(struct trim_walk *t, const struct block *s, size_t start, struct err *err)
{
    const struct trim_input *in = t->in;
    size_t n = in->cols, width = in->gram ? n : in->tokens;

    for (size_t first = 0; first < in->rows; first += ROW_BLOCK) {
        size_t count = in->rows - first < ROW_BLOCK ? in->rows - first : ROW_BLOCK;
        int r = in->read(in->arg, first, count, s->w, s->score, err);

        if (r < 0)
            return r;
        if (count < ROW_BLOCK)
            memset(s->wd, 0, 2 * ROW_BLOCK * n * sizeof *s->wd);
        for (size_t i = 0; i < count; i++) {
            double *w = s->wd + i * n, *rest = w + ROW_BLOCK * n;

            order_row(t, s, first + i, i);
            for (size_t j = 0; j < n; j++)
                rest[j] = w[j] = (double)s->w[i * n + j];
            for (size_t k = 0; k < start; k++)
                rest[s->order[k]] = 0;
        }
        multiply(in, s, width);
        for (size_t i = 0; i < count; i++) {
            t->place[first + i].k = start;
            begin_row(t, s, first + i, i, width);
        }
    }
    return 0;
}

static bool allocate(struct trim_walk *t)
{
    const struct trim_input *in = t->in;
    size_t n = in->cols, weights = in->rows * n;

    t->place = calloc(in->rows, sizeof *t->place);
    t->w = malloc(n * sizeof *t->w);
    if (order_size(n) == sizeof *t->order16)
        t->order16 = malloc(weights * sizeof *t->order16);
    else
        t->order32 = malloc(weights * sizeof *t->order32);
    if (!t->place || !t->w || (!t->order16 && !t->order32))
        return false;
    if (in->gram) {
        t->whole = malloc(n * sizeof *t->whole);
        t->rest = malloc(n * sizeof *t->rest);
        return t->whole && t->rest;
    }
    t->y = malloc(in->rows * in->tokens * sizeof *t->y);
    t->left = malloc(in->rows * in->tokens * sizeof *t->left);
    return t->y && t->left;
}

int trim_walk_new(const struct trim_input *in, size_t start, struct trim_walk **out,
                  struct err *err)
{
    AUTO(trim_walk_freep) struct trim_walk *t = calloc(1, sizeof *t);
    struct block s = {0};
    int r = 0;

    if (t)
        t->in = in;
    if (!t || !allocate(t) || !block_init(&s, in->cols, in->gram ? in->cols : in->tokens))
        r = err_set(err, ERR_NOMEM, "no memory for %.0f bytes of rows",
                    trim_bytes(in->rows, in->cols, in->tokens));
    if (r == 0)
        r = begin(t, &s, start, err);
    block_done(&s);
    if (r == 0)
        *out = TAKE(t);
    return r;
}
