/* lapack.c: Fortran prototypes (with their hidden string lengths) and checked narrowing.
 *
 * Workspace sizes are queried and then raised to what the documentation asks for: the query of
 * dsytrd_sb2st answers less than its own HOUS2 check wants (4n).
 */
#include "compute/lapack.h"

#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define lapack_index int /* LP64 LAPACK */

/* clang-format off */
void dsytrd_(const char *, const lapack_index *, double *, const lapack_index *, double *, double *,
             double *, double *, const lapack_index *, lapack_index *, size_t);
void ssytrd_(const char *, const lapack_index *, float *, const lapack_index *, float *, float *,
             float *, float *, const lapack_index *, lapack_index *, size_t);
void dsytrd_sy2sb_(const char *, const lapack_index *, const lapack_index *, double *,
                   const lapack_index *, double *, const lapack_index *, double *, double *,
                   const lapack_index *, lapack_index *, size_t);
void ssytrd_sy2sb_(const char *, const lapack_index *, const lapack_index *, float *,
                   const lapack_index *, float *, const lapack_index *, float *, float *,
                   const lapack_index *, lapack_index *, size_t);
void dsytrd_sb2st_(const char *, const char *, const char *, const lapack_index *,
                   const lapack_index *, double *, const lapack_index *, double *, double *,
                   double *, const lapack_index *, double *, const lapack_index *, lapack_index *,
                   size_t, size_t, size_t);
void ssytrd_sb2st_(const char *, const char *, const char *, const lapack_index *,
                   const lapack_index *, float *, const lapack_index *, float *, float *, float *,
                   const lapack_index *, float *, const lapack_index *, lapack_index *, size_t,
                   size_t, size_t);
void dsterf_(const lapack_index *, double *, double *, lapack_index *);
void dtpqrt_(const lapack_index *, const lapack_index *, const lapack_index *,
             const lapack_index *, double *, const lapack_index *, double *, const lapack_index *,
             double *, const lapack_index *, double *, lapack_index *);
void dgesdd_(const char *, const lapack_index *, const lapack_index *, double *,
             const lapack_index *, double *, double *, const lapack_index *, double *,
             const lapack_index *, double *, const lapack_index *, lapack_index *, lapack_index *,
             size_t);
/* clang-format on */

/* n^2 must fit an index as well: LAPACK computes such products inside. */
#define N_MAX 46340

static lapack_index narrow(size_t n)
{
    ASSERT(n <= INT_MAX);
    return (lapack_index)n;
}

static int check_order(size_t n, struct err *err)
{
    if (n > N_MAX)
        return err_set(err, ERR_LIMIT, "a matrix of order %zu, the limit is %d", n, N_MAX);
    return 0;
}

static int check_info(const char *routine, lapack_index info, struct err *err)
{
    if (info == 0)
        return 0;
    if (info > 0)
        return err_set(err, ERR_NUMERIC, "%s did not converge (%d values left)", routine, info);
    return err_set(err, ERR_INTERNAL, "%s refused its argument %d", routine, -info);
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for LAPACK's work space");
}

void blas_dsyrk(bool trans, size_t n, size_t k, const double *x, double beta, double *g)
{
    cblas_dsyrk(CblasColMajor, CblasLower, trans ? CblasTrans : CblasNoTrans, narrow(n), narrow(k),
                1.0, x, narrow(trans ? k : n), beta, g, narrow(n));
}

void blas_ssyrk(bool trans, size_t n, size_t k, const float *x, float beta, float *g)
{
    cblas_ssyrk(CblasColMajor, CblasLower, trans ? CblasTrans : CblasNoTrans, narrow(n), narrow(k),
                1.0f, x, narrow(trans ? k : n), beta, g, narrow(n));
}

/* Band width of the two-stage reduction, by measurement (Skylake-SP, one thread): wide enough for
 * the matrix products, narrow enough for the bulge chasing that follows. */
static lapack_index band_width(size_t n)
{
    return n < 1024 ? 32 : n < 3072 ? 48 : 64;
}

