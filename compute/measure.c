/* measure.c: see measure.h. */
#include "compute/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- columns --------------------------------------------------------------------------------- */

static const char *const mp_methods[] = {"robust", "upstream", NULL};

static const struct measure_column mp_columns[] = {
    {"W_scale", MEASURE_REAL, NULL, "factor that gives the weights a mean eigenvalue of 1"},
    {"sigma_mp", MEASURE_REAL, NULL, "deviation of the noise over that of all weights"},
    {"bulk_min", MEASURE_REAL, NULL, "lower edge of the bulk of noise"},
    {"bulk_max", MEASURE_REAL, NULL, "upper edge of the bulk of noise"},
    {"mp_softrank", MEASURE_REAL, NULL, "bulk_max / lambda_max"},
    {"num_spikes", MEASURE_INTEGER, NULL, "eigenvalues above mp_edge"},
    {"mp_edge", MEASURE_REAL, NULL, "what the largest eigenvalue of noise stays below"},
    {"num_far_spikes", MEASURE_INTEGER, NULL, "eigenvalues clearly above mp_edge"},
    {"mp_distance", MEASURE_REAL, NULL, "Kolmogorov-Smirnov distance of the bulk to the law"},
    {"mp_method", MEASURE_WORD, mp_methods, "how the law was fitted"},
};

static const struct measure_info infos[] = {
    [MEASURE_MP] = {"mp_fit", MP_FIT_VERSION, false, mp_columns, ARRAY_LEN(mp_columns)},
};
_Static_assert(ARRAY_LEN(infos) == MEASURE_COUNT, "one for each measure");
_Static_assert(ARRAY_LEN(mp_columns) <= MEASURE_COLUMNS_MAX, "room for all columns");

const struct measure_info *measure_info(enum measure m)
{
    return &infos[m];
}

const struct measure_column *measure_column_find(const char *name)
{
    for (unsigned m = 0; m < MEASURE_COUNT; m++)
        for (size_t i = 0; i < infos[m].n_columns; i++)
            if (strcmp(infos[m].column[i].name, name) == 0)
                return &infos[m].column[i];
    return NULL;
}

const char *measure_reason_name(enum measure_reason r)
{
    static const char *const names[] = {"", "no_spectrum", "no_fit", "not_converged"};

    _Static_assert(ARRAY_LEN(names) == MEASURE_REASON_COUNT, "a name for each");
    return (size_t)r < ARRAY_LEN(names) ? names[r] : NULL;
}

/* --- the spectrum ---------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void measure_pool(const struct layer_spectrum *s, double *out)
{
    size_t n = s->n_slices * s->n_per_slice;

    for (size_t i = 0; i < n; i++)
        out[i] = s->lambda[i] * s->scale;
    if (s->n_slices > 1)
        qsort(out, n, sizeof *out, ascending);
}

/* --- measures -------------------------------------------------------------------------------- */

static int measure_mp(const struct measure_input *in, struct measure_result *out, struct err *err)
{
    const struct mp_fit_options opt = {.method = in->opt.mp};
    double *work = malloc(in->n * sizeof *work);
    struct mp_fit f;
    int r;

    if (!work)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", in->n);
    r = mp_fit(in->lambda, in->n, in->n_long, in->n_short, &opt, work, &f, err);
    free(work);
    if (r == ERR_NUMERIC) {
        out->reason = MEASURE_NO_SPECTRUM;
        return 0;
    }
    if (r < 0)
        return r;
    const double v[] = {
        f.w_scale, f.sigma,           f.bulk_min, f.bulk_max, f.softrank, (double)f.num_spikes,
        f.edge,    (double)f.num_far, f.distance, f.method};

    _Static_assert(ARRAY_LEN(v) == ARRAY_LEN(mp_columns), "a value for each column");
    memcpy(out->v, v, sizeof v);
    return 0;
}

int measure_spectrum(enum measure m, const struct measure_input *in, struct measure_result *out,
                     struct err *err)
{
    out->reason = MEASURED;
    for (size_t i = 0; i < MEASURE_COLUMNS_MAX; i++)
        out->v[i] = NAN;
    switch (m) {
    case MEASURE_MP:
        return measure_mp(in, out, err);
    case MEASURE_COUNT:
        break;
    }
    return err_set(err, ERR_INVALID, "no such measure");
}

double measure_flops(enum measure m, size_t n)
{
    static const double per_eigenvalue[] = {[MEASURE_MP] = 2e3};

    _Static_assert(ARRAY_LEN(per_eigenvalue) == MEASURE_COUNT, "a cost for each");
    return per_eigenvalue[m] * (double)n + 1e4;
}
