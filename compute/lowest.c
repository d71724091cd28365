/* lowest.c: see lowest.h. */
#include "compute/lowest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct scored {
    double score;
    size_t at;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

int lowest_leave(const double *score, size_t n, size_t k, uint8_t *keep, struct err *err)
{
    AUTO(freep) struct scored *v = NULL;

    if (k > n)
        return err_set(err, ERR_INVALID, "%zu of %zu cannot be left out", k, n);
    for (size_t i = 0; i < n; i++)
        if (isnan(score[i]))
            return err_set(err, ERR_NUMERIC, "a score is NaN");
    v = malloc((n + 1) * sizeof *v);
    if (!v)
        return err_set(err, ERR_NOMEM, "no memory for %zu scores", n);
    for (size_t i = 0; i < n; i++)
        v[i] = (struct scored){score[i], i};
    qsort(v, n, sizeof *v, by_score);
    memset(keep, 1, n);
    for (size_t i = 0; i < k; i++)
        keep[v[i].at] = 0;
    return 0;
}
