/* phase_fixture.h: random matrices of every phase, and the evidence of their spectra. */
#ifndef SPECTRALD_TEST_PHASE_FIXTURE_H
#define SPECTRALD_TEST_PHASE_FIXTURE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compute/lapack.h"
#include "compute/phase.h"
#include "compute/powerlaw.h"
#include "compute/random.h"
#include "compute/symmetric.h"

#define BIT(kind) (1u << (kind))

enum recipe_kind {
    RECIPE_NOISE,   /* exact law of a Gaussian matrix, without a matrix */
    RECIPE_UNIFORM, /* uniform entries */
    RECIPE_SPARSE,  /* nine of ten entries are 0 */
    RECIPE_SPIKES,  /* noise and `a` to `b` directions, c to d times the least visible strength */
    RECIPE_EXPONENTIAL, /* columns of variance 1, a share `a` of them 1 + b times an exponential */
    RECIPE_MIXED,       /* columns of variance 1, a share `a` of them Pareto with exponent b */
    RECIPE_HEAVY,       /* variances of columns are Pareto with exponent a */
    RECIPE_LEVELS,      /* eigenvalues are Pareto with exponent a, no noise */
    RECIPE_STUDENT,     /* entries are Student's t with a degrees of freedom */
    RECIPE_SHIFTED,     /* noise of mean a */
    RECIPE_ELEMENTS,    /* noise and b single entries of a times its largest singular value */
    RECIPE_LOW_RANK,    /* a product of rank a n */
    RECIPE_DEAD,        /* a share a of columns is 0 */
    RECIPE_UNEVEN,      /* noise whose columns' variances are within 1 +- a, and b spikes of c to d
                         * times the least visible strength */
};

struct recipe {
    const char *name;
    enum recipe_kind kind;
    double a, b, c, d;
    unsigned right;      /* phases that are right, as BIT() */
    unsigned right_bare; /* the same without shuffled copies; 0: as with them */
    bool held_out;       /* no threshold was set on it */
};

