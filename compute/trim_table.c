/* trim_table.c: see trim_table.h.
 *
 * For each removal the two numbers change by -w (y.x_j) and -2 w (y~.x_j) + w^2 |x_j|^2. The
 * changes are kept as floats, the numbers themselves as doubles every so often: 8 bytes a weight,
 * and the sums are as good as doubles, since a change is small against them.
 */
#include "compute/trim_table.h"

#include "compute/lapack.h"
#include "compute/prune_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EVERY     64 /* removals between two exact numbers */
#define ROW_BLOCK 64 /* rows whose outputs are formed together */

struct mark {
    double b, c;
};

struct change {
    float b, c;
};

struct trim_table {
    size_t rows, cols, marks; /* marks of a row */
    double *power, *peak;
    struct mark *mark;     /* rows x marks */
    struct change *change; /* rows x cols */
};

/* Scratch of the walk. */
struct walk {
    const struct trim_input *in;
    double *y;       /* ROW_BLOCK x tokens, or x cols: Y, or W G */
    float *wb;       /* ROW_BLOCK x cols: y.x_j */
    double *left;    /* y~, or G w~ */
    double *x2;      /* cols: |x_j|^2 */
    uint32_t *order; /* cols; and twice that for sorting */
    uint32_t *key;
    double *wd, *xd; /* a row block of w in double; x in double */
};

double trim_bytes(size_t rows, size_t cols, size_t tokens)
{
    double weights = (double)rows * (double)cols, width = (double)(tokens ? tokens : cols);

    return weights * (sizeof(struct change) + (double)sizeof(struct mark) / EVERY) +
           (double)cols * width * sizeof(double) + ROW_BLOCK * (width * 8 + (double)cols * 12);
}

void trim_table_free(struct trim_table *t)
{
    if (!t)
        return;
    free(t->power);
    free(t->peak);
    free(t->mark);
    free(t->change);
    free(t);
}

double trim_table_power(const struct trim_table *t, size_t row)
{
    return t->power[row];
}

double trim_table_peak(const struct trim_table *t, size_t row)
{
    return t->peak[row];
}

void trim_table_at(const struct trim_table *t, size_t row, size_t k, double *b, double *c)
{
    const struct mark *m = &t->mark[row * t->marks + k / EVERY];
    const struct change *d = &t->change[row * t->cols + k / EVERY * EVERY];
    double sum_b = m->b, sum_c = m->c;

    for (size_t i = 0; i < k % EVERY; i++) {
        sum_b += (double)d[i].b;
        sum_c += (double)d[i].c;
    }
    *b = sum_b;
    *c = sum_c;
}

/* --- the walk -------------------------------------------------------------------------------- */

/* dot = left . x, and left -= w x. */
#define DEFINE_STEP(name, target)                                                                  \
    target static double name(double *restrict left, const float *restrict x, size_t n, double w)  \
    {                                                                                              \
        double sum[16] = {0}, total = 0;                                                           \
        size_t i = 0;                                                                              \
                                                                                                   \
        for (; i + 16 <= n; i += 16)                                                               \
            for (size_t k = 0; k < 16; k++) {                                                      \
                double v = (double)x[i + k];                                                       \
                                                                                                   \
                sum[k] += left[i + k] * v;                                                         \
                left[i + k] -= w * v;                                                              \
            }                                                                                      \
        for (; i < n; i++) {                                                                       \
            sum[0] += left[i] * (double)x[i];                                                      \
            left[i] -= w * (double)x[i];                                                           \
        }                                                                                          \
        for (size_t k = 0; k < 16; k++)                                                            \
            total += sum[k];                                                                       \
        return total;                                                                              \
    }

#if defined(__x86_64__)
DEFINE_STEP(step_avx512, __attribute__((target("avx512f,fma"))))
DEFINE_STEP(step_avx2, __attribute__((target("avx2,fma"))))
#endif
DEFINE_STEP(step_generic, )

typedef double step_fn(double *restrict left, const float *restrict x, size_t n, double w);

static step_fn *choose_step(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return step_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return step_avx2;
#endif
    return step_generic;
}

static void note(struct trim_table *t, size_t row, size_t k, double b, double c)
{
    if (k % EVERY == 0)
        t->mark[row * t->marks + k / EVERY] = (struct mark){b, c};
}

/* Row `row` of the matrix, number `at` of its block; left holds y on entry. */
static void walk_row(struct trim_table *t, const struct walk *w, size_t row, size_t at,
                     step_fn *step)
{
    const struct trim_input *in = w->in;
    const float *weight = in->w + row * t->cols, *wb = w->wb + at * t->cols;
    double b = t->power[row], c = b;

    prune_order(in->score + row * t->cols, t->cols, w->order, w->key);
    for (size_t k = 0; k < t->cols; k++) {
        size_t j = w->order[k], next = w->order[k + 1 < t->cols ? k + 1 : k];
        double wj = (double)weight[j], dot;
        struct change *d = &t->change[row * t->cols + k];

        note(t, row, k, b, c);
        if (in->gram) { /* left is G w~ */
            dot = w->left[j];
            (void)step(w->left, in->gram + j * t->cols, t->cols, wj);
        } else {
            for (size_t i = 0; i < in->tokens; i += 16)
                __builtin_prefetch(in->x + next * in->tokens + i);
            dot = step(w->left, in->x + j * in->tokens, in->tokens, wj);
        }
        *d = (struct change){(float)(-wj * (double)wb[j]),
                             (float)(wj * wj * w->x2[j] - 2 * wj * dot)};
        b += (double)d->b;
        c += (double)d->c;
    }
    note(t, row, t->cols, b, c);
}

