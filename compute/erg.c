/* erg.c: by the sum of logarithms, or as upstream multiplies. */
#include "compute/erg.h"

#include <math.h>

static double sum_of(const double *x, size_t n)
{
    double s = 0;

    for (size_t i = 0; i < n; i++)
        s += x[i];
    return s;
}

/* Index of the tail's first eigenvalue; n for none. */
static size_t first_of_tail(const double *lambda, size_t n, double scale)
{
    double log_product = 0;
    size_t first = n;

    while (first > 0 && lambda[first - 1] > 0) {
        log_product += log(lambda[first - 1] * scale);
        if (log_product < 0)
            break;
        first--;
    }
    return first;
}

/* Upstream multiplies each candidate tail anew, from its smallest eigenvalue up: that order decides
 * what under- and overflows. */
static double product_up(const double *lambda, size_t first, size_t n, double scale)
{
    double p = 1;

    for (size_t i = first; i < n; i++)
        p *= lambda[i] * scale;
    return p;
}

/* Index, and the number counted, which is not n - index when the product never falls below 1. */
static size_t first_upstream(const double *lambda, size_t n, double scale, size_t *num)
{
    if (n < 2 || !(lambda[0] < lambda[n - 1])) {
        *num = 0;
        return 0;
    }
    for (size_t i = n - 1; i > 0; i--)
        if (product_up(lambda, i, n, scale) < 1) {
            *num = n - i;
            return i;
        }
    *num = n;
    return 1;
}

static double log_sum(const double *lambda, size_t first, size_t n, double scale)
{
    double s = 0;

    for (size_t i = first; i < n; i++)
        s += log(lambda[i] * scale);
    return s;
}

int erg_condition(const double *lambda, size_t n, bool rescale, bool compat, struct erg *out,
                  struct err *err)
{
    double sum, scale;
    size_t first, num;

    for (size_t i = 0; i < n; i++)
        if (!(isfinite(lambda[i]) && lambda[i] >= (i > 0 ? lambda[i - 1] : 0)))
            return err_set(err, ERR_INVALID, "eigenvalue %zu is not finite or not in order", i);
    sum = sum_of(lambda, n);
    if (!(sum > 0))
        return err_set(err, ERR_NUMERIC, "every eigenvalue is zero");
    scale = rescale ? (double)n / sum : 1;
    if (compat) {
        first = first_upstream(lambda, n, scale, &num);
    } else {
        first = first_of_tail(lambda, n, scale);
        num = n - first;
    }
    *out = (struct erg){.num = num,
                        .lambda = num > 0 ? lambda[first] : NAN,
                        .scaled = num > 0 ? lambda[first] * scale : NAN,
                        .log_product = num > 0 ? log_sum(lambda, first, n, scale) : 0};
    return 0;
}

double erg_tail_log(const double *lambda, size_t n, size_t num)
{
    double sum = sum_of(lambda, n);

    if (num == 0 || num > n || !(sum > 0))
        return NAN;
    return log_sum(lambda, n - num, n, (double)n / sum);
}
