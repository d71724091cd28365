/* admm.c: see admm.h. */
#include "compute/admm.h"

#include "compute/lapack.h"

/* (H^ + (shift + 1) I)^-1, to floats in the same place; its upper triangle, row-major. */
static int invert(double *h, size_t n, double shift, struct err *err)
{
    lapack_int size = lapack_size(n), info;

    for (size_t i = 0; i < n; i++)
        h[i * n + i] += shift + 1;
    info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', size, h, size);
    if (info == 0)
        info = LAPACKE_dpotri_work(LAPACK_COL_MAJOR, 'L', size, h, size);
    if (info != 0)
        return err_set(err, ERR_NUMERIC, "the Gram matrix is not positive semidefinite");
    correct_compact(h, n * n);
    return 0;
}

static int iterate(struct correct *c, const float *k, struct err *err)
{
    for (int t = 1; t <= ADMM_ITERATIONS; t++) {
        double left = t < ADMM_SCHEDULE ? 1 - (double)t / ADMM_SCHEDULE : 0;
        int r = t <= ADMM_SCHEDULE ? correct_choose(c, 1 - left * left * left, err) : 0;

        if (r < 0)
            return r;
        correct_step(c, k, 1);
    }
    return 0;
}

int admm(float *w, size_t rows, size_t cols, double *gram, double scale,
         const struct prune_options *opt, uint8_t *mask, struct correct_result *out,
         struct err *err)
{
    struct correct c = {.rows = rows, .cols = cols, .opt = opt, .w = w, .mask = mask};
    double shift;
    int r = correct_begin(&c, gram, scale, 0, err);

    if (r < 0)
        return r;
    /* The diagonal is 1 but where an input was never active. */
    shift = ADMM_DAMPING * (double)(cols - c.n_dead) / (double)cols;
    r = invert(gram, cols, shift, err);
    if (r == 0) {
        correct_aim(&c, (float)shift);
        r = iterate(&c, (const float *)gram, err);
    }
    if (r == 0) {
        correct_finish(&c, w, CORRECT_ERROR_DAMPING * c.mean, out);
        out->iterations = ADMM_ITERATIONS;
        out->rho = 1;
    }
    correct_done(&c);
    return r;
}