/* --- blocks of rows -------------------------------------------------------------------------- */

static void to_double(const float *from, size_t n, double *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (double)from[i];
}

/* y (or W G) of a block of rows, |y|^2, and y.x_j for every column. */
static void outputs(struct trim_table *t, const struct walk *w, size_t first, size_t count)
{
    const struct trim_input *in = w->in;
    size_t width = in->gram ? t->cols : in->tokens;

    to_double(in->w + first * t->cols, count * t->cols, w->wd);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, lapack_size(count), lapack_size(width),
                lapack_size(t->cols), 1, w->wd, lapack_size(t->cols), w->xd, lapack_size(width), 0,
                w->y, lapack_size(width));
    for (size_t i = 0; i < count; i++) {
        const double *y = w->y + i * width;
        double power = 0, peak = 0;

        for (size_t k = 0; k < width; k++) {
            power += y[k] * (in->gram ? w->wd[i * t->cols + k] : y[k]);
            peak = fmax(peak, y[k] * y[k]);
        }
        t->power[first + i] = fmax(power, 0);
        t->peak[first + i] = in->gram ? 0 : peak;
    }
    if (in->gram) {
        for (size_t i = 0; i < count * t->cols; i++)
            w->wb[i] = (float)w->y[i];
        return;
    }
    /* The outputs again as floats, in the place of w in double: there are no more of them. */
    float *yf = (float *)w->wd;
    for (size_t i = 0; i < count * width; i++)
        yf[i] = (float)w->y[i];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, lapack_size(count), lapack_size(t->cols),
                lapack_size(width), 1, yf, lapack_size(width), in->x, lapack_size(width), 0, w->wb,
                lapack_size(t->cols));
}

static void walk_all(struct trim_table *t, const struct walk *w)
{
    size_t width = w->in->gram ? t->cols : w->in->tokens;
    step_fn *step = choose_step();

    for (size_t first = 0; first < t->rows; first += ROW_BLOCK) {
        size_t count = t->rows - first < ROW_BLOCK ? t->rows - first : ROW_BLOCK;

        outputs(t, w, first, count);
        for (size_t i = 0; i < count; i++) {
            memcpy(w->left, w->y + i * width, width * sizeof *w->left);
            walk_row(t, w, first + i, i, step);
        }
    }
}

/* --- memory ---------------------------------------------------------------------------------- */

static void walk_done(struct walk *w)
{
    free(w->y);
    free(w->wb);
    free(w->left);
    free(w->x2);
    free(w->order);
    free(w->key);
    free(w->wd);
    free(w->xd);
}

static bool walk_init(struct walk *w, const struct trim_input *in)
{
    size_t width = in->gram ? in->cols : in->tokens;
    size_t widest = width > in->cols ? width : in->cols;

    *w = (struct walk){.in = in};
    w->y = malloc(ROW_BLOCK * width * sizeof *w->y);
    w->wb = malloc(ROW_BLOCK * in->cols * sizeof *w->wb);
    w->left = malloc(width * sizeof *w->left);
    w->x2 = malloc(in->cols * sizeof *w->x2);
    w->order = malloc(in->cols * sizeof *w->order);
    w->key = malloc(2 * in->cols * sizeof *w->key);
    w->wd = malloc(ROW_BLOCK * widest * sizeof *w->wd);
    w->xd = malloc(in->cols * width * sizeof *w->xd);
    if (!w->y || !w->wb || !w->left || !w->x2 || !w->order || !w->key || !w->wd || !w->xd)
        return false;
    to_double(in->gram ? in->gram : in->x, in->cols * width, w->xd);
    for (size_t j = 0; j < in->cols; j++) {
        w->x2[j] = in->gram ? w->xd[j * width + j] : 0;
        for (size_t k = 0; !in->gram && k < width; k++)
            w->x2[j] += w->xd[j * width + k] * w->xd[j * width + k];
    }
    return true;
}

int trim_table_new(const struct trim_input *in, struct trim_table **out, struct err *err)
{
    AUTO(trim_table_freep) struct trim_table *t = calloc(1, sizeof *t);
    struct walk w = {0};
    bool good = t != NULL;

    if (good) {
        t->rows = in->rows;
        t->cols = in->cols;
        t->marks = in->cols / EVERY + 1;
        t->power = malloc(t->rows * sizeof *t->power);
        t->peak = malloc(t->rows * sizeof *t->peak);
        t->mark = malloc(t->rows * t->marks * sizeof *t->mark);
        t->change = malloc(t->rows * t->cols * sizeof *t->change);
        good = t->power && t->peak && t->mark && t->change && walk_init(&w, in);
    }
    if (good)
        walk_all(t, &w);
    walk_done(&w);
    if (!good)
        return err_set(err, ERR_NOMEM, "no memory for %.0f bytes of row tables",
                       trim_bytes(in->rows, in->cols, in->tokens));
    *out = t;
    t = NULL;
    return 0;
}
