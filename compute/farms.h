/* farms.h: the exponent of equally shaped windows of a matrix (FARMS).
 *
 * The bulk of a spectrum depends on the aspect ratio of its matrix, so exponents of layers of
 * different shapes do not compare. FARMS (Hu et al., "Eigenspectrum Analysis of Neural Networks
 * without Aspect Ratio Bias", arXiv 2506.06280; code LLM_Pruning/lib/sampling.py,
 * Image_Classification/tempbalance_farms.py) pools the eigenvalues of windows of one shape and
 * fits the pool.
 *
 * Linear layers, W rows x cols as stored, k windows for each dimension:
 *
 *     m = min(window rows, rows, cols)         n = floor(m q)          q = columns / rows
 *     dr = max(1, (rows - m) / (k - 1))        Nr = min(k, (rows - m) / dr + 1)
 *     window i starts at row min(i dr, rows - m); the same for columns
 *
 * with integer division: the last rows may stay uncovered. The pool is sigma^2 of all Nr Nc
 * windows, unscaled; one fit. k = 1 is one window at the origin. A window that does not fit
 * (n > cols) is refused; upstream goes on with windows of another shape.
 *
 * Convolutions, O x I x positions: each position's slice is turned to be tall (R x C, R >= C) and
 * cut into R / C groups of h rows, h x w = C x (C // (1 / q)), or (C // q) x C for q > 1, where //
 * is Python's, on doubles (5 // (1 / 0.6) is 2, though 5 * 0.6 is 3), at least 1; pool of a group:
 * sigma^2 / 2 of its window in every slice; the result is the mean over groups. With q > 1 the
 * groups still are R / C, so the last rows do not count. Window rows and k do not matter.
 *
 * Eigenvalues come from Gram matrices on the short side of the windows (symmetric.h), whose
 * error is at most 4 sqrt(order) eps lambda_max. Windows beside one another share the part of the
 * Gram matrix that belongs to the lines they share, so it is formed once for a row of windows
 * ("run"). In double, values up to eps max(m, n) lambda_max of their window are zero and are left
 * out of the fit (upstream keeps them, and an exact zero makes its result infinite). In single,
 * values below the error are counted, not dropped; that is harmless for HILL_MID and HILL_TOP as
 * long as xmin lies above, and not for other rules, which need double.
 *
 * FARMS_FAST solves four fifths of max(Nr, Nc) windows, an even number, instead of Nr Nc, spread so
 * that rows and columns of the grid are represented alike (a Latin hypercube design: McKay,
 * Beckman, Conover, Technometrics 21 (1979) 239), when all would take more than FARMS_EXACT_FLOPS.
 * No random numbers. Its standard error: see farms_fit(). Lanczos quadrature with one probe for
 * each window was tried first: for the same cost its error is ten times as large
 * (docs/farms.md).
 *
 * All functions are re-entrant, use no globals and no threads.
 */
#ifndef SPECTRALD_FARMS_H
#define SPECTRALD_FARMS_H

#include "compute/hill.h"
#include "compute/matrix.h"

/* Parts of cache keys: raise them when any eigenvalue, or any fit of the same ones, may differ in a
 * bit. */
#define FARMS_VERSION     2
#define FARMS_FIT_VERSION 1

#define FARMS_ROWS_MIN    2
#define FARMS_ROWS_MAX    8192
#define FARMS_WINDOWS_MAX 64
#define FARMS_Q_MIN       0.01
#define FARMS_Q_MAX       100.0

/* Fast mode solves every window below this: about a second. */
#define FARMS_EXACT_FLOPS 2e10

/* Upstream leaves out layers with fewer eigenvalues. */
#define FARMS_EVALS_MIN 5

enum farms_mode { FARMS_EXACT = 0, FARMS_FAST = 1 };

struct farms_params {
    size_t rows;    /* window rows, FARMS_ROWS_MIN ... FARMS_ROWS_MAX; the daemon's default 2000 */
    double q;       /* window columns / window rows, FARMS_Q_MIN ... FARMS_Q_MAX */
    size_t windows; /* for each dimension, 1 ... FARMS_WINDOWS_MAX */
    enum hill_rule fit; /* HILL_TOP is AlphaQ's (hill.h), without D */
    enum farms_mode mode;
    enum precision precision;
};

