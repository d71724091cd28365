/* correct.c: see correct.h. */
#include "compute/correct.h"

#include "compute/lapack.h"
#include "compute/prune_score.h"
#include "compute/prune_select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An input that was never active gets this, of the norm of a mean one: its weights go first. */
#define TINY 1e-8

/* --- memory ---------------------------------------------------------------------------------- */

static float *matrix(size_t rows, size_t cols)
{
    size_t n;

    if (__builtin_mul_overflow(rows, cols, &n) || __builtin_mul_overflow(n, sizeof(float), &n))
        return NULL;
    return malloc(n);
}

void correct_done(struct correct *c)
{
    free(c->norm);
    free(c->h);
    free(c->target);
    free(c->x);
    free(c->a);
    free(c->b);
    free(c->line);
}

static bool allocate(struct correct *c)
{
    c->norm = matrix(1, c->cols);
    c->line = matrix(1, c->cols);
    c->h = matrix(c->cols, c->cols);
    c->target = matrix(c->rows, c->cols);
    c->x = matrix(c->rows, c->cols);
    c->a = matrix(c->rows, c->cols);
    c->b = matrix(c->rows, c->cols);
    return c->norm && c->line && c->h && c->target && c->x && c->a && c->b;
}

void correct_compact(double *v, size_t n)
{
    char *bytes = (char *)v;

    for (size_t i = 0; i < n; i++) {
        double d;
        float f;

        memcpy(&d, bytes + i * sizeof d, sizeof d);
        f = (float)d;
        memcpy(bytes + i * sizeof f, &f, sizeof f);
    }
}

/* --- the inputs ------------------------------------------------------------------------------ */

static int check(struct correct *c, const double *gram, double scale, struct err *err)
{
    size_t n = c->cols;

    for (size_t i = 0; i < n; i++) {
        double d = scale * gram[i * n + i];

        if (!(d >= 0))
            return err_set(err, ERR_INVALID, "diagonal element %zu of the Gram matrix is negative",
                           i);
        c->n_dead += !(d > 0);
        c->mean += d / (double)n;
    }
    return c->n_dead == n ? err_set(err, ERR_INVALID, "the inputs were always zero") : 0;
}

int correct_begin(struct correct *c, double *gram, double scale, double damping, struct err *err)
{
    size_t n = c->cols;
    int r = check(c, gram, scale, err);

    if (r < 0)
        return r;
    if (!allocate(c)) {
        correct_done(c);
        return err_set(err, ERR_NOMEM, "no memory for %zu x %zu weights", c->rows, n);
    }
    for (size_t i = 0; i < n; i++) {
        double d = scale * gram[i * n + i];

        c->norm[i] = (float)sqrt(d > 0 ? d + damping * c->mean : TINY * TINY * c->mean);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double h = scale * gram[i * n + j] / ((double)c->norm[i] * (double)c->norm[j]);
            double damped = damping * c->mean / ((double)c->norm[i] * (double)c->norm[i]);

            gram[i * n + j] = i == j ? fmin(h + damped, 1) : h;
            c->h[i * n + j] = (float)gram[i * n + j];
        }
    return 0;
}

void correct_multiply(const struct correct *c, const float *in, const float *symmetric, float *out)
{
    lapack_int rows = lapack_size(c->rows), cols = lapack_size(c->cols);

    cblas_ssymm(CblasRowMajor, CblasRight, CblasUpper, rows, cols, 1, symmetric, cols, in, cols, 0,
                out, cols);
}

void correct_aim(struct correct *c, float shift)
{
    size_t n = c->cols;

    for (size_t i = 0; i < c->rows * n; i++)
        c->x[i] = c->w[i] * c->norm[i % n];
    correct_multiply(c, c->x, c->h, c->target);
    for (size_t i = 0; shift > 0 && i < c->rows * n; i++)
        c->target[i] += shift * c->x[i];
}

/* --- the mask -------------------------------------------------------------------------------- */

