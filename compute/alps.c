/* alps.c: see alps.h. */
#include "compute/alps.h"

#include "compute/lapack.h"
#include "compute/prune_select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RHO_BEGIN 0.1
#define RHO_LEAST 1e-6
#define RHO_MOST  1e6
#define LOOK      3  /* iterations between two looks at the mask */
#define SETTLE    30 /* iterations before small changes end it */
#define POLISHED  1e-4

struct alps {
    struct correct c;
    double *values;  /* eigenvalues of H^ */
    const float *q;  /* eigenvectors, one in each row */
    float *scaled;   /* cols x cols: scratch */
    float *k;        /* (H^ + rho I)^-1, upper triangle */
    uint8_t *before; /* the mask when it was looked at last */
    double rho;
    bool grown;
};

/* --- one decomposition for all penalties ----------------------------------------------------- */

static int decompose(double *h, size_t n, double *values, struct err *err)
{
    lapack_int size = lapack_size(n), isize, info, iwork_size = 0;
    double work_size = 0;
    AUTO(freep) double *work = NULL;
    AUTO(freep) lapack_int *iwork = NULL;

    info = LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'V', 'L', size, h, size, values, &work_size, -1,
                               &iwork_size, -1);
    if (info != 0 || work_size > INT32_MAX)
        return err_set(err, ERR_LIMIT, "a Gram matrix of %zu columns is too large", n);
    isize = iwork_size;
    work = malloc((size_t)work_size * sizeof *work);
    iwork = malloc((size_t)isize * sizeof *iwork);
    if (!work || !iwork)
        return err_set(err, ERR_NOMEM, "no memory for the eigenvectors of %zu columns", n);
    info = LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'V', 'L', size, h, size, values, work,
                               (lapack_int)work_size, iwork, isize);
    if (info != 0)
        return err_set(err, ERR_NUMERIC, "the eigendecomposition does not converge");
    if (!(values[0] > 0))
        return err_set(err, ERR_NUMERIC, "the Gram matrix is not positive definite");
    return 0;
}

static void invert(struct alps *a)
{
    size_t n = a->c.cols;

    for (size_t i = 0; i < n; i++) {
        float factor = (float)(1 / sqrt(a->values[i] + a->rho));

        for (size_t j = 0; j < n; j++)
            a->scaled[i * n + j] = factor * a->q[i * n + j];
    }
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, lapack_size(n), lapack_size(n), 1, a->scaled,
                lapack_size(n), 0, a->k, lapack_size(n));
}

/* --- the mask -------------------------------------------------------------------------------- */

static int restart(struct alps *a, struct err *err)
{
    struct correct *c = &a->c;
    int r;

    for (size_t i = 0; i < c->rows * c->cols; i++)
        c->x[i] = c->w[i] * c->norm[i % c->cols];
    r = correct_choose(c, 1, err);
    correct_scale_pruned(c, 0);
    memcpy(a->before, c->mask, c->rows * prune_mask_bytes(c->cols));
    return r;
}

static void set_rho(struct alps *a, double rho)
{
    double old = a->rho;

    a->rho = fmin(fmax(rho, RHO_LEAST), RHO_MOST);
    if (a->rho == old)
        return;
    /* The multiplier stays what it is; x has it divided by rho. */
    correct_scale_pruned(&a->c, (float)(old / a->rho));
    invert(a);
}

/* How many weights are in one mask and not in the other; they are alike from now on. */
static double mask_change(struct alps *a, double *kept)
{
    size_t bytes = a->c.rows * prune_mask_bytes(a->c.cols);
    uint64_t differ = 0, pruned = 0;

    for (size_t i = 0; i < bytes; i++) {
        differ += (uint64_t)__builtin_popcount(a->c.mask[i] ^ a->before[i]);
        pruned += (uint64_t)__builtin_popcount(a->c.mask[i]);
    }
    memcpy(a->before, a->c.mask, bytes);
    *kept = fmax((double)a->c.rows * (double)a->c.cols - (double)pruned, 1);
    return (double)differ;
}

/* 1: it is over. */
static int look(struct alps *a, unsigned iteration, struct err *err)
{
    double kept, change = mask_change(a, &kept), share = change / kept;

    if (change == 0 && a->grown)
        return 1;
    if (iteration >= SETTLE && share < 3e-4 && a->grown)
        return 1;
    if (share > 0.005 || (change > 0 && a->grown)) {
        a->grown = true;
        set_rho(a, a->rho * (share > 0.1 ? 1.3 : share > 0.005 ? 1.2 : 1.1));
        return 0;
    }
    if (a->rho <= RHO_LEAST)
        return 1;
    set_rho(a, a->rho / 5);
    return restart(a, err);
}

