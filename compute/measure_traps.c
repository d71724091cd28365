/* measure_traps.c: see measure_traps.h. */
#include "compute/measure_traps.h"

#include "compute/gram_vectors.h"
#include "compute/randomize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The law of noise for the weights as they are shuffled first, or why there is none. */
static int fit_shuffled(const struct measure_input *in, const struct measure_weights *w,
                        enum precision keep, struct mp_fit *out, enum measure_reason *reason,
                        struct err *err)
{
    const struct randomize_options opt = {
        .seed = in->seed, .replicas = 1, .scale = w->scale, .keep = keep, .spectrum = w->spectrum};
    const struct mp_fit_options mp = {.method = in->opt.mp};
    AUTO(freep) double *lambda = malloc(in->n * sizeof *lambda);
    AUTO(freep) double *work = malloc(in->n * sizeof *work);
    int r;

    if (!lambda || !work)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", in->n);
    r = randomize_spectra(w->slice, 1, &opt, lambda, err);
    if (r < 0)
        return r;
    r = mp_fit(lambda, in->n, in->n_long, in->n_short, &mp, work, out, err);
    *reason = r == ERR_NUMERIC    ? MEASURE_NO_SPECTRUM
              : out->bulk_max > 0 ? MEASURED
                                  : MEASURE_NOT_CONVERGED;
    return r == ERR_NUMERIC ? 0 : r;
}

static int find(const struct measure_input *in, const struct measure_weights *w,
                const struct mp_fit *f, enum precision keep, struct measure_more *more,
                struct err *err)
{
    const struct traps_options opt = {.seed = in->seed,
                                      .keep = keep,
                                      .compat = in->opt.compat,
                                      .bulk_max = f->bulk_max / w->scale,
                                      .edge = f->edge / w->scale,
                                      .max = f->num_spikes < TRAPS_MAX ? f->num_spikes : TRAPS_MAX};
    int r = traps_find(w->slice, w->lines_are_rows, &opt, more->trap, &more->n_traps, err);

    for (size_t k = 0; r == 0 && k < more->n_traps; k++)
        more->trap[k].lambda *= w->scale;
    return r;
}

static const struct trap *riskiest(const struct measure_more *more)
{
    const struct trap *t = &more->trap[0]; /* of equals the largest */

    for (size_t k = 1; k < more->n_traps; k++)
        if (more->trap[k].risk > t->risk)
            t = &more->trap[k];
    return t;
}

static void fill(size_t count, const struct measure_more *more, struct measure_result *out)
{
    const struct trap *t = more->n_traps ? riskiest(more) : NULL;
    const struct trap_entry *e = t && t->n_entries ? &t->entry[0] : NULL;
    const double v[] = {(double)count,
                        t ? more->trap[0].delta : 0,
                        t ? t->risk : 0,
                        t ? (double)t->label : NAN,
                        t ? t->diffuseness : NAN,
                        t ? t->top_5_mass : NAN,
                        e ? (double)e->row : NAN,
                        e ? (double)e->column : NAN,
                        e ? e->weight : NAN};

    _Static_assert(ARRAY_LEN(v) == MEASURE_TRAPS_COLUMNS, "a value for each column");
    memcpy(out->v, v, sizeof v);
}

int measure_traps(const struct measure_input *in, const struct measure_weights *w,
                  struct measure_more *more, struct measure_result *out, struct err *err)
{
    enum precision keep = w->wide ? PRECISION_DOUBLE : PRECISION_SINGLE;
    struct mp_fit f = {0};
    int r;

    out->reason = w->n_slices > 1                           ? MEASURE_NOT_A_MATRIX
                  : in->n < 2 || in->lambda[in->n - 1] <= 0 ? MEASURE_NO_SPECTRUM
                                                            : MEASURED;
    if (out->reason != MEASURED)
        return 0;
    r = fit_shuffled(in, w, keep, &f, &out->reason, err);
    if (r < 0 || out->reason != MEASURED)
        return r;
    if (f.num_spikes > 0)
        r = find(in, w, &f, keep, more, err);
    if (r == 0)
        fill(f.num_spikes, more, out);
    return r;
}

void measure_traps_cost(size_t n_long, size_t n_short, struct measure_cost *c)
{
    double elements = (double)n_long * (double)n_short;
    double spectrum = spectrum_bytes(n_long, n_short);
    double vectors = gram_vectors_bytes(n_short, TRAPS_MAX) + 8.0 * TRAPS_MAX * (double)n_long;

    /* a spectrum; vectors take twice that; two shuffles, and one more of numbers */
    c->flops += 3 * spectrum_flops(n_long, n_short) + 300 * elements;
    c->bytes += 8 * elements + (vectors > spectrum ? vectors : spectrum);
}
