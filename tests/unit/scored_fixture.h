/* scored_fixture.h: a matrix and its scores in memory, for trim_input. */
#ifndef SPECTRALD_TEST_SCORED_FIXTURE_H
#define SPECTRALD_TEST_SCORED_FIXTURE_H

#include "compute/trim.h"

#include <string.h>

struct scored {
    const float *w, *score;
    size_t cols;
};

static inline int read_scored(void *arg, size_t first, size_t count, float *w, float *score,
                              struct err *err)
{
    const struct scored *s = arg;

    (void)err;
    memcpy(w, s->w + first * s->cols, count * s->cols * sizeof *w);
    if (score)
        memcpy(score, s->score + first * s->cols, count * s->cols * sizeof *score);
    return 0;
}

static inline int pick_weights(void *arg, size_t row, const uint32_t *col, size_t count, float *w,
                               struct err *err)
{
    const struct scored *s = arg;

    (void)err;
    for (size_t i = 0; i < count; i++)
        w[i] = s->w[row * s->cols + col[i]];
    return 0;
}

#endif