static int settle(struct alps *a, struct correct_result *out, struct err *err)
{
    int r = restart(a, err);

    for (out->iterations = 0; r == 0 && out->iterations < ALPS_ITERATIONS;) {
        correct_step(&a->c, a->k, (float)a->rho);
        r = correct_choose(&a->c, 1, err);
        if (r == 0 && ++out->iterations % LOOK == 0)
            r = look(a, out->iterations, err);
    }
    out->rho = a->rho;
    return r < 0 ? r : 0;
}

/* --- conjugate gradients on the mask --------------------------------------------------------- */

static void clear_pruned(const struct correct *c, float *v)
{
    for (size_t r = 0, i = 0; r < c->rows; r++)
        for (size_t j = 0; j < c->cols; j++, i++)
            if (correct_is_pruned(c, r, j))
                v[i] = 0;
}

static double dot(const float *x, const float *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

/* x += a p, residual -= a H p, p = residual + b p; false when the row is good already. */
static bool polish_row(float *x, float *residual, float *p, const float *hp, size_t n, double goal)
{
    double before = dot(residual, residual, n), curve = dot(p, hp, n), after;
    float a, b;

    if (!(before > goal) || !(curve > 0))
        return false;
    a = (float)(before / curve);
    for (size_t j = 0; j < n; j++) {
        x[j] += a * p[j];
        residual[j] -= a * hp[j];
    }
    after = dot(residual, residual, n);
    b = (float)(after / before);
    for (size_t j = 0; j < n; j++)
        p[j] = residual[j] + b * p[j];
    return true;
}

/* target becomes the residual; c->b takes the directions. */
static int polish(struct correct *c, struct err *err)
{
    size_t n = c->cols, all = c->rows * n;
    AUTO(freep) double *goal = malloc(c->rows * sizeof *goal);
    float *p = c->b;
    bool more = true;

    if (!goal)
        return err_set(err, ERR_NOMEM, "no memory for %zu rows", c->rows);
    clear_pruned(c, c->target);
    for (size_t r = 0; r < c->rows; r++)
        goal[r] = POLISHED * POLISHED * dot(c->target + r * n, c->target + r * n, n);
    correct_multiply(c, c->x, c->h, c->a);
    clear_pruned(c, c->a);
    for (size_t i = 0; i < all; i++)
        p[i] = c->target[i] -= c->a[i];
    for (int step = 0; more && step < ALPS_POLISH; step++) {
        more = false;
        correct_multiply(c, p, c->h, c->a);
        clear_pruned(c, c->a);
        for (size_t r = 0; r < c->rows; r++)
            more |=
                polish_row(c->x + r * n, c->target + r * n, p + r * n, c->a + r * n, n, goal[r]);
    }
    return 0;
}

/* --- all ------------------------------------------------------------------------------------- */

static int find_mask(struct alps *a, double *gram, struct correct_result *out, struct err *err)
{
    size_t n = a->c.cols;
    AUTO(freep) double *values = malloc(n * sizeof *values);
    AUTO(freep) uint8_t *before = malloc(a->c.rows * prune_mask_bytes(n));
    AUTO(freep) float *k = NULL;
    int r;

    if (!values || !before)
        return err_set(err, ERR_NOMEM, "no memory for %zu x %zu weights", a->c.rows, n);
    r = decompose(gram, n, values, err);
    if (r < 0)
        return r;
    correct_compact(gram, n * n);
    k = malloc(n * n * sizeof *k);
    if (!k)
        return err_set(err, ERR_NOMEM, "no memory for %zu columns", n);
    a->values = values;
    a->before = before;
    a->q = (const float *)gram;
    a->scaled = (float *)gram + n * n;
    a->k = k;
    a->rho = RHO_BEGIN;
    invert(a);
    correct_aim(&a->c, 0);
    return settle(a, out, err);
}

int alps(float *w, size_t rows, size_t cols, double *gram, double scale, double damping,
         const struct prune_options *opt, uint8_t *mask, struct correct_result *out,
         struct err *err)
{
    struct alps a = {.c = {.rows = rows, .cols = cols, .opt = opt, .w = w, .mask = mask}};
    int r = correct_begin(&a.c, gram, scale, damping, err);

    if (r < 0)
        return r;
    r = find_mask(&a, gram, out, err);
    if (r == 0) {
        correct_scale_pruned(&a.c, 0);
        r = polish(&a.c, err);
    }
    if (r == 0)
        correct_finish(&a.c, w, (CORRECT_ERROR_DAMPING - damping) * a.c.mean, out);
    correct_done(&a.c);
    return r;
}
