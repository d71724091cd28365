/* records.h: what a compute worker returns and the cache keeps: a layer's spectrum, and its
 * metrics. Both are bytes with a version; parsing treats them as hostile.
 */
#ifndef SPECTRALD_RECORDS_H
#define SPECTRALD_RECORDS_H

#include "common/buf.h"
#include "compute/layer_metrics.h"
#include "compute/spectrum.h"

struct spectrum_record {
    enum spectrum_method method;
    enum precision precision;
    double error_bound;   /* absolute, of the unscaled eigenvalues */
    uint64_t n_nonfinite; /* weights that are NaN or infinite; then there are no eigenvalues */
    uint64_t n_long;      /* N of one slice */
    uint64_t n_per_slice; /* M */
    uint64_t n_slices;
    double weight_sum;    /* of all weights, when all are finite */
    char core[32];        /* BLAS kernel, e.g. "SkylakeX" */
    char config[128];     /* BLAS version and build */
    const double *lambda; /* n_slices * n_per_slice, each slice ascending; borrowed */
};

/* Bytes needed for a record with `count` eigenvalues (8-byte aligned throughout). */
size_t spectrum_record_size(size_t count);
/* Write header and eigenvalues to `out` (spectrum_record_size bytes). */
void spectrum_record_write(const struct spectrum_record *s, void *out);
/* Parse and validate: finite, ascending, not negative, sizes agree. `lambda` points into
 * `bytes`, which must be 8-byte aligned. ERR_CRASHED. */
int spectrum_record_parse(const void *bytes, size_t len, struct spectrum_record *out,
                          struct err *err);

/* How a tail is fitted, on the way to a worker. */
void fit_options_put(struct buf *b, const struct layer_fit_options *o);
/* False when they do not go together. */
bool fit_options_get(struct reader *r, struct layer_fit_options *out);

void values_record_write(const struct layer_values *v, struct buf *out);
int values_record_parse(const void *bytes, size_t len, struct layer_values *out, struct err *err);

#endif
