/* width.c: see width.h. */
#include "compute/width.h"

#include <math.h>
#include <stdlib.h>

#define WIDTH_MAX (UINT64_C(1) << 32)

/* Of a width: one computed from a share is compared with whole numbers, and 0.7 * 10 is 7. */
#define SLACK 1e-12

/* Two passes are enough for ratios that meet the target within the limits. */
#define PASSES_MAX 1000

/* Of a step, and a little: one that brings the sum no closer is not taken for its rounding. */
#define HALF (0.5 + 1e-9)

struct place {
    size_t group;
    uint64_t least, most, now; /* widths kept */
    double remainder;          /* share of the next step that is wanted */
};

/* The widths of a group are 1, 2, … times its multiple, then the whole. */
static uint64_t next_width(const struct width_group *g, uint64_t now)
{
    uint64_t next = now + g->multiple;

    return next < g->of ? next : g->of;
}

static uint64_t width_before(const struct width_group *g, uint64_t now)
{
    uint64_t rest = now % g->multiple;

    return now - (rest ? rest : g->multiple);
}

static double slack(const struct width_group *g)
{
    return SLACK * (double)g->of;
}

/* The largest width up to x, the smallest where there is none. */
static uint64_t width_below(const struct width_group *g, double x)
{
    uint64_t smallest = g->multiple < g->of ? g->multiple : g->of, k;

    x += slack(g);
    if (x >= (double)g->of)
        return g->of;
    k = (uint64_t)(x / (double)g->multiple) * g->multiple;
    return k < smallest ? smallest : k;
}

/* The smallest width from x on. */
static uint64_t width_above(const struct width_group *g, double x)
{
    uint64_t k = width_below(g, x);

    return (double)k + slack(g) >= x ? k : next_width(g, k);
}

static double step_up(const struct width_group *g, const struct place *p)
{
    return (double)(next_width(g, p->now) - p->now) * g->cost;
}

static int put(const struct width_group *g, size_t i, struct place *p, struct err *err)
{
    double of = (double)g->of, want = (1 - g->ratio) * of;
    uint64_t now;

    *p = (struct place){.group = i,
                        .least = width_above(g, (1 - g->max) * of),
                        .most = width_below(g, (1 - g->min) * of)};
    if (p->least > p->most || (double)p->most > (1 - g->min) * of + slack(g))
        return err_set(err, ERR_LIMIT,
                       "of a width of %llu, no multiple of %llu lies between the limits %.6g and "
                       "%.6g",
                       (unsigned long long)g->of, (unsigned long long)g->multiple, g->min, g->max);
    now = width_below(g, want);
    p->now = now < p->least ? p->least : now > p->most ? p->most : now;
    if (p->now < g->of)
        p->remainder = (want - (double)p->now) * g->cost / step_up(g, p);
    return 0;
}

static int by_remainder(const void *x, const void *y)
{
    const struct place *a = x, *b = y;

    if (a->remainder != b->remainder)
        return (a->remainder < b->remainder) - (a->remainder > b->remainder);
    return (a->group > b->group) - (a->group < b->group);
}

/* One step for each group, in order, where it brings the sum closer. True when any was taken. */
static bool widen(const struct width_group *g, struct place *p, size_t n, double *missing)
{
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        const struct width_group *group = &g[p[i].group];
        double size = step_up(group, &p[i]);

        if (p[i].now < p[i].most && size * HALF < *missing) {
            p[i].now = next_width(group, p[i].now);
            *missing -= size;
            any = true;
        }
    }
    return any;
}

static bool narrow(const struct width_group *g, struct place *p, size_t n, double *missing)
{
    bool any = false;

    for (size_t i = n; i-- > 0;) {
        const struct width_group *group = &g[p[i].group];
        uint64_t before = width_before(group, p[i].now);
        double size = (double)(p[i].now - before) * group->cost;

        if (p[i].now > p[i].least && size * HALF < -*missing) {
            p[i].now = before;
            *missing += size;
            any = true;
        }
    }
    return any;
}

/* What a step may have at most, and so what the sum may miss twice over. */
static double largest_step(const struct width_group *g, size_t n)
{
    double largest = 0;

    for (size_t i = 0; i < n; i++)
        largest =
            fmax(largest, g[i].cost * (double)(g[i].multiple < g[i].of ? g[i].multiple : g[i].of));
    return largest;
}

static int repair(const struct width_group *g, struct place *p, size_t n, double goal,
                  struct err *err)
{
    double missing = goal, largest = largest_step(g, n);

    for (size_t i = 0; i < n; i++)
        missing -= (double)p[i].now * g[p[i].group].cost;
    qsort(p, n, sizeof *p, by_remainder);
    for (int pass = 0; pass < PASSES_MAX && missing < 0 && narrow(g, p, n, &missing); pass++)
        continue;
    for (int pass = 0; pass < PASSES_MAX && missing > 0 && widen(g, p, n, &missing); pass++)
        continue;
    if (fabs(missing) > largest * (HALF + 1e-9))
        return err_set(err, ERR_LIMIT,
                       "with whole widths within the limits, the target is missed by %.0f weights",
                       fabs(missing));
    return 0;
}

static bool valid(const struct width_group *g)
{
    return g->of >= 1 && g->of <= WIDTH_MAX && g->multiple >= 1 && g->multiple <= WIDTH_MAX &&
           g->cost >= 1 && isfinite(g->cost) && g->ratio >= 0 && g->ratio <= 1 && g->min >= 0 &&
           g->min <= g->max && g->max <= 1;
}

int width_round(const struct width_group *g, size_t n, double target, uint64_t *kept,
                struct err *err)
{
    AUTO(freep) struct place *p = calloc(n + 1, sizeof *p);
    double total = 0;
    int r = 0;

    if (!p)
        return err_set(err, ERR_NOMEM, "no memory for %zu groups", n);
    if (n == 0 || !(target >= 0 && target <= 1))
        return err_set(err, ERR_INVALID, "a target of %g for %zu groups", target, n);
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (!valid(&g[i]))
            return err_set(err, ERR_INVALID, "group %zu is out of range", i);
        total += (double)g[i].of * g[i].cost;
        r = put(&g[i], i, &p[i], err);
    }
    if (r == 0)
        r = repair(g, p, n, (1 - target) * total, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        kept[p[i].group] = p[i].now;
    return r;
}
