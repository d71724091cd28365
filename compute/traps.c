/* traps.c: singular triplets of a shuffled matrix, and where their largest elements came from. */
#include "compute/traps.h"

#include "compute/gram_vectors.h"
#include "compute/lapack.h"
#include "compute/lines.h"
#include "compute/randomize.h"
#include "compute/trap_measures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

DEFINE_AUTO(struct shuffled, shuffled_free)

/* u (n_long x count) = W V. */
static int left_vectors(const struct matrix_source *src, const struct gram_vectors *g, size_t first,
                        size_t count, double *u, struct err *err)
{
    size_t n = src->n_short, step = lines_at_once(n);
    AUTO(freep) double *lines = malloc(step * n * sizeof *lines);
    uint64_t n_nonfinite = 0;

    if (!lines)
        return err_set(err, ERR_NOMEM, "no memory for lines of a matrix");
    for (size_t i = 0; i < src->n_long; i += step) {
        size_t k = src->n_long - i < step ? src->n_long - i : step;
        int r = lines_read(src, i, k, lines, NULL, &n_nonfinite, err); /* shuffled: contiguous */

        if (r < 0)
            return r;
        cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, lapack_size(k), lapack_size(count),
                    lapack_size(n), 1, lines, lapack_size(n), g->v + first * n, lapack_size(n), 0,
                    u + i, lapack_size(src->n_long));
    }
    return 0;
}

/* --- the largest elements of one trap -------------------------------------------------------- */

struct ranked {
    double value; /* absolute */
    size_t index;
};

static int compare_ranked(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;

    if (a->value != b->value)
        return a->value < b->value ? 1 : -1;
    return (a->index > b->index) - (a->index < b->index);
}

/* |x| descending, and where each came from. */
static struct ranked *rank(const double *x, size_t n)
{
    struct ranked *r = malloc(n * sizeof *r);

    for (size_t i = 0; r && i < n; i++)
        r[i] = (struct ranked){fabs(x[i]), i};
    if (r)
        qsort(r, n, sizeof *r, compare_ranked);
    return r;
}

static double *values_of(const struct ranked *r, size_t n)
{
    double *v = malloc(n * sizeof *v);

    for (size_t i = 0; v && i < n; i++)
        v[i] = r[i].value;
    return v;
}

/* One trap while it is worked on: shuffled space, u along lines and v within. */
struct work {
    const double *u, *v;
    size_t n_u, n_v;
    struct ranked *ru, *rv;
    double *au, *av; /* absolute values, descending */
};

static void work_free(struct work *w)
{
    free(w->ru);
    free(w->rv);
    free(w->au);
    free(w->av);
}

/* The TRAP_ENTRIES largest |u_i v_j| are among the TRAP_ENTRIES largest of either. at[] gets their
 * numbers in the shuffled matrix. */
static size_t largest_products(const struct work *w, size_t at[TRAP_ENTRIES])
{
    struct ranked all[TRAP_ENTRIES * TRAP_ENTRIES];
    size_t n = 0;

    for (size_t i = 0; i < TRAP_ENTRIES && i < w->n_u; i++)
        for (size_t j = 0; j < TRAP_ENTRIES && j < w->n_v; j++)
            all[n++] =
                (struct ranked){w->au[i] * w->av[j], w->ru[i].index * w->n_v + w->rv[j].index};
    qsort(all, n, sizeof *all, compare_ranked);
    n = n < TRAP_ENTRIES ? n : TRAP_ENTRIES;
    for (size_t k = 0; k < n; k++)
        at[k] = all[k].index;
    return n;
}

/* All but entry[].row and .column, for which at[] is where to look. */
static int measure(struct work *w, const struct shuffled *s, bool lines_are_rows, bool compat,
                   struct trap *t, size_t at[TRAP_ENTRIES], struct err *err)
{
    double sum =
        cblas_dasum(lapack_size(w->n_u), w->u, 1) * cblas_dasum(lapack_size(w->n_v), w->v, 1);
    struct trap_sides sides;
    struct trap_vector lines, within;

