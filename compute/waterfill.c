/* waterfill.c: see waterfill.h.
 *
 * The sum is a piecewise linear, nowhere falling function of t whose corners are where an item
 * meets a limit. The segment that holds the target is found by bisection over the sorted corners;
 * in it the sum is a line.
 */
#include "compute/waterfill.h"

#include "common/sort.h"

#include <math.h>
#include <stdlib.h>

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static double value_at(const struct waterfill *w, double t)
{
    return clamp(w->b > 0 ? w->a + w->b * t : w->a, w->low, w->high);
}

static double sum_at(const struct waterfill *item, size_t n, double t)
{
    long double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (long double)item[i].weight * value_at(&item[i], t);
    return (double)sum;
}

void waterfill_range(const struct waterfill *item, size_t n, double *least, double *most)
{
    long double low = 0, high = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        low += (long double)item[i].weight * item[i].low;
        high += (long double)item[i].weight * item[i].high;
        all += item[i].weight;
    }
    *least = (double)(low / all);
    *most = (double)(high / all);
}

static size_t list_corners(const struct waterfill *item, size_t n, double *corner)
{
    size_t k = 0;

    for (size_t i = 0; i < n; i++)
        if (item[i].b > 0) {
            corner[k++] = (item[i].low - item[i].a) / item[i].b;
            corner[k++] = (item[i].high - item[i].a) / item[i].b;
        }
    if (k)
        sort_ascending(corner, k);
    return k;
}

/* The t between two neighbouring corners. */
static double solve_between(const struct waterfill *item, size_t n, double left, double right,
                            double goal)
{
    double middle = left + (right - left) / 2;
    long double fixed = 0, slope = 0;

    for (size_t i = 0; i < n; i++) {
        const struct waterfill *w = &item[i];
        double v = w->a + w->b * middle;

        if (w->b > 0 && v > w->low && v < w->high) {
            fixed += (long double)w->weight * w->a;
            slope += (long double)w->weight * w->b;
        } else {
            fixed += (long double)w->weight * value_at(w, middle);
        }
    }
    return slope > 0 ? clamp((double)((goal - fixed) / slope), left, right) : left;
}

/* The t with the sum `goal`, which lies between the sums at the first and the last corner. */
static double solve(const struct waterfill *item, size_t n, const double *corner, size_t k,
                    double goal)
{
    size_t left = 0, right = k - 1;

    while (right - left > 1) {
        size_t middle = left + (right - left) / 2;

        if (sum_at(item, n, corner[middle]) <= goal)
            left = middle;
        else
            right = middle;
    }
    return solve_between(item, n, corner[left], corner[right], goal);
}

/* The items that move cannot meet the goal: they go to their limit, and the others move. */
static int fill_rest(const struct waterfill *item, size_t n, double target, bool more, double *out,
                     struct err *err)
{
    AUTO(freep) struct waterfill *rest = malloc(n * sizeof *rest);
    double shift;

    if (!rest)
        return err_set(err, ERR_NOMEM, "no memory for %zu tensors", n);
    for (size_t i = 0; i < n; i++) {
        const struct waterfill *w = &item[i];

        rest[i] = *w;
        rest[i].a = w->b > 0 ? (more ? w->high : w->low) : w->a;
        rest[i].b = w->b > 0 ? 0 : 1;
        if (w->b > 0)
            rest[i].low = rest[i].high = rest[i].a;
    }
    return waterfill(rest, n, target, out, &shift, err);
}

int waterfill(const struct waterfill *item, size_t n, double target, double *out, double *t,
              struct err *err)
{
    AUTO(freep) double *corner = malloc((2 * n + 1) * sizeof *corner);
    double least, most, goal, total = 0;
    size_t k;

    if (!corner)
        return err_set(err, ERR_NOMEM, "no memory for %zu tensors", n);
    waterfill_range(item, n, &least, &most);
    if (!(target >= least - WATERFILL_SLACK && target <= most + WATERFILL_SLACK))
        return err_set(err, ERR_LIMIT, "%.6g cannot be met within the limits, only %.6g to %.6g",
                       target, least, most);
    for (size_t i = 0; i < n; i++)
        total += item[i].weight;
    goal = target * total;
    k = list_corners(item, n, corner);
    *t = 0;
    if (target >= most - WATERFILL_SLACK ||
        target <= least + WATERFILL_SLACK) { /* the limits themselves, exactly */
        for (size_t i = 0; i < n; i++)
            out[i] = target >= most - WATERFILL_SLACK ? item[i].high : item[i].low;
        return 0;
    }
    if (k && sum_at(item, n, corner[0]) > goal + WATERFILL_SLACK * total) {
        *t = corner[0];
        return fill_rest(item, n, target, false, out, err);
    }
    if (sum_at(item, n, k ? corner[k - 1] : 0) < goal - WATERFILL_SLACK * total) {
        *t = k ? corner[k - 1] : 0;
        return fill_rest(item, n, target, true, out, err);
    }
    if (k)
        *t = solve(item, n, corner, k, goal);
    else if (sum_at(item, n, 0) > goal + WATERFILL_SLACK * total)
        return fill_rest(item, n, target, false, out, err);
    for (size_t i = 0; i < n; i++)
        out[i] = value_at(&item[i], *t);
    return 0;
}