/* ERR_INVALID, naming the member and the limit; also for FARMS_FAST with another fit than HILL_MID,
 * and for single precision with one that depends on the smallest values. */
int farms_params_check(const struct farms_params *p, struct err *err);

/* A stored matrix, or all slices of a convolution. */
struct farms_source {
    /* Write the n_rows x n_cols box at (row, col) of slice `slice`, row by row, to `out` in
     * `precision`. Adds the NaN and infinite elements met to *n_nonfinite. 0, or an error code that
     * is passed up. */
    int (*read)(void *arg, size_t slice, size_t row, size_t n_rows, size_t col, size_t n_cols,
                enum precision precision, void *out, uint64_t *n_nonfinite, struct err *err);
    void *arg; /* borrowed */
};

/* What will be computed: a value, made by farms_plan_linear() or farms_plan_conv(), a function of
 * shape and parameters alone. Read freely. */
struct farms_plan {
    struct farms_params params;
    bool conv, sampled;       /* sampled: not every window is solved */
    bool cut;                 /* the last strip makes two runs */
    bool along_rows;          /* Gram matrices are over rows of the window (order <= length) */
    size_t order, length;     /* short and long side of a window */
    size_t n_order, n_length; /* windows along either side; conv: groups, slices */
    size_t step_order, step_length;
    size_t last_order, last_length; /* largest start */
    size_t n_runs;                  /* independent pieces of work */
};

/* ERR_INVALID when the parameters are out of range or the window does not fit. */
int farms_plan_linear(const struct farms_params *p, size_t rows, size_t cols,
                      struct farms_plan *out, struct err *err);

/* out_channels x in_channels at `positions` kernel positions. */
int farms_plan_conv(const struct farms_params *p, size_t out_channels, size_t in_channels,
                    size_t positions, struct farms_plan *out, struct err *err);

/* Eigenvalues that a run, and all runs, yield. */
size_t farms_run_values(const struct farms_plan *plan, size_t run);
size_t farms_values(const struct farms_plan *plan);

/* Where in the grid the window of run `run` of a sampled plan is. */
void farms_sampled_window(const struct farms_plan *plan, size_t run, size_t *along_order,
                          size_t *along_length);

/* Estimates: operations of one run (Gram matrices, 4/3 n^3 for each window), its peak bytes. */
double farms_run_flops(const struct farms_plan *plan, size_t run);
double farms_run_bytes(const struct farms_plan *plan, size_t run);

struct farms_run_info {
    double error_bound;   /* absolute, of every eigenvalue of the run */
    uint64_t n_nonfinite; /* NaN and infinite weights met; when > 0, lambda is not written */
};

/* Eigenvalues of run `run` < plan->n_runs, window by window, each ascending, into lambda (the
 * caller's, farms_run_values()). Values that count as zero are 0. With n_nonfinite > 0 returns 0.
 * ERR_NOMEM; ERR_NUMERIC when an iteration did not converge, or squares of the weights leave the
 * range of double; what src->read returned. */
int farms_run(const struct farms_plan *plan, size_t run, const struct farms_source *src,
              double *lambda, struct farms_run_info *info, struct err *err);

struct farms_result {
    enum hill_status status;
    bool unresolved;       /* single precision only: xmin lies below the error; alpha, D are NaN */
    double alpha, D;       /* NaN unless status is HILL_OK; D also for HILL_TOP */
    double xmin;           /* of the pool; of a convolution the mean */
    double standard_error; /* of alpha against all windows: 0 when all were solved, NaN when fewer
                            * than five were */
    size_t n_evals;        /* of the pool, zeros included */
    size_t n_zero;
};

/* Fit the pool: lambda holds the values of all runs in order (farms_values()), and is destroyed.
 * error_bound: the largest of the runs.
 *
 * The standard error of a sampled alpha is that of the mean of the windows' influence on alpha (the
 * derivative of the mid rule with respect to the pooled distribution), about cubics of the
 * window's row and column, with the finite-population factor sqrt(1 - solved / all). The design
 * balances every function of the row and of the column, the cubics fewer: rather too large.
 * ERR_NOMEM, ERR_INVALID as hill_fit(). */
int farms_fit(const struct farms_plan *plan, double *lambda, double error_bound,
              struct farms_result *out, struct err *err);

#endif
