/* rank_correlation.c: see rank_correlation.h. */
#include "compute/rank_correlation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pair {
    double x, y;
};

static int compare(double a, double b)
{
    return (a > b) - (a < b);
}

static int by_x_then_y(const void *a, const void *b)
{
    const struct pair *p = a, *q = b;
    int c = compare(p->x, q->x);

    return c ? c : compare(p->y, q->y);
}

static int by_y_then_x(const void *a, const void *b)
{
    const struct pair *p = a, *q = b;
    int c = compare(p->y, q->y);

    return c ? c : compare(p->x, q->x);
}

static double pairs(double n)
{
    return n * (n - 1) / 2;
}

/* --- Kendall --------------------------------------------------------------------------------- */

/* Sort the second values by merging; how many neighbours had to be exchanged: discordant pairs. */
static double count_exchanges(double *y, size_t n, double *other)
{
    double count = 0;

    for (size_t width = 1; width < n; width *= 2) {
        for (size_t at = 0; at < n; at += 2 * width) {
            size_t middle = at + width < n ? at + width : n;
            size_t end = at + 2 * width < n ? at + 2 * width : n;
            size_t i = at, j = middle;

            for (size_t k = at; k < end; k++)
                if (i < middle && (j == end || y[i] <= y[j])) {
                    other[k] = y[i++];
                } else {
                    count += (double)(middle - i);
                    other[k] = y[j++];
                }
        }
        memcpy(y, other, n * sizeof *y);
    }
    return count;
}

/* Pairs of a sorted list that are equal in what is asked for. */
static double tied(const struct pair *p, size_t n, bool in_x, bool in_y)
{
    double count = 0, run = 1;

    for (size_t i = 1; i <= n; i++)
        if (i < n && (!in_x || p[i].x == p[i - 1].x) && (!in_y || p[i].y == p[i - 1].y)) {
            run++;
        } else {
            count += pairs(run);
            run = 1;
        }
    return count;
}

/* p is sorted by x, then y; scratch has 2 n. */
static double kendall(struct pair *p, size_t n, double *scratch)
{
    double all = pairs((double)n), in_x = tied(p, n, true, false), both = tied(p, n, true, true);
    double in_y, exchanges;

    for (size_t i = 0; i < n; i++)
        scratch[i] = p[i].y;
    exchanges = count_exchanges(scratch, n, scratch + n);
    qsort(p, n, sizeof *p, by_y_then_x);
    in_y = tied(p, n, false, true);
    if (in_x == all || in_y == all)
        return NAN;
    return (all - in_x - in_y + both - 2 * exchanges) / sqrt((all - in_x) * (all - in_y));
}

/* --- Spearman -------------------------------------------------------------------------------- */

/* Replace one of the values by its mean rank, from 0; p is sorted by it. */
static void to_ranks(struct pair *p, size_t n, bool of_x)
{
    for (size_t i = 0, end; i < n; i = end) {
        double value = of_x ? p[i].x : p[i].y, rank;

        for (end = i + 1; end < n && (of_x ? p[end].x : p[end].y) == value;)
            end++;
        rank = (double)(i + end - 1) / 2;
        for (size_t j = i; j < end; j++)
            *(of_x ? &p[j].x : &p[j].y) = rank;
    }
}

static double spearman(struct pair *p, size_t n)
{
    double middle = ((double)n - 1) / 2, xx = 0, yy = 0, xy = 0;

    qsort(p, n, sizeof *p, by_x_then_y);
    to_ranks(p, n, true);
    qsort(p, n, sizeof *p, by_y_then_x);
    to_ranks(p, n, false);
    for (size_t i = 0; i < n; i++) {
        double dx = p[i].x - middle, dy = p[i].y - middle;

        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

/* --- both ------------------------------------------------------------------------------------ */

/* Rounding may lead past the end; NaN stays. */
static double within(double x)
{
    return x > 1 ? 1 : x < -1 ? -1 : x;
}

int rank_correlation(const double *x, const double *y, size_t n, struct rank_correlation *out,
                     struct err *err)
{
    AUTO(freep) struct pair *p = calloc(n + 1, sizeof *p);
    AUTO(freep) double *scratch = calloc(2 * n + 1, sizeof *scratch);
    struct rank_correlation c = {NAN, NAN};

    if (!p || !scratch)
        return err_set(err, ERR_NOMEM, "no memory for %zu values", n);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i]))
            return err_set(err, ERR_INVALID, "value %zu is not finite", i);
        p[i] = (struct pair){x[i], y[i]};
    }
    if (n >= 2) {
        qsort(p, n, sizeof *p, by_x_then_y);
        c.kendall = within(kendall(p, n, scratch));
        c.spearman = within(spearman(p, n));
    }
    *out = c;
    return 0;
}