static const struct recipe recipes[] = {
    {"gaussian", RECIPE_NOISE, 0, 0, 0, 0, BIT(PHASE_RANDOM_LIKE) | BIT(PHASE_BLEEDING_OUT), 0, 0},
    {"uniform", RECIPE_UNIFORM, 0, 0, 0, 0, BIT(PHASE_RANDOM_LIKE) | BIT(PHASE_BLEEDING_OUT), 0, 0},
    {"sparse", RECIPE_SPARSE, 0, 0, 0, 0,
     BIT(PHASE_RANDOM_LIKE) | BIT(PHASE_BLEEDING_OUT) | BIT(PHASE_ELEMENT_TRAP),
     BIT(PHASE_RANDOM_LIKE) | BIT(PHASE_BLEEDING_OUT) | BIT(PHASE_BULK_DECAY), 1},
    {"weak spike", RECIPE_SPIKES, 1, 1, 1.15, 1.15,
     BIT(PHASE_RANDOM_LIKE) | BIT(PHASE_BLEEDING_OUT) | BIT(PHASE_BULK_SPIKES), 0, 0},
    {"1-3 spikes", RECIPE_SPIKES, 1, 3, 2, 4, BIT(PHASE_BULK_SPIKES), 0, 0},
    {"3 % spikes", RECIPE_SPIKES, -.03, -.03, 1.8, 5, BIT(PHASE_BULK_SPIKES), 0, 1},
    {"strong spikes", RECIPE_SPIKES, 1, 5, 5, 20, BIT(PHASE_BULK_SPIKES), 0, 0},
    {"exponential", RECIPE_EXPONENTIAL, .3, 2, 0, 0, BIT(PHASE_BULK_DECAY), 0, 0},
    {"mixed 4.5", RECIPE_MIXED, .25, 4.5, 3, 0, BIT(PHASE_BULK_DECAY), 0, 1},
    {"mixed 5", RECIPE_MIXED, .4, 5, 4, 0, BIT(PHASE_BULK_DECAY), 0, 0},
    {"heavy 1.5", RECIPE_HEAVY, 1.5, 0, 0, 0, BIT(PHASE_HEAVY_TAILED), 0, 0},
    {"heavy 2", RECIPE_HEAVY, 2, 0, 0, 0, BIT(PHASE_HEAVY_TAILED), 0, 0},
    {"heavy 2.5", RECIPE_HEAVY, 2.5, 0, 0, 0, BIT(PHASE_HEAVY_TAILED), 0, 0},
    {"heavy 3", RECIPE_HEAVY, 3, 0, 0, 0, BIT(PHASE_HEAVY_TAILED), 0, 1},
    {"heavy 3.5", RECIPE_HEAVY, 3.5, 0, 0, 0, BIT(PHASE_HEAVY_TAILED) | BIT(PHASE_BULK_DECAY), 0,
     0},
    {"levels 2.2", RECIPE_LEVELS, 2.2, 0, 0, 0, BIT(PHASE_HEAVY_TAILED), 0, 0},
    {"levels 3", RECIPE_LEVELS, 3, 0, 0, 0, BIT(PHASE_HEAVY_TAILED), 0, 1},
    {"student 1.5", RECIPE_STUDENT, 1.5, 0, 0, 0, BIT(PHASE_ELEMENT_TRAP),
     BIT(PHASE_HEAVY_TAILED) | BIT(PHASE_BULK_DECAY), 0},
    {"student 2", RECIPE_STUDENT, 2, 0, 0, 0, BIT(PHASE_ELEMENT_TRAP),
     BIT(PHASE_HEAVY_TAILED) | BIT(PHASE_BULK_DECAY) | BIT(PHASE_BULK_SPIKES), 1},
    {"student 3", RECIPE_STUDENT, 3, 0, 0, 0, BIT(PHASE_ELEMENT_TRAP),
     BIT(PHASE_HEAVY_TAILED) | BIT(PHASE_BULK_DECAY) | BIT(PHASE_BULK_SPIKES), 0},
    {"shifted", RECIPE_SHIFTED, .3, 0, 0, 0, BIT(PHASE_ELEMENT_TRAP), BIT(PHASE_BULK_SPIKES), 0},
    {"few elements", RECIPE_ELEMENTS, 1.5, 3, 0, 0, BIT(PHASE_ELEMENT_TRAP), BIT(PHASE_BULK_SPIKES),
     0},
    {"low rank", RECIPE_LOW_RANK, .7, 0, 0, 0, BIT(PHASE_RANK_COLLAPSE), 0, 0},
    {"dead columns", RECIPE_DEAD, .15, 0, 0, 0, BIT(PHASE_RANK_COLLAPSE), 0, 1},
    {"uneven", RECIPE_UNEVEN, .2, 0, 0, 0,
     BIT(PHASE_RANDOM_LIKE) | BIT(PHASE_BLEEDING_OUT) | BIT(PHASE_BULK_DECAY), 0, 1},
    {"uneven + spikes", RECIPE_UNEVEN, .2, 3, 2, 5, BIT(PHASE_BULK_SPIKES) | BIT(PHASE_BULK_DECAY),
     0, 1},
};
#define RECIPES (sizeof recipes / sizeof *recipes)

/* --- random numbers -------------------------------------------------------------------------- */

/* Gamma, shape k >= 1/2 (Marsaglia and Tsang, ACM TOMS 26, 2000). */
static inline double gamma_number(struct random *r, double k)
{
    double d = k + (k < 1 ? 1 : 0) - 1. / 3, c = 1 / sqrt(9 * d);

    for (;;) {
        double x = random_normal(r), v = 1 + c * x, u = random_uniform_positive(r);

        v = v * v * v;
        if (v > 0 && log(u) < x * x / 2 + d - d * v + d * log(v))
            return d * v * (k < 1 ? pow(random_uniform_positive(r), 1 / k) : 1);
    }
}

static inline double chi_square(struct random *r, double k)
{
    return 2 * gamma_number(r, k / 2);
}

static inline double pareto(struct random *r, double alpha)
{
    return pow(random_uniform_positive(r), -1 / (alpha - 1));
}

static inline int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* --- spectra --------------------------------------------------------------------------------- */

/* Of W'W, W rows x n of independent normal numbers: the exact law, in O(n^2), as that of a
 * bidiagonal matrix of chi numbers (Dumitriu and Edelman, J. Math. Phys. 43, 2002). */
