/* magnitude_runs.c: see allocate_magnitude.h: histograms as runs of weights. */
#include "compute/allocate_magnitude.h"

#include <stdlib.h>
#include <string.h>

#define BELOW_MAX (((uint64_t)1 << 60) - 1)

void magnitude_runs_done(struct magnitude_runs *r)
{
    free(r->run);
    *r = (struct magnitude_runs){0};
}

/* The bins of `m` as runs, with `below` weights before and `above` squares after them. Returns the
 * squares of all, and what is above. */
static double fill(const struct magnitudes *m, struct magnitude_run *run, uint64_t below,
                   double above)
{
    long double sum = above;

    for (size_t i = 0; i < m->n_bins; i++) {
        uint64_t index = m->bin[i].index;

        run[i].prefix = m->level ? m->prefix << MAGNITUDE_NEXT_BITS | index : index;
        run[i].level = m->level & 0xf;
        run[i].below = below & BELOW_MAX;
        below += m->bin[i].count;
    }
    for (size_t i = m->n_bins; i-- > 0;) {
        run[i].above = (double)sum;
        sum += m->bin[i].squares;
    }
    return (double)sum;
}

int magnitude_runs_new(const struct magnitudes *m, struct magnitude_runs *out, struct err *err)
{
    struct magnitude_runs r = {.format = m->format, .n_weights = m->n_weights, .n_runs = m->n_bins};

    if (m->level != 0 || m->n_weights > BELOW_MAX)
        return err_set(err, ERR_INVALID, "these are not the magnitudes of a whole tensor");
    r.run = malloc((m->n_bins + 1) * sizeof *r.run);
    if (!r.run)
        return err_set(err, ERR_NOMEM, "no memory for %zu bins", m->n_bins);
    r.squares = fill(m, r.run, 0, 0);
    *out = r;
    return 0;
}

/* The run that `m` refines, or n_runs. Runs of different levels never overlap, so the first bits
 * order them. */
static size_t find(const struct magnitude_runs *r, const struct magnitudes *m)
{
    unsigned levels = magnitude_levels(r->format);
    uint64_t want = m->prefix << (MAGNITUDE_NEXT_BITS * (levels - m->level));
    size_t low = 0, high = r->n_runs;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct magnitude_run *run = &r->run[middle];
        uint64_t at = run->prefix << (MAGNITUDE_NEXT_BITS * (levels - 1 - run->level));

        if (at < want)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->n_runs && r->run[low].level + 1u == m->level && r->run[low].prefix == m->prefix
               ? low
               : r->n_runs;
}

int magnitude_runs_refine(struct magnitude_runs *r, const struct magnitudes *m, struct err *err)
{
    size_t at, n = r->n_runs - 1 + m->n_bins;
    struct magnitude_run *run;
    uint64_t end;

    if (m->format != r->format || m->level == 0 || m->level >= magnitude_levels(r->format))
        return err_set(err, ERR_INVALID, "this histogram refines nothing");
    at = find(r, m);
    if (at == r->n_runs)
        return err_set(err, ERR_INVALID, "this histogram refines no run");
    end = at + 1 < r->n_runs ? r->run[at + 1].below : r->n_weights;
    if (end - r->run[at].below != m->n_weights)
        return err_set(err, ERR_CHANGED, "weights are not what they were when first counted");
    run = malloc((n + 1) * sizeof *run);
    if (!run)
        return err_set(err, ERR_NOMEM, "no memory for %zu bins", n);
    memcpy(run, r->run, at * sizeof *run);
    (void)fill(m, run + at, r->run[at].below, r->run[at].above);
    memcpy(run + at + m->n_bins, r->run + at + 1, (r->n_runs - at - 1) * sizeof *run);
    free(r->run);
    r->run = run;
    r->n_runs = n;
    return 0;
}
