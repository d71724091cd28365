/* randomize.h: the same weights in random order, and what that does to the spectrum.
 *
 * Shuffling the elements keeps their distribution and destroys every correlation. What the shuffled
 * matrix still has above the Marchenko-Pastur edge comes from single large elements or from a mean
 * (correlation traps, traps.h). Columns: WeightWatcher 0.7.5.5 apply_random_esd(). There the
 * generator is not seeded; here the caller gives a seed, and replicate r of slice s uses stream r
 * 2^32 + s of it, so that results depend on nothing else.
 */
#ifndef SPECTRALD_RANDOMIZE_H
#define SPECTRALD_RANDOMIZE_H

#include "compute/mp_fit.h"
#include "compute/spectrum.h"

/* Part of every cache key: raise it when any result may differ in a bit. */
#define RANDOMIZE_VERSION 1

/* --- one matrix, shuffled -------------------------------------------------------------------- */

/* All elements of a matrix in memory, line after line, in the precision chosen: 4 or 8 bytes each.
 * Single is exact for weights of at most 32 bits. */
struct shuffled;

/* Read all of src. ERR_NUMERIC when an element is not finite, ERR_NOMEM, or what src->read says.
 * The caller frees *out. */
int shuffled_new(const struct matrix_source *src, enum precision precision, struct shuffled **out,
                 struct err *err);
void shuffled_free(struct shuffled *s); /* NULL is fine */

/* Put the elements, as they lie now, into another random order. About 30 ns each in a large matrix.
 */
void shuffled_shuffle(struct shuffled *s, uint64_t seed, uint64_t stream);

/* The matrix as it is now. Borrowed: `s` must outlive it. */
struct matrix_source shuffled_source(struct shuffled *s);

/* Its elements now: element j of line i is number i * n_short + j. */
double shuffled_element(const struct shuffled *s, size_t number);

/* Where n elements that were shuffled once, by (seed, stream), came from: origin[i] is the number
 * of the element that is now number at[i]. 4 n bytes. ERR_LIMIT: n >= 2^32. ERR_NOMEM. */
int shuffled_origins(size_t n, uint64_t seed, uint64_t stream, const size_t *at, size_t count,
                     size_t *origin, struct err *err);

/* --- spectra --------------------------------------------------------------------------------- */

struct randomize_options {
    uint64_t seed;
    size_t replicas;     /* 1 ... RANDOMIZE_REPLICAS_MAX */
    double scale;        /* factor on every eigenvalue: 0.5 for pooled conv2d, else 1 */
    enum precision keep; /* of the elements in memory */
    struct spectrum_options spectrum;
};
#define RANDOMIZE_REPLICAS_MAX 1000

/* As many replicates as upstream pools: 5 for fewer than 100 eigenvalues, else 1. */
size_t randomize_replicas(size_t n);

/* Spectra of shuffled matrices: out[r * n ... r * n + n - 1] are the eigenvalues of all slices in
 * replicate r, ascending, n = n_slices * n_short. All slices have the same shape and each is
 * shuffled by itself. Memory: one slice as kept, and what a spectrum takes (spectrum_bytes()).
 * ERR_INVALID, ERR_NUMERIC (elements not finite), ERR_NOMEM, and errors of reading. */
int randomize_spectra(const struct matrix_source *slices, size_t n_slices,
                      const struct randomize_options *opt, double *out, struct err *err);

/* --- what they say --------------------------------------------------------------------------- */

struct randomize_values {
    double max_rand_eval; /* largest eigenvalue of all replicates */
    double rand_distance; /* randomize_distance(), mean over replicates */
    double ww_softrank;   /* mean over replicates of the largest, over the largest of W */
    double ww_maxdist;    /* largest of W minus that mean */
    double
        distance_sd;  /* standard deviations over replicates of rand_distance and of the largest */
    double max_sd;    /* eigenvalue; NaN for one replicate */
    size_t replicas;  /* averaged over */
    size_t num_traps; /* eigenvalues above the edge of `fit`, median over replicates */
    bool fitted;
    struct mp_fit fit; /* of all replicates together: the columns rand_sigma_mp, rand_bulk_min, ...;
                        * rand_num_spikes counts in all of them. Undefined unless fitted */
};

/* Compare n eigenvalues (ascending) of n / n_short slices of n_long x n_short with `replicas`
 * spectra from randomize_spectra(). With `compat` the last replicate alone gives rand_distance,
 * ww_softrank and ww_maxdist, and the others max_rand_eval and the fit, as upstream; it takes two
 * or more. Values that do not exist (a zero matrix) are NaN. ERR_INVALID, ERR_NOMEM. */
int randomize_compare(const double *lambda, size_t n, size_t n_long, size_t n_short,
                      const double *null, size_t replicas, bool compat,
                      const struct mp_fit_options *mp, struct randomize_values *out,
                      struct err *err);

/* Square root of the Jensen-Shannon divergence (natural logarithm) of two ascending sequences, each
 * divided by its sum: between order statistics, not between distributions. NaN when a sum is not
 * positive. */
double randomize_distance(const double *p, const double *q, size_t n);

#endif
