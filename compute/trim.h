/* trim.h: how sparse each row of a layer becomes, by what its outputs lose.
 *
 * TRIM (arXiv 2505.16743; flobk/TRIM at effcd51): the order in which the weights of a row go is
 * given (Wanda's score or the magnitude), and rows get sparsities of their own, with the layer's
 * mean kept, in the direction in which the similarity of the outputs before and after is best. It
 * is measured on a few tokens. The search is upstream's: ten steps for each learning rate, rates in
 * turn until one is not better than the one before, negative rates when no positive one helps. The
 * result is never worse than the same sparsity for all rows.
 *
 * Upstream multiplies the masked matrix with the tokens for each step. But its measures need only
 * three numbers for each row, |y|^2, y.y~ and |y~|^2, y = W x the outputs and y~ those of the
 * pruned row. And a step changes a row by a few weights: its output is kept and changed by their
 * columns alone.
 */
#ifndef SPECTRALD_TRIM_H
#define SPECTRALD_TRIM_H

#include "common/err.h"

/* What tells how good a layer's outputs still are; larger is better. `flat`: all outputs in one
 * vector; `rows`: the mean over rows. */
enum trim_metric {
    TRIM_COSINE_FLAT = 0, /* cos(Y, Y~) */
    TRIM_COSINE_ROWS,
    TRIM_MSE,       /* -mean (y - y~)^2 */
    TRIM_SNR,       /* 10 log10(mean y^2 / mean (y - y~)^2) */
    TRIM_PSNR_FLAT, /* 10 log10(max y^2 / mean (y - y~)^2): needs tokens */
    TRIM_PSNR_ROWS,
    TRIM_METRIC_COUNT
};

/* What tells how good one row still is. */
enum trim_row_metric { TRIM_ROW_COSINE = 0, TRIM_ROW_MSE, TRIM_ROW_PSNR, TRIM_ROW_METRIC_COUNT };

struct trim_input {
    size_t rows, cols;
    /* Rows [first, first + count): the weights, row-major, finite, and, unless NULL, their scores,
     * finite, >= 0: low ones go first, equal ones in order. 0, or an error that ends it. Called for
     * all rows, then for one at a time; always the same answer. */
    int (*read)(void *arg, size_t first, size_t count, float *w, float *score, struct err *err);
    /* The weights of a row in so many columns. */
    int (*pick)(void *arg, size_t row, const uint32_t *col, size_t count, float *w,
                struct err *err);
    void *arg;
    /* What the outputs are measured on: one of the two, the other NULL. */
    const float *x;    /* cols x tokens, row-major: the inputs of each column */
    size_t tokens;     /* >= 1 */
    const float *gram; /* cols x cols, symmetric: sum of x x^T; the scale does not matter */
};

struct trim_options {
    double target; /* sparsity of the layer, 0 < target <= TRIM_MAX */
    enum trim_metric metric;
    enum trim_row_metric row_metric;
    bool no_negative; /* only positive learning rates */
};

#define TRIM_MAX        0.95 /* no row is asked for more, but for the last shift to the mean */
#define TRIM_ITERATIONS 10

struct trim_result {
    double uniform, best;          /* the layer's metric: the same for all rows, as found */
    double rate;                   /* learning rate of the best; 0 = uniform */
    unsigned iteration;            /* where it was met, from 0 */
    double spread_uniform, spread; /* variance of the row metric (n - 1) before and after */
};

/* Bytes of memory that trim() needs besides its arguments. */
double trim_bytes(size_t rows, size_t cols, size_t tokens);

/* Fill sparsity[rows], whose mean is the target. Upstream prunes trunc(cols * sparsity) weights of
 * a row. O(rows cols (tokens + log cols)) with tokens, O(rows cols^2) with a Gram matrix,
 * and as much again only where rows move by all their weights. ERR_INVALID: the target, or a metric
 * that needs tokens. ERR_NOMEM. */
int trim(const struct trim_input *in, const struct trim_options *opt, float *sparsity,
         struct trim_result *out, struct err *err);

#endif