    w->ru = rank(w->u, w->n_u);
    w->rv = rank(w->v, w->n_v);
    w->au = w->ru ? values_of(w->ru, w->n_u) : NULL;
    w->av = w->rv ? values_of(w->rv, w->n_v) : NULL;
    if (!w->au || !w->av)
        return err_set(err, ERR_NOMEM, "no memory for %zu elements", w->n_u + w->n_v);
    sides = (struct trap_sides){w->au, w->av, w->n_u, w->n_v};
    lines = trap_vector_of(w->au, w->n_u);
    within = trap_vector_of(w->av, w->n_v);
    t->left = lines_are_rows ? lines : within;
    t->right = lines_are_rows ? within : lines;
    t->ipr = (lines.ipr + within.ipr) / 2;
    t->q = sqrt(lines.q * within.q);
    t->top_5_mass = trap_mass(&sides, 0.05);
    t->top_10_mass = trap_mass(&sides, 0.10);
    trap_assess(t, compat);
    t->n_entries = largest_products(w, at);
    for (size_t k = 0; k < t->n_entries; k++) {
        double c = w->u[at[k] / w->n_v] * w->v[at[k] % w->n_v]; /* u has the norm sigma */

        t->entry[k] = (struct trap_entry){
            .weight = shuffled_element(s, at[k]), .component = c, .share = fabs(c) / sum};
    }
    return 0;
}

/* --- all of them ----------------------------------------------------------------------------- */

/* Traps with everything but places, which are numbers at[TRAP_ENTRIES k ...] in shuffled order. */
static int find(struct shuffled *s, bool lines_are_rows, const struct traps_options *opt,
                struct trap *out, size_t *at, size_t *count, struct err *err)
{
    AUTO(gram_vectors_free) struct gram_vectors g = {0};
    AUTO(freep) double *u = NULL;
    struct matrix_source src = shuffled_source(s);
    size_t wanted = opt->max < src.n_short ? opt->max : src.n_short, n = 0;
    int r = gram_vectors(&src, src.n_short - wanted, wanted, &g, err);

    if (r < 0)
        return r;
    while (n < wanted && g.lambda[wanted - 1 - n] > opt->edge)
        n++;
    *count = n;
    if (n == 0)
        return 0;
    u = malloc(n * src.n_long * sizeof *u);
    if (!u)
        return err_set(err, ERR_NOMEM, "no memory for %zu vectors", n);
    r = left_vectors(&src, &g, wanted - n, n, u, err);
    for (size_t k = 0; r == 0 && k < n; k++) {
        size_t i = n - 1 - k; /* largest first */
        double lambda = g.lambda[wanted - 1 - k];
        AUTO(work_free)
        struct work w = {.u = u + i * src.n_long,
                         .v = g.v + (wanted - n + i) * src.n_short,
                         .n_u = src.n_long,
                         .n_v = src.n_short};

        out[k] = (struct trap){.lambda = lambda,
                               .share = lambda / g.trace,
                               .delta = fmax(0, (lambda - opt->bulk_max) / opt->bulk_max)};
        r = measure(&w, s, lines_are_rows, opt->compat, &out[k], at + k * TRAP_ENTRIES, err);
    }
    return r;
}

static int find_places(const struct matrix_source *src, bool lines_are_rows,
                       const struct traps_options *opt, size_t n_traps, const size_t *at,
                       struct trap *out, struct err *err)
{
    size_t origin[TRAPS_MAX * TRAP_ENTRIES], n = n_traps * TRAP_ENTRIES;
    int r =
        shuffled_origins(src->n_long * src->n_short, opt->seed, opt->stream, at, n, origin, err);

    if (r < 0)
        return r;
    for (size_t k = 0; k < n_traps; k++)
        for (size_t e = 0; e < out[k].n_entries; e++) {
            size_t line = origin[k * TRAP_ENTRIES + e] / src->n_short;
            size_t within = origin[k * TRAP_ENTRIES + e] % src->n_short;

            out[k].entry[e].row = lines_are_rows ? line : within;
            out[k].entry[e].column = lines_are_rows ? within : line;
        }
    return 0;
}

int traps_find(const struct matrix_source *src, bool lines_are_rows,
               const struct traps_options *opt, struct trap *out, size_t *count, struct err *err)
{
    AUTO(shuffled_freep) struct shuffled *s = NULL;
    size_t at[TRAPS_MAX * TRAP_ENTRIES] = {0};
    int r;

    if (opt->max == 0 || opt->max > TRAPS_MAX || !(opt->bulk_max > 0) ||
        !(opt->edge >= opt->bulk_max) || !isfinite(opt->edge))
        return err_set(err, ERR_INVALID, "%zu traps above %g, beyond a bulk up to %g", opt->max,
                       opt->edge, opt->bulk_max);
    r = shuffled_new(src, opt->keep, &s, err);
    if (r < 0)
        return r;
    shuffled_shuffle(s, opt->seed, opt->stream);
    r = find(s, lines_are_rows, opt, out, at, count, err);
    shuffled_free(TAKE(s)); /* before as much is needed for the places */
    if (r < 0 || *count == 0)
        return r;
    return find_places(src, lines_are_rows, opt, *count, at, out, err);
}
