/* spectrum.c: lambda(W'W) from a Gram matrix, or through QR where that is not accurate enough.
 *
 *   G = sum over blocks of lines X_b X_b'        n x n, lower triangle, double
 *   G = Q T Q', T tridiagonal                    two-stage reduction (one-stage for small n)
 *   lambda = eigenvalues of T                    dsterf
 *
 * Accuracy. Forming G and reducing it are backward stable: the computed eigenvalues are those of
 * G + E with |E| <= p(n) eps |G|. With the modest growth seen in practice (p(n) about sqrt(n)),
 * the bound stated is 4 sqrt(n) eps lambda_max, and never less than 16 eps lambda_max; tests
 * check it against matrices of known spectrum. Eigenvalues below it carry no information, so the
 * matrix is then redone: R from a QR factorisation of line blocks, lambda = sigma(R)^2, whose
 * error is |d lambda| <= 2 sigma d sigma with d sigma <= 4 sqrt(n) eps sigma_max.
 *
 * The scale of the data is taken out first by a power of two, so that squares neither overflow
 * nor vanish; it is exact and does not change a bit of ordinary results.
 */
#include "compute/spectrum.h"

#include "compute/lapack.h"
#include "compute/symmetric.h"
#include "compute/tsqr.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES (16u << 20)
#define BLOCK_LINES 512 /* at most; enough for dsyrk to reach its speed */
/* Matrices of more than PARTS_FLOPS are cut into parts of about PART_FLOPS. A test sets others. */
#ifndef PART_FLOPS
#define PART_FLOPS  4e11
#define PARTS_FLOPS 6e11
#define PARTS_N_MIN 2048
#endif

/* Largest |w| whose square times n stays finite, and smallest that keeps its digits. */
#define SAFE_MAX 1e140
#define SAFE_MIN 1e-140

const char *spectrum_method_name(enum spectrum_method m)
{
    static const char *const name[] = {"none", "gram_one_stage", "gram_two_stage", "tsqr_svd"};

    return (unsigned)m < ARRAY_LEN(name) ? name[m] : NULL;
}

const char *spectrum_blas_core(void)
{
    return openblas_get_corename();
}

const char *spectrum_blas_config(void)
{
    return openblas_get_config();
}

double spectrum_flops(size_t n_long, size_t n_short)
{
    double n = (double)n_short, m = (double)n_long;

    return n * n * m + 4.0 / 3.0 * n * n * n;
}

double spectrum_bytes(size_t n_long, size_t n_short)
{
    double n = (double)n_short;

    (void)n_long;
    return 8 * n * (double)spectrum_gram_ld(n_short) + symmetric_bytes(n_short) + 3.0 * BLOCK_BYTES;
}

size_t spectrum_parts(size_t n_long, size_t n_short)
{
    double flops = (double)n_short * (double)n_short * (double)n_long;
    double parts = ceil(flops / PART_FLOPS);

    if (n_short < PARTS_N_MIN || flops < PARTS_FLOPS)
        return 1;
    return parts > SPECTRUM_PARTS_MAX ? SPECTRUM_PARTS_MAX : (size_t)parts;
}

void spectrum_part_range(size_t n_long, size_t parts, size_t part, size_t *first, size_t *count)
{
    size_t each = n_long / parts, extra = n_long % parts;

    *first = part * each + (part < extra ? part : extra);
    *count = each + (part < extra);
}

static int check_shape(const struct matrix_source *src, struct err *err)
{
    if (src->n_short == 0 || src->n_long < src->n_short)
        return err_set(err, ERR_INTERNAL, "a matrix of %zu x %zu", src->n_long, src->n_short);
    if (src->n_short > SPECTRUM_N_MAX)
        return err_set(err, ERR_LIMIT, "the short side has %zu elements, the limit is %d",
                       src->n_short, SPECTRUM_N_MAX);
    return 0;
}

