/* width_cut.c: see width_cut.h. */
#include "compute/width_cut.h"

#include <math.h>

#define LEAST_STEPS 8 /* between nothing and the whole width */

void width_cut_squares(const float *w, size_t rows, size_t cols, bool by_columns, double *sum)
{
    for (size_t i = 0; i < rows; i++) {
        const float *row = w + i * cols;
        double s = 0;

        for (size_t j = 0; by_columns && j < cols; j++)
            sum[j] += (double)row[j] * (double)row[j];
        for (size_t j = 0; !by_columns && j < cols; j++)
            s += (double)row[j] * (double)row[j];
        if (!by_columns)
            sum[i] += s;
    }
}

void width_cut_magnitude(const double *gate, const double *up, const double *down, size_t n,
                         double *score)
{
    for (size_t j = 0; j < n; j++)
        score[j] = sqrt(up[j]) * (gate ? sqrt(gate[j]) : 1) * sqrt(down[j]);
}

int width_cut_wanda(const double *sumsq, const double *down, size_t n, double *score,
                    struct err *err)
{
    for (size_t j = 0; j < n; j++)
        if (!(sumsq[j] >= 0) || isinf(sumsq[j]))
            return err_set(err, ERR_INVALID, "a sum of squares is negative or not finite");
    for (size_t j = 0; j < n; j++)
        score[j] = sumsq[j] * down[j];
    return 0;
}

int width_cut_wifv(const double *sumsq, const double *sum, double tokens, const double *down,
                   size_t n, double *score, struct err *err)
{
    if (!(tokens >= 1) || isinf(tokens))
        return err_set(err, ERR_INVALID, "the statistics are of no tokens");
    for (size_t j = 0; j < n; j++)
        if (!(sumsq[j] >= 0) || isinf(sumsq[j]) || !isfinite(sum[j]))
            return err_set(err, ERR_INVALID, "a sum of squares is negative or not finite");
    for (size_t j = 0; j < n; j++) {
        double mean = sum[j] / tokens;

        score[j] = fmax(sumsq[j] / tokens - mean * mean, 0) * down[j];
    }
    return 0;
}

uint64_t width_cut_multiple(uint64_t of)
{
    uint64_t m = 64;

    while (of % m || (m > 1 && of / m < LEAST_STEPS))
        m /= 2;
    return m;
}

uint64_t width_cut_kept(uint64_t of, double sparsity, uint64_t multiple)
{
    double all = (double)of, want = all * (1 - sparsity);
    double kept = fmax(floor(want / (double)multiple + 0.5), 1) * (double)multiple;

    return kept >= all || all - want < fabs(kept - want) ? of : (uint64_t)kept;
}