/* The same code in both precisions. */
#define DEFINE_TRIDIAGONAL(real, suffix, SYTRD, SY2SB, SB2ST)                                      \
    int lapack_tridiagonal_one##suffix(size_t n, real *g, real *d, real *e, struct err *err)       \
    {                                                                                              \
        lapack_index order = narrow(n), info = 0, lwork = narrow(64 * n + 64);                     \
        int r = check_order(n, err);                                                               \
        if (r < 0)                                                                                 \
            return r;                                                                              \
        AUTO(freep) real *tau = malloc((n + 1) * sizeof(real));                                    \
        AUTO(freep) real *work = malloc((size_t)lwork * sizeof(real));                             \
        if (!tau || !work)                                                                         \
            return no_memory(err);                                                                 \
        SYTRD("L", &order, g, &order, d, e, tau, work, &lwork, &info, 1);                          \
        return check_info(#SYTRD, info, err);                                                      \
    }                                                                                              \
                                                                                                   \
    static int to_band##suffix(size_t n, lapack_index kd, real *g, real *ab, struct err *err)      \
    {                                                                                              \
        lapack_index order = narrow(n), ldab = kd + 1, info = 0, lwork = -1;                       \
        real query = 0;                                                                            \
        AUTO(freep) real *tau = malloc((n + 1) * sizeof(real));                                    \
        if (!tau)                                                                                  \
            return no_memory(err);                                                                 \
        SY2SB("L", &order, &kd, g, &order, ab, &ldab, tau, &query, &lwork, &info, 1);              \
        lwork = narrow((size_t)((double)query * 1.001) + 64);                                      \
        AUTO(freep) real *work = malloc((size_t)lwork * sizeof(real));                             \
        if (!work)                                                                                 \
            return no_memory(err);                                                                 \
        SY2SB("L", &order, &kd, g, &order, ab, &ldab, tau, work, &lwork, &info, 1);                \
        return check_info(#SY2SB, info, err);                                                      \
    }                                                                                              \
                                                                                                   \
    static int from_band##suffix(size_t n, lapack_index kd, real *ab, real *d, real *e,            \
                                 struct err *err)                                                  \
    {                                                                                              \
        lapack_index order = narrow(n), ldab = kd + 1, info = 0, lhous = -1, lwork = -1;           \
        real qh = 0, qw = 0;                                                                       \
        SB2ST("Y", "N", "L", &order, &kd, ab, &ldab, d, e, &qh, &lhous, &qw, &lwork, &info, 1, 1,  \
              1);                                                                                  \
        lhous = narrow((size_t)((double)qh * 1.001) + 4 * n + 64);                                 \
        lwork = narrow((size_t)((double)qw * 1.001) + 64);                                         \
        AUTO(freep) real *hous = malloc((size_t)lhous * sizeof(real));                             \
        AUTO(freep) real *work = malloc((size_t)lwork * sizeof(real));                             \
        if (!hous || !work)                                                                        \
            return no_memory(err);                                                                 \
        SB2ST("Y", "N", "L", &order, &kd, ab, &ldab, d, e, hous, &lhous, work, &lwork, &info, 1,   \
              1, 1);                                                                               \
        return check_info(#SB2ST, info, err);                                                      \
    }                                                                                              \
                                                                                                   \
    int lapack_tridiagonal_two##suffix(size_t n, real *g, real *d, real *e, struct err *err)       \
    {                                                                                              \
        lapack_index kd = band_width(n);                                                           \
        int r = check_order(n, err);                                                               \
        if (r < 0)                                                                                 \
            return r;                                                                              \
        AUTO(freep) real *ab = calloc((size_t)(kd + 1) * n, sizeof(real));                         \
        if (!ab)                                                                                   \
            return no_memory(err);                                                                 \
        r = to_band##suffix(n, kd, g, ab, err);                                                    \
        return r < 0 ? r : from_band##suffix(n, kd, ab, d, e, err);                                \
    }

DEFINE_TRIDIAGONAL(double, , dsytrd_, dsytrd_sy2sb_, dsytrd_sb2st_)
DEFINE_TRIDIAGONAL(float, _f, ssytrd_, ssytrd_sy2sb_, ssytrd_sb2st_)

int lapack_tridiagonal_values(size_t n, double *d, double *e, struct err *err)
{
    lapack_index order = narrow(n), info = 0;

    dsterf_(&order, d, e, &info);
    return check_info("dsterf", info, err);
}

int lapack_qr_update(size_t n, size_t k, double *r, double *b, struct err *err)
{
    lapack_index rows = narrow(k), cols = narrow(n), zero = 0, info = 0;
    lapack_index nb = cols < 32 ? cols : 32;
    AUTO(freep) double *t = malloc((size_t)nb * n * sizeof(double));
    AUTO(freep) double *work = malloc((size_t)nb * n * sizeof(double));

    if (!t || !work)
        return no_memory(err);
    dtpqrt_(&rows, &cols, &zero, &nb, r, &cols, b, &rows, t, &nb, work, &info);
    return check_info("dtpqrt", info, err);
}

int lapack_singular_values(size_t m, size_t n, double *a, double *s, struct err *err)
{
    lapack_index rows = narrow(m), cols = narrow(n), one = 1, info = 0, lwork = -1;
    size_t k = m < n ? m : n;
    double query = 0, dummy = 0;
    AUTO(freep) lapack_index *iwork = malloc(8 * k * sizeof *iwork);

    if (!iwork)
        return no_memory(err);
    dgesdd_("N", &rows, &cols, a, &rows, s, &dummy, &one, &dummy, &one, &query, &lwork, iwork,
            &info, 1);
    lwork = narrow((size_t)(query * 1.001) + 64);
    AUTO(freep) double *work = malloc((size_t)lwork * sizeof(double));
    if (!work)
        return no_memory(err);
    dgesdd_("N", &rows, &cols, a, &rows, s, &dummy, &one, &dummy, &one, work, &lwork, iwork, &info,
            1);
    return check_info("dgesdd", info, err);
}
