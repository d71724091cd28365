/* lapack.c: the LAPACK calls that need a workspace. */
#include "compute/lapack.h"

#include <stdlib.h>

#define QR_BLOCK 32

static int check_info(const char *routine, lapack_int info, struct err *err)
{
    ASSERT(info >= 0);
    if (info > 0)
        return err_set(err, ERR_NUMERIC, "%s did not converge (%d values left)", routine,
                       (int)info);
    return 0;
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for LAPACK's work space");
}

int lapack_tridiagonal_eigenvalues(size_t n, double *d, double *e, struct err *err)
{
    return check_info("dsterf", LAPACKE_dsterf_work(lapack_size(n), d, e), err);
}

int lapack_qr_update(size_t n, size_t k, double *r, double *b, struct err *err)
{
    size_t nb = n < QR_BLOCK ? n : QR_BLOCK;
    AUTO(freep) double *t = malloc(nb * n * sizeof *t);
    AUTO(freep) double *work = malloc(nb * n * sizeof *work);

    if (!t || !work)
        return no_memory(err);
    return check_info("dtpqrt",
                      LAPACKE_dtpqrt_work(LAPACK_COL_MAJOR, lapack_size(k), lapack_size(n), 0,
                                          lapack_size(nb), r, lapack_size(n), b, lapack_size(k), t,
                                          lapack_size(nb), work),
                      err);
}

int lapack_singular_values(size_t n, double *a, double *sigma, struct err *err)
{
    lapack_int order = lapack_size(n), info;
    double query = 0;
    AUTO(freep) lapack_int *iwork = malloc(8 * n * sizeof *iwork);

    if (!iwork)
        return no_memory(err);
    info = LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'N', order, order, a, order, sigma, NULL, 1, NULL,
                               1, &query, -1, iwork);
    ASSERT(info == 0);
    size_t lwork = (size_t)(query * 1.001) + 64;
    AUTO(freep) double *work = malloc(lwork * sizeof *work);
    if (!work)
        return no_memory(err);
    info = LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'N', order, order, a, order, sigma, NULL, 1, NULL,
                               1, work, lapack_size(lwork), iwork);
    return check_info("dgesdd", info, err);
}
