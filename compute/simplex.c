/* simplex.c: see simplex.h. */
#include "compute/simplex.h"

#include <math.h>
#include <string.h>

struct vertex {
    double x[SIMPLEX_MAX_N], f;
};

struct search {
    simplex_fn *fn;
    void *arg;
    size_t n;
    struct vertex v[SIMPLEX_MAX_N + 1]; /* best first */
    double centre[SIMPLEX_MAX_N];       /* of all but the worst */
    unsigned calls;
};

static double call(struct search *s, const double *x)
{
    s->calls++;
    return s->fn(x, s->arg);
}

/* Stable, as SciPy's order of equal values is for so few. */
static void sort(struct search *s)
{
    for (size_t i = 1; i <= s->n; i++)
        for (size_t j = i; j > 0 && s->v[j].f < s->v[j - 1].f; j--) {
            struct vertex t = s->v[j];

            s->v[j] = s->v[j - 1];
            s->v[j - 1] = t;
        }
}

static void first_simplex(struct search *s, const double *x)
{
    for (size_t i = 0; i <= s->n; i++) {
        memcpy(s->v[i].x, x, s->n * sizeof *x);
        if (i > 0)
            s->v[i].x[i - 1] = x[i - 1] != 0 ? 1.05 * x[i - 1] : 0.00025;
        s->v[i].f = call(s, s->v[i].x);
    }
    sort(s);
}

static bool is_small(const struct search *s, const struct simplex_options *opt)
{
    for (size_t i = 1; i <= s->n; i++) {
        if (!(fabs(s->v[i].f - s->v[0].f) <= opt->ftol))
            return false;
        for (size_t k = 0; k < s->n; k++)
            if (!(fabs(s->v[i].x[k] - s->v[0].x[k]) <= opt->xtol))
                return false;
    }
    return true;
}

static void find_centre(struct search *s)
{
    for (size_t k = 0; k < s->n; k++) {
        s->centre[k] = 0;
        for (size_t i = 0; i < s->n; i++)
            s->centre[k] += s->v[i].x[k];
        s->centre[k] /= (double)s->n;
    }
}

/* The point (1 + t) centre - t worst. */
static struct vertex along(struct search *s, double t)
{
    struct vertex p = {.f = 0};

    for (size_t k = 0; k < s->n; k++)
        p.x[k] = (1 + t) * s->centre[k] - t * s->v[s->n].x[k];
    p.f = call(s, p.x);
    return p;
}

static void shrink(struct search *s)
{
    for (size_t i = 1; i <= s->n; i++) {
        for (size_t k = 0; k < s->n; k++)
            s->v[i].x[k] = s->v[0].x[k] + 0.5 * (s->v[i].x[k] - s->v[0].x[k]);
        s->v[i].f = call(s, s->v[i].x);
    }
}

static void step(struct search *s)
{
    struct vertex *worst = &s->v[s->n], r, p;

    find_centre(s);
    r = along(s, 1);
    if (r.f < s->v[0].f) {
        p = along(s, 2);
        *worst = p.f < r.f ? p : r;
    } else if (r.f < s->v[s->n - 1].f) {
        *worst = r;
    } else if (r.f < worst->f) {
        p = along(s, 0.5);
        if (p.f <= r.f)
            *worst = p;
        else
            shrink(s);
    } else {
        p = along(s, -0.5);
        if (p.f < worst->f)
            *worst = p;
        else
            shrink(s);
    }
    sort(s);
}

struct simplex_result simplex_minimise(simplex_fn *fn, void *arg, size_t n, double *x,
                                       const struct simplex_options *opt)
{
    struct search s = {.fn = fn, .arg = arg, .n = n};
    unsigned limit = opt->max_calls ? opt->max_calls : 200 * (unsigned)n, iterations = 1;
    bool small = false;

    ASSERT(n > 0 && n <= SIMPLEX_MAX_N);
    first_simplex(&s, x);
    for (; s.calls < limit && iterations < limit && !small; iterations++) {
        small = is_small(&s, opt);
        if (!small)
            step(&s);
    }
    memcpy(x, s.v[0].x, n * sizeof *x);
    return (struct simplex_result){.value = s.v[0].f, .calls = s.calls, .converged = small};
}