static inline void noise_spectrum(struct random *r, size_t rows, size_t n, double *lambda)
{
    double *e = malloc((n + 1) * sizeof *e), below = 0;

    for (size_t i = 0; i < n; i++) {
        double diagonal = chi_square(r, (double)(rows - i));
        double off = i + 1 < n ? chi_square(r, (double)(n - 1 - i)) : 0;

        lambda[i] = diagonal + below;
        e[i] = sqrt(diagonal * off);
        below = off;
    }
    if (lapack_tridiagonal_eigenvalues(n, lambda, e, NULL) < 0)
        abort();
    free(e);
    for (size_t i = 0; i < n; i++)
        lambda[i] = fmax(lambda[i], 0);
}

/* Of W'W for a matrix in memory, column after column; what rounding makes of zeros is 0. */
static inline void matrix_spectrum(const double *w, size_t rows, size_t n, double *lambda)
{
    double *gram = calloc(n * n, sizeof *gram);

    cblas_dsyrk(CblasColMajor, CblasLower, CblasTrans, lapack_size(n), lapack_size(rows), 1, w,
                lapack_size(rows), 0, gram, lapack_size(n));
    if (symmetric_eigenvalues_double(gram, n, n, n >= 128, lambda, NULL) < 0)
        abort();
    for (size_t i = 0; i < n; i++)
        if (lambda[i] < 1e-13 * lambda[n - 1])
            lambda[i] = 0;
    free(gram);
}

static inline void fill_normal(struct random *r, double *w, size_t count)
{
    for (size_t i = 0; i < count; i++)
        w[i] = random_normal(r);
}

/* Add `strength` sqrt(rows) u v' with random unit vectors. */
static inline void add_spike(struct random *r, double *w, size_t rows, size_t n, double strength)
{
    double *u = malloc((rows + n) * sizeof *u), *v = u + rows;

    fill_normal(r, u, rows + n);
    cblas_dger(CblasColMajor, lapack_size(rows), lapack_size(n),
               strength * sqrt((double)rows) / cblas_dnrm2(lapack_size(rows), u, 1) /
                   cblas_dnrm2(lapack_size(n), v, 1),
               u, 1, v, 1, w, lapack_size(rows));
    free(u);
}

/* Columns of noise with variances of their own. */
static inline void scale_columns(struct random *r, const struct recipe *k, double *w, size_t rows,
                                 size_t n)
{
    for (size_t j = 0; j < n; j++) {
        double variance = 1;

        if (k->kind == RECIPE_HEAVY)
            variance = pareto(r, k->a);
        else if (k->kind == RECIPE_UNEVEN)
            variance = 1 + k->a * (2 * random_uniform(r) - 1);
        else if (random_uniform(r) < k->a)
            variance = k->kind == RECIPE_EXPONENTIAL ? 1 - k->b * log(random_uniform_positive(r))
                       : k->kind == RECIPE_MIXED     ? k->c * pareto(r, k->b)
                                                     : 0;
        cblas_dscal(lapack_size(rows), sqrt(variance), w + j * rows, 1);
    }
}

static inline void fill_entries(struct random *r, const struct recipe *k, double *w, size_t count)
{
    for (size_t i = 0; i < count; i++)
        switch (k->kind) {
        case RECIPE_UNIFORM:
            w[i] = random_uniform(r) - .5;
            break;
        case RECIPE_SPARSE:
            w[i] = random_uniform(r) < .1 ? random_normal(r) : 0;
            break;
        case RECIPE_STUDENT:
            w[i] = random_normal(r) / sqrt(chi_square(r, k->a) / k->a);
            break;
        default:
            w[i] = random_normal(r) + (k->kind == RECIPE_SHIFTED ? k->a : 0);
        }
}

