/* expert_drop.c: see expert_drop.h. */
#include "compute/expert_drop.h"

#include "compute/lowest.h"

#include <math.h>

int expert_drop_saliency(const double *sum, const double *count, size_t n, double *saliency,
                         struct err *err)
{
    for (size_t j = 0; j < n; j++)
        if (!(sum[j] >= 0 && count[j] >= 0) || isinf(sum[j]) || isinf(count[j]))
            return err_set(err, ERR_INVALID,
                           "the saliency of expert %zu is a sum of %g over %g tokens", j, sum[j],
                           count[j]);
    for (size_t j = 0; j < n; j++)
        saliency[j] = sum[j] / fmax(count[j], 1);
    return 0;
}

size_t expert_drop_kept(size_t n, size_t n_groups, double sparsity)
{
    double gone = floor((double)n * sparsity);

    if (n_groups > 1) /* half to even, as Python rounds */
        gone = (double)n_groups * nearbyint(gone / (double)n_groups);
    return n - (size_t)fmin(fmax(gone, 0), (double)n);
}

int expert_drop_choose(const double *saliency, size_t n, size_t n_groups, size_t kept,
                       uint8_t *keep, struct err *err)
{
    size_t size;

    if (n_groups == 0 || n % n_groups || kept % n_groups || kept > n)
        return err_set(err, ERR_INVALID, "%zu of %zu experts cannot stay in %zu groups", kept, n,
                       n_groups);
    size = n / n_groups;
    for (size_t g = 0; g < n_groups; g++) {
        int r =
            lowest_leave(saliency + g * size, size, size - kept / n_groups, keep + g * size, err);

        if (r < 0)
            return r;
    }
    return 0;
}