static int choose_of_all(struct correct *c, double share, struct err *err)
{
    AUTO(prune_tally_freep) struct prune_tally *t = prune_tally_new();
    size_t n = c->cols;
    uint64_t k = (uint64_t)((double)c->rows * (double)n * c->opt->sparsity);
    struct prune_cut cut;

    if (!t)
        return err_set(err, ERR_NOMEM, "no memory to count scores");
    k = share < 1 ? (uint64_t)((double)k * share) : k;
    for (int pass = 0; pass < 3; pass++) {
        if (pass == 1)
            prune_tally_pick(t, k);
        if (pass == 2)
            cut = prune_tally_cut(t);
        for (size_t r = 0; r < c->rows; r++) {
            prune_score_magnitude(c->x + r * n, n, c->line);
            if (pass < 2)
                prune_tally_add(t, c->line, n);
            else
                (void)prune_mark(c->line, n, &cut, c->mask + r * prune_mask_bytes(n));
        }
    }
    return 0;
}

static void choose_of_row(struct correct *c, size_t row, double share)
{
    size_t n = c->cols;
    uint8_t *mask = c->mask + row * prune_mask_bytes(n);
    size_t k = prune_row_count(row, c->rows, n, c->opt->sparsity, c->opt->exact);

    prune_score_magnitude(c->x + row * n, n, c->line);
    if (c->opt->selection == PRUNE_N_OF_M)
        prune_lowest_of_groups(c->line, n, c->opt->m, (unsigned)(c->opt->pruned * share), mask);
    else /* c->b is free whenever a mask is made */
        prune_lowest(c->line, n, share < 1 ? (size_t)((double)k * share) : k,
                     (uint32_t *)(void *)c->b, mask);
}

int correct_choose(struct correct *c, double share, struct err *err)
{
    memset(c->mask, 0, c->rows * prune_mask_bytes(c->cols));
    if (c->opt->selection == PRUNE_PER_TENSOR)
        return choose_of_all(c, share, err);
    for (size_t r = 0; r < c->rows; r++)
        choose_of_row(c, r, share);
    return 0;
}

void correct_scale_pruned(struct correct *c, float factor)
{
    for (size_t r = 0, i = 0; r < c->rows; r++)
        for (size_t j = 0; j < c->cols; j++, i++)
            if (correct_is_pruned(c, r, j))
                c->x[i] *= factor;
}

/* --- one step -------------------------------------------------------------------------------- */

void correct_step(struct correct *c, const float *k, float rho)
{
    for (size_t r = 0, i = 0; r < c->rows; r++)
        for (size_t j = 0; j < c->cols; j++, i++)
            c->a[i] = c->target[i] + (correct_is_pruned(c, r, j) ? -rho : rho) * c->x[i];
    correct_multiply(c, c->a, k, c->b);
    for (size_t r = 0, i = 0; r < c->rows; r++)
        for (size_t j = 0; j < c->cols; j++, i++)
            c->x[i] = c->b[i] + (correct_is_pruned(c, r, j) ? c->x[i] : 0);
}

void correct_finish(struct correct *c, float *w, double shift, struct correct_result *out)
{
    double scaled = 0, plain = 0;
    size_t n = c->cols;

    out->pruned = 0;
    for (size_t r = 0, i = 0; r < c->rows; r++)
        for (size_t j = 0; j < n; j++, i++) {
            bool goes = correct_is_pruned(c, r, j);
            float now = goes ? 0 : c->x[i] / c->norm[j];
            double change = (double)now - (double)w[i];

            plain += change * change;
            c->a[i] = (float)(change * (double)c->norm[j]);
            out->pruned += goes;
            w[i] = now;
        }
    correct_multiply(c, c->a, c->h, c->b);
    for (size_t i = 0; i < c->rows * n; i++)
        scaled += (double)c->a[i] * (double)c->b[i];
    out->error = (scaled + shift * plain) / 2;
    out->n_dead = c->n_dead;
}