static inline void make_matrix(struct random *r, const struct recipe *k, double *w, size_t rows,
                               size_t n)
{
    double root_q = sqrt((double)rows / (double)n), edge = sqrt((double)rows) + sqrt((double)n);

    if (k->kind == RECIPE_LOW_RANK) {
        size_t rank = (size_t)(k->a * (double)n);
        double *a = malloc(rank * (rows + n) * sizeof *a);

        fill_normal(r, a, rank * (rows + n));
        cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, lapack_size(rows), lapack_size(n),
                    lapack_size(rank), 1, a, lapack_size(rows), a + rank * rows, lapack_size(n), 0,
                    w, lapack_size(rows));
        free(a);
        return;
    }
    fill_entries(r, k, w, rows * n);
    if (k->kind == RECIPE_EXPONENTIAL || k->kind == RECIPE_MIXED || k->kind == RECIPE_HEAVY ||
        k->kind == RECIPE_DEAD || k->kind == RECIPE_UNEVEN)
        scale_columns(r, k, w, rows, n);
    if (k->kind == RECIPE_SPIKES || k->kind == RECIPE_UNEVEN) {
        bool uneven = k->kind == RECIPE_UNEVEN;
        double least = uneven ? k->b : k->a < 0 ? ceil(-k->a * (double)n) : k->a;
        double more = uneven ? 0 : k->b - k->a;
        double count = least + (more > 0 ? floor(random_uniform(r) * (more + 1)) : 0);

        for (double i = 0; i < count; i++)
            add_spike(r, w, rows, n, (k->c + (k->d - k->c) * random_uniform(r)) / sqrt(root_q));
    }
    if (k->kind == RECIPE_ELEMENTS)
        for (double i = 0; i < k->b; i++)
            w[random_below(r, rows * n)] = k->a * edge;
}

/* Ascending eigenvalues of W'W, n of them; *null_largest: the mean largest eigenvalue of `copies`
 * shuffled copies, NaN for none. */
static inline void make_spectrum(struct random *r, const struct recipe *k, size_t rows, size_t n,
                                 unsigned copies, double *lambda, double *null_largest)
{
    double *w = NULL, *null = malloc(n * sizeof *null), sum = 0, total = 0;

    if (k->kind == RECIPE_NOISE) {
        noise_spectrum(r, rows, n, lambda);
    } else if (k->kind == RECIPE_LEVELS) {
        for (size_t i = 0; i < n; i++)
            lambda[i] = pareto(r, k->a);
        qsort(lambda, n, sizeof *lambda, ascending);
    } else {
        w = malloc(rows * n * sizeof *w);
        make_matrix(r, k, w, rows, n);
        matrix_spectrum(w, rows, n, lambda);
    }
    for (size_t i = 0; i < n; i++)
        total += lambda[i];
    for (unsigned c = 0; c < copies; c++) {
        /* Entries of what is made without a matrix are as good as normal. */
        if (w) {
            random_shuffle(r, w, rows * n, sizeof *w);
            matrix_spectrum(w, rows, n, null);
            sum += null[n - 1];
        } else {
            noise_spectrum(r, rows, n, null);
            sum += null[n - 1] * total / (double)(rows * n);
        }
    }
    *null_largest = copies ? sum / copies : NAN;
    free(null);
    free(w);
}

/* --- evidence -------------------------------------------------------------------------------- */

/* Everything that phase_classify() wants; *mp is the caller's, input->mp points to it. */
static inline void make_input(const double *lambda, size_t rows, size_t n, double null_largest,
                              struct mp_fit *mp, struct phase_input *input)
{
    const struct mp_fit_options robust = {.method = MP_FIT_ROBUST};
    double *work = malloc(2 * n * sizeof *work);
    struct powerlaw_fit f = {.alpha = NAN, .D = NAN};
    size_t zeros = 0;

    *input = (struct phase_input){
        .n = n, .n_matrices = 1, .largest = lambda[n - 1], .null_largest = null_largest};
    input->mp = mp_fit(lambda, n, rows, n, &robust, work, mp, NULL) < 0 ? NULL : mp;
    while (zeros < n && lambda[zeros] <= 1e-10 * lambda[n - 1])
        zeros++;
    if (powerlaw_fit(lambda + zeros, n - zeros, work, &f, NULL) < 0)
        f = (struct powerlaw_fit){.alpha = NAN, .D = NAN};
    input->alpha = f.alpha;
    input->D = f.D;
    input->n_tail = f.n_tail;
    free(work);
}

#endif
