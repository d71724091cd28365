/* correct.h: what ADMM and ALPS share.
 *
 * Both look for sparse weights near the given ones W in the metric of the inputs, in coordinates in
 * which each input has norm 1: W^ = W D, H^ = D^-1 H D^-1. They alternate between weights that fit
 * (a solve with H^ + rho I) and the nearest weights that are sparse. With x = b + u, where b is the
 * solve's result and u the scaled multiplier, u is x where weights are pruned and 0 elsewhere, and
 * the sparse weights are the rest of x: one matrix and a mask are the whole state.
 */
#ifndef SPECTRALD_CORRECT_H
#define SPECTRALD_CORRECT_H

#include "compute/prune.h"

/* What pruning with correction tells of itself. */
struct correct_result {
    uint64_t pruned;
    size_t n_dead;       /* inputs that were never active */
    double error;        /* 1/2 tr(D H D^T), D the change, H damped by CORRECT_ERROR_DAMPING */
    unsigned iterations; /* of ADMM */
    double rho;          /* at the end */
};

/* As SparseGPT damps by default, so that errors can be compared. */
#define CORRECT_ERROR_DAMPING 0.01

struct correct {
    size_t rows, cols;
    const struct prune_options *opt;
    const float *w; /* as it was */
    float *norm;    /* cols: the diagonal of D */
    float *h;       /* H^, cols x cols, symmetric */
    float *target;  /* rows x cols: W^ H^ */
    float *x;       /* rows x cols */
    float *a, *b;   /* rows x cols: scratch */
    float *line;    /* cols: scratch */
    uint8_t *mask;  /* the caller's */
    double mean;    /* of the diagonal of H */
    size_t n_dead;
};

/* Allocate all but the mask; norm and h come from H = scale * gram (n x n), plus `damping` times
 * the mean of its diagonal; gram becomes D^-1 H D^-1 in double. ERR_NOMEM; ERR_INVALID: a negative
 * or no positive diagonal element. */
int correct_begin(struct correct *c, double *gram, double scale, double damping, struct err *err);
void correct_done(struct correct *c);

/* target = W^ (H^ + shift I), x = W^. */
void correct_aim(struct correct *c, float shift);

/* The mask of the lowest |x|: of the part `share` of the weights that go in the end (1 = all). */
int correct_choose(struct correct *c, double share, struct err *err);

/* x: what was pruned of it, u, is 0 or multiplied. */
void correct_scale_pruned(struct correct *c, float factor);

/* One solve and one step of the multiplier; k: (H^ + shift I + rho I)^-1, upper triangle. */
void correct_step(struct correct *c, const float *k, float rho);

/* out = in * symmetric, rows x cols; symmetric: upper triangle, row-major. */
void correct_multiply(const struct correct *c, const float *in, const float *symmetric, float *out);

/* The sparse weights, D undone, to w (c->w, no longer const to its owner); *out is filled in, but
 * for iterations and rho. `shift`: what H lacks of its damping in the error. */
void correct_finish(struct correct *c, float *w, double shift, struct correct_result *out);

/* n doubles become floats in the same place. */
void correct_compact(double *v, size_t n);

static inline bool correct_is_pruned(const struct correct *c, size_t row, size_t col)
{
    return c->mask[row * ((c->cols + 7) / 8) + (col >> 3)] >> (col & 7) & 1;
}

#endif