static size_t lines_per_block(size_t n_short)
{
    size_t lines = BLOCK_BYTES / (n_short * sizeof(double));

    return lines < 16 ? 16 : lines > BLOCK_LINES ? BLOCK_LINES : lines;
}

static void *alloc_elements(size_t a, size_t b, size_t size)
{
    size_t n;

    if (__builtin_mul_overflow(a, b, &n) || __builtin_mul_overflow(n, size, &n))
        return NULL;
    return malloc(n ? n : 1);
}

static int no_memory(size_t n, struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for a matrix of order %zu", n);
}

/* --- scale --------------------------------------------------------------------------------- */

/* Largest finite |w| of the matrix; counts the others. */
static int max_abs(const struct matrix_source *src, double *out, uint64_t *n_nonfinite,
                   struct err *err)
{
    size_t step = lines_per_block(src->n_short);
    AUTO(freep) double *block = alloc_elements(step, src->n_short, sizeof *block);
    double max = 0;

    if (!block)
        return no_memory(src->n_short, err);
    for (size_t i = 0; i < src->n_long; i += step) {
        size_t k = src->n_long - i < step ? src->n_long - i : step;
        int r = src->read(src->arg, i, k, PRECISION_DOUBLE, block, n_nonfinite, err);

        if (r < 0)
            return r;
        for (size_t j = 0; j < k * src->n_short; j++)
            if (fabs(block[j]) > max && fabs(block[j]) <= DBL_MAX)
                max = fabs(block[j]);
    }
    *out = max;
    return 0;
}

/* A source that multiplies another by a power of two. */
struct scaled_source {
    const struct matrix_source *src;
    double factor;
};

static int read_scaled(void *arg, size_t first, size_t count, enum precision p, void *out,
                       uint64_t *n_nonfinite, struct err *err)
{
    const struct scaled_source *s = arg;
    AUTO(freep) double *tmp = NULL;
    double *d = out;
    size_t n = count * s->src->n_short;
    int r;

    if (p == PRECISION_SINGLE) {
        tmp = alloc_elements(n, 1, sizeof *tmp);
        if (!tmp)
            return no_memory(s->src->n_short, err);
        d = tmp;
    }
    r = s->src->read(s->src->arg, first, count, PRECISION_DOUBLE, d, n_nonfinite, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        d[i] *= s->factor;
        if (p == PRECISION_SINGLE)
            ((float *)out)[i] = (float)d[i];
    }
    return r;
}

/* How a block of k lines goes into dsyrk. */
static CBLAS_TRANSPOSE trans_of(const struct matrix_source *src)
{
    return src->order == BLOCK_LINES_STRIDED ? CblasTrans : CblasNoTrans;
}

static size_t block_ld(const struct matrix_source *src, size_t k)
{
    return src->order == BLOCK_LINES_STRIDED ? k : src->n_short;
}

/* --- Gram matrix --------------------------------------------------------------------------- */

size_t spectrum_gram_ld(size_t n)
{
    return n > 0 && n % 512 == 0 ? n + 16 : n;
}

/* Four at a time: the order of a sum is part of the result, and one chain of additions would cost
 * as much time as the Gram matrix of a narrow matrix. */
