/* prune_score.c: see prune_score.h. */
#include "compute/prune_score.h"

#include <math.h>
#include <string.h>

#define SORT_BITS  11
#define SORT_COUNT (1u << SORT_BITS)

void prune_score_magnitude(const float *w, size_t n, float *score)
{
    for (size_t i = 0; i < n; i++)
        score[i] = fabsf(w[i]);
}

void prune_score_wanda(const float *w, const float *activity, size_t n, float *score)
{
    for (size_t i = 0; i < n; i++)
        score[i] = fabsf(w[i]) * activity[i];
}

void prune_score_ria(const float *w, const float *activity, const float *column, double row,
                     size_t n, float *score)
{
    float by_row = row > 0 ? (float)(1 / row) : 0;

    for (size_t i = 0; i < n; i++) {
        float by_column = column[i] > 0 ? 1 / column[i] : 0;

        score[i] = fabsf(w[i]) * (by_row + by_column) * activity[i];
    }
}

double prune_add_magnitudes(const float *w, size_t n, double *column)
{
    double row = 0;

    for (size_t i = 0; i < n; i++) {
        double m = (double)fabsf(w[i]);

        column[i] += m;
        row += m;
    }
    return row;
}

void prune_outliers(const float *w, const float *activity, size_t stride, size_t n, double limit,
                    double *sum, uint64_t *above)
{
    for (size_t i = 0; i < n; i++) {
        double score = (double)(fabsf(w[i]) * activity[i * stride]);

        *sum += score;
        *above += score > limit;
    }
}

static inline uint32_t digit(float score, unsigned shift)
{
    uint32_t bits;

    memcpy(&bits, &score, sizeof bits);
    return (bits & 0x7fffffffu) >> shift & (SORT_COUNT - 1);
}

/* A non-negative float is ordered as its bits are: counting sort, 11 bits at a time. */
void prune_order(const float *score, size_t n, uint32_t *order, uint32_t *scratch)
{
    uint32_t *from = scratch, *to = scratch + n;

    for (size_t i = 0; i < n; i++)
        from[i] = (uint32_t)i;
    for (unsigned shift = 0; shift < 31; shift += SORT_BITS) {
        uint32_t at[SORT_COUNT] = {0}, sum = 0, *swap = from;

        for (size_t i = 0; i < n; i++)
            at[digit(score[i], shift)]++;
        for (size_t i = 0; i < SORT_COUNT; i++) {
            uint32_t count = at[i];

            at[i] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++)
            to[at[digit(score[from[i]], shift)]++] = from[i];
        from = to;
        to = swap;
    }
    memcpy(order, from, n * sizeof *order);
}

void prune_score_share(float *score, size_t n, uint32_t *order)
{
    double sum = 0, below = 0;

    prune_order(score, n, order, order + n);
    for (size_t i = 0; i < n; i++)
        sum += (double)score[i];
    for (size_t i = 0; i < n; i++) {
        below += (double)score[order[i]];
        score[order[i]] = sum > 0 ? (float)(below / sum) : 0;
    }
}

size_t prune_row_count(size_t row, size_t rows, size_t cols, double sparsity, bool exact)
{
    size_t total = (size_t)((double)cols * (double)rows * sparsity);

    if (!exact)
        return (size_t)((double)cols * sparsity);
    /* Without overflow: total / rows each, and total % rows of them one more. */
    return total / rows + ((row + 1) * (total % rows) / rows - row * (total % rows) / rows);
}