static double sum_double(const double *x, size_t n)
{
    double s[4] = {0};
    size_t i = 0;

    for (; i + 4 <= n; i += 4)
        for (size_t k = 0; k < 4; k++)
            s[k] += x[i + k];
    for (; i < n; i++)
        s[0] += x[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

static double sum_single(const float *x, size_t n)
{
    double s[4] = {0};
    size_t i = 0;

    for (; i + 4 <= n; i += 4)
        for (size_t k = 0; k < 4; k++)
            s[k] += (double)x[i + k];
    for (; i < n; i++)
        s[0] += (double)x[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

int spectrum_gram_part(const struct matrix_source *src, size_t first, size_t count, double *g,
                       double *sum, uint64_t *n_nonfinite, struct err *err)
{
    size_t n = src->n_short, step = lines_per_block(n);
    AUTO(freep) double *block = NULL;
    int r = check_shape(src, err);

    if (r < 0)
        return r;
    block = alloc_elements(step, n, sizeof *block);
    if (!block)
        return no_memory(n, err);
    for (size_t i = 0; i < count; i += step) {
        size_t k = count - i < step ? count - i : step;

        r = src->read(src->arg, first + i, k, PRECISION_DOUBLE, block, n_nonfinite, err);
        if (r < 0)
            return r;
        if (*n_nonfinite > 0)
            continue; /* only the count matters any more */
        *sum += sum_double(block, k * n);
        cblas_dsyrk(CblasColMajor, CblasLower, trans_of(src), lapack_size(n), lapack_size(k), 1,
                    block, lapack_size(block_ld(src, k)), 1, g, lapack_size(spectrum_gram_ld(n)));
    }
    return 0;
}

static int gram_single(const struct matrix_source *src, float *g, double *sum,
                       uint64_t *n_nonfinite, struct err *err)
{
    size_t n = src->n_short, step = lines_per_block(n);
    AUTO(freep) float *block = alloc_elements(step, n, sizeof *block);

    if (!block)
        return no_memory(n, err);
    for (size_t i = 0; i < src->n_long; i += step) {
        size_t k = src->n_long - i < step ? src->n_long - i : step;
        int r = src->read(src->arg, i, k, PRECISION_SINGLE, block, n_nonfinite, err);

        if (r < 0)
            return r;
        if (*n_nonfinite > 0)
            continue;
        *sum += sum_single(block, k * n);
        cblas_ssyrk(CblasColMajor, CblasLower, trans_of(src), lapack_size(n), lapack_size(k), 1,
                    block, lapack_size(block_ld(src, k)), 1, g, lapack_size(spectrum_gram_ld(n)));
    }
    return 0;
}

/* --- eigenvalues of a Gram matrix ---------------------------------------------------------- */

static enum spectrum_method method_for(size_t n, const struct spectrum_options *opt)
{
    if (opt->force != SPECTRUM_NONE)
        return opt->force;
    return symmetric_two_stage_pays(n) ? SPECTRUM_GRAM_TWO_STAGE : SPECTRUM_GRAM_ONE_STAGE;
}

static double gram_bound(size_t n, double eps, double lambda_max)
{
    double c = 4 * sqrt((double)n);

    return (c < 16 ? 16 : c) * eps * lambda_max;
}

static void clamp(double *lambda, size_t n)
{
    for (size_t i = 0; i < n && lambda[i] < 0; i++)
        lambda[i] = 0;
}

static int eigenvalues(size_t n, double *g, enum spectrum_method m, double *lambda,
                       struct spectrum_info *info, struct err *err)
{
    int r = symmetric_eigenvalues_double(g, n, spectrum_gram_ld(n), m == SPECTRUM_GRAM_TWO_STAGE,
                                         lambda, err);

    if (r < 0)
        return r;
    info->method = m;
    info->error_bound = gram_bound(n, DBL_EPSILON, fabs(lambda[n - 1]));
    clamp(lambda, n);
    return 0;
}

static int eigenvalues_single(size_t n, float *g, enum spectrum_method m, double *lambda,
                              struct spectrum_info *info, struct err *err)
{
    int r = symmetric_eigenvalues_single(g, n, spectrum_gram_ld(n), m == SPECTRUM_GRAM_TWO_STAGE,
                                         lambda, err);

    if (r < 0)
        return r;
    info->method = m;
    info->error_bound = gram_bound(n, FLT_EPSILON, fabs(lambda[n - 1]));
    clamp(lambda, n);
    return 0;
}

/* --- TSQR ---------------------------------------------------------------------------------- */

/* g: n^2 doubles of scratch, overwritten. */
static int tsqr_values(const struct matrix_source *src, double *g, double *lambda,
                       struct spectrum_info *info, struct err *err)
{
    size_t n = src->n_short;
    AUTO(freep) double *s = alloc_elements(n, 1, sizeof *s);
    double c = 4 * sqrt((double)n);
    int r;

    if (!s)
        return no_memory(n, err);
    r = tsqr_factor(src, lines_per_block(n), g, err);
    if (r == 0)
        r = lapack_singular_values(n, g, s, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        lambda[i] = s[n - 1 - i] * s[n - 1 - i];
    info->method = SPECTRUM_TSQR_SVD;
    info->error_bound = 2 * (c < 16 ? 16 : c) * DBL_EPSILON * lambda[n - 1];
    return 0;
}

/* --- putting it together ------------------------------------------------------------------- */

/* From the Gram matrix in g (destroyed) to eigenvalues, through TSQR when some are not resolved. */
static int finish_double(const struct matrix_source *src, double *g,
                         const struct spectrum_options *opt, double *lambda,
                         struct spectrum_info *info, struct err *err)
{
    size_t n = src->n_short;
    int r;

    if (opt->force != SPECTRUM_TSQR_SVD) {
        r = eigenvalues(n, g, method_for(n, opt), lambda, info, err);
        if (r < 0)
            return r;
        if (opt->force != SPECTRUM_NONE || lambda[0] > info->error_bound || lambda[n - 1] == 0)
            return 0;
    }
    return tsqr_values(src, g, lambda, info, err);
}

/* True when squares and sums of this Gram matrix cannot have over- or underflowed. */
static bool trace_safe(const double *g, size_t n)
{
    double trace = 0;

    for (size_t i = 0; i < n; i++)
        trace += g[i * spectrum_gram_ld(n) + i];
    return trace < SAFE_MAX * SAFE_MAX && (trace > SAFE_MIN * SAFE_MIN || trace == 0);
}

static void rescale(double *lambda, size_t n, struct spectrum_info *info, int exponent)
{
    for (size_t i = 0; i < n; i++)
        lambda[i] = ldexp(lambda[i], -2 * exponent);
    info->error_bound = ldexp(info->error_bound, -2 * exponent);
    info->sum = ldexp(info->sum, -exponent);
}

void spectrum_add_part(double *g, const double *part, size_t n)
{
    for (size_t i = 0; i < n * spectrum_gram_ld(n); i++)
        g[i] += part[i];
}

/* Gram matrix of the whole, g zero on entry, in the order that spectrum_parts() prescribes. */
static int gram_whole(const struct matrix_source *src, double *g, double *sum,
                      uint64_t *n_nonfinite, struct err *err)
{
    size_t n = src->n_short, parts = spectrum_parts(src->n_long, n), first, count;
    AUTO(freep) double *part = NULL;
    int r;

    spectrum_part_range(src->n_long, parts, 0, &first, &count);
    r = spectrum_gram_part(src, first, count, g, sum, n_nonfinite, err);
    if (r < 0 || parts == 1)
        return r;
    part = calloc(n * spectrum_gram_ld(n), sizeof *part);
    if (!part)
        return no_memory(n, err);
    for (size_t p = 1; p < parts; p++) {
        double part_sum = 0;

        if (p > 1)
            memset(part, 0, n * spectrum_gram_ld(n) * sizeof *part);
        spectrum_part_range(src->n_long, parts, p, &first, &count);
        r = spectrum_gram_part(src, first, count, part, &part_sum, n_nonfinite, err);
        if (r < 0)
            return r;
        spectrum_add_part(g, part, n);
        *sum += part_sum;
    }
    return 0;
}

/* The weights are so large or so small that their squares are not representable: scale by a power
 * of two and start again. */
static int compute_scaled(const struct matrix_source *src, const struct spectrum_options *opt,
                          double *g, double *lambda, struct spectrum_info *info, struct err *err)
{
    struct matrix_source scaled = *src;
    struct scaled_source s = {.src = src};
    uint64_t n_nonfinite = 0;
    double max = 0;
    int exponent = 0, r = max_abs(src, &max, &n_nonfinite, err);

    if (r < 0)
        return r;
    (void)frexp(max, &exponent);
    s.factor = max > 0 ? ldexp(1.0, -exponent) : 1.0;
    scaled.read = read_scaled;
    scaled.arg = &s;
    memset(g, 0, src->n_short * spectrum_gram_ld(src->n_short) * sizeof *g);
    info->sum = 0;
    r = gram_whole(&scaled, g, &info->sum, &n_nonfinite, err);
    if (r == 0)
        r = finish_double(&scaled, g, opt, lambda, info, err);
    if (r == 0)
        rescale(lambda, src->n_short, info, -exponent);
    if (r == 0 && !isfinite(lambda[src->n_short - 1]))
        r = err_set(err, ERR_NUMERIC, "the largest eigenvalue exceeds the range of double");
    return r;
}

static int compute_double(const struct matrix_source *src, const struct spectrum_options *opt,
                          double *lambda, struct spectrum_info *info, struct err *err)
{
    size_t n = src->n_short;
    AUTO(freep) double *g = calloc(n * spectrum_gram_ld(n), sizeof *g);
    int r;

    if (!g)
        return no_memory(n, err);
    info->sum = 0;
    r = gram_whole(src, g, &info->sum, &info->n_nonfinite, err);
    if (r < 0 || info->n_nonfinite)
        return r;
    if (!trace_safe(g, n))
        return compute_scaled(src, opt, g, lambda, info, err);
    return finish_double(src, g, opt, lambda, info, err);
}

static int compute_single(const struct matrix_source *src, const struct spectrum_options *opt,
                          double *lambda, struct spectrum_info *info, struct err *err)
{
    size_t n = src->n_short;
    AUTO(freep) float *g = calloc(n * spectrum_gram_ld(n), sizeof *g);
    double trace = 0;
    int r;

    if (!g)
        return no_memory(n, err);
    r = gram_single(src, g, &info->sum, &info->n_nonfinite, err);
    if (r < 0 || info->n_nonfinite)
        return r;
    for (size_t i = 0; i < n; i++)
        trace += (double)g[i * spectrum_gram_ld(n) + i];
    /* Outside the range of float squares only double can tell. */
    if (!(trace < 1e36) || (trace < 1e-30))
        return compute_double(src, opt, lambda, info, err);
    info->precision = PRECISION_SINGLE;
    return eigenvalues_single(n, g, method_for(n, opt), lambda, info, err);
}

int spectrum_compute(const struct matrix_source *src, const struct spectrum_options *opt,
                     double *lambda, struct spectrum_info *info, struct err *err)
{
    struct spectrum_info i = {.precision = PRECISION_DOUBLE};
    int r = check_shape(src, err);

    if (r < 0)
        return r;
    if (opt->precision == PRECISION_SINGLE && opt->force != SPECTRUM_TSQR_SVD)
        r = compute_single(src, opt, lambda, &i, err);
    else
        r = compute_double(src, opt, lambda, &i, err);
    if (r == 0)
        *info = i;
    return r;
}

int spectrum_from_gram(double *g, const struct matrix_source *src,
                       const struct spectrum_options *opt, double *lambda,
                       struct spectrum_info *info, struct err *err)
{
    struct spectrum_info i = {.precision = PRECISION_DOUBLE};
    int r = check_shape(src, err);

    if (r < 0)
        return r;
    if (trace_safe(g, src->n_short))
        r = finish_double(src, g, opt, lambda, &i, err);
    else
        r = compute_scaled(src, opt, g, lambda, &i, err);
    if (r == 0)
        *info = i;
    return r;
}
