/* measure.h: what is measured of a layer besides its default columns (columns.h), each on request.
 *
 * Every measure gives a fixed list of columns, from the layer's spectrum and its power-law fit, and
 * some from its weights as well. Names are WeightWatcher's (0.7.5.5) where it has the column.
 */
#ifndef SPECTRALD_MEASURE_H
#define SPECTRALD_MEASURE_H

#include "compute/layer_metrics.h"
#include "compute/mp_fit.h"
#include "compute/spectrum.h"
#include "compute/traps.h"

enum measure {
    MEASURE_MP = 0,       /* mp_fit.h */
    MEASURE_ERG,          /* erg.h */
    MEASURE_SNR,          /* spectrum_snr.h */
    MEASURE_RANDOM,       /* randomize.h; needs the weights */
    MEASURE_VECTORS,      /* vector_metrics.h; needs the weights */
    MEASURE_PHASE,        /* phase.h */
    MEASURE_ALTERNATIVES, /* vuong.h: other distributions than the power law */
    MEASURE_BOOTSTRAP,    /* bootstrap.h: is the power law plausible, and how sure is alpha */
    MEASURE_TRAPS,        /* traps.h; needs the weights */
    MEASURE_COUNT
};

/* How a value is written. */
enum measure_form { MEASURE_REAL = 0, MEASURE_INTEGER, MEASURE_WORD };

struct measure_column {
    const char *name;
    enum measure_form form;
    const char *(*word)(unsigned value); /* of MEASURE_WORD: its name; NULL for an unknown value */
    const char *meaning;                 /* one line, with unit */
};

#define MEASURE_COLUMNS_MAX 24

/* How many each has. */
enum {
    MEASURE_MP_COLUMNS = 10,
    MEASURE_ERG_COLUMNS = 6,
    MEASURE_SNR_COLUMNS = 7,
    MEASURE_RANDOM_COLUMNS = 14,
    MEASURE_VECTORS_COLUMNS = 12,
    MEASURE_PHASE_COLUMNS = 18,
    MEASURE_ALTERNATIVES_COLUMNS = 11,
    MEASURE_BOOTSTRAP_COLUMNS = 6,
    MEASURE_TRAPS_COLUMNS = 9,
};

struct measure_info {
    const char *name; /* the parameter that asks for it */
    uint32_t version; /* part of cache keys: raise it when any value may differ */
    bool weights;     /* needs them */
    const struct measure_column *column;
    size_t n_columns;
};

/* The column ww_softrank of MEASURE_RANDOM, and trap_count of MEASURE_TRAPS. */
#define MEASURE_RANDOM_SOFTRANK 2
#define MEASURE_TRAPS_COUNT     0

/* Borrowed, static. */
const struct measure_info *measure_info(enum measure m);

/* The column of that name; NULL: no measure has it. */
const struct measure_column *measure_column_find(const char *name);

/* Why there are no values. Append-only: cached. */
enum measure_reason {
    MEASURED = 0,
    MEASURE_NO_SPECTRUM, /* too few eigenvalues, or all are zero */
    MEASURE_NO_FIT,      /* it describes the fitted tail, and there is none */
    MEASURE_NOT_CONVERGED,
    MEASURE_NOT_A_MATRIX, /* several, as of a convolution */
    MEASURE_TOO_LARGE,    /* for this measure */
    MEASURE_REASON_COUNT
};
/* "", "no_spectrum", "no_fit", "not_converged", "not_a_matrix", "too_large"; NULL if unknown. */
const char *measure_reason_name(enum measure_reason r);

struct measure_result {
    enum measure_reason reason;
    double v[MEASURE_COLUMNS_MAX]; /* as the columns; NaN = not available */
};

struct measure_options {
    bool compat; /* WeightWatcher's values where the default differs */
    enum mp_fit_method mp;
    uint32_t replicas;  /* of MEASURE_RANDOM; 0 = as upstream */
    uint32_t bootstrap; /* replicates of MEASURE_BOOTSTRAP; 0 = BOOTSTRAP_REPLICATES */
};

struct measure_input {
    const double *lambda; /* of all slices, scaled, ascending; n of them */
    size_t n;
    size_t n_long, n_short; /* N >= M of one slice */
    const struct layer_values *fit;
    double null_largest; /* mean largest eigenvalue of shuffled weights, as MEASURE_RANDOM has it;
                          * NaN: not known */
    uint64_t seed;       /* of random steps: from the content of the weights */
    struct measure_options opt;
};

/* Fill *out, for measures that need no weights. Returns 0 also when there are no values
 * (out->reason). ERR_NOMEM. */
int measure_spectrum(enum measure m, const struct measure_input *in, struct measure_result *out,
                     struct err *err);

/* The weights of a layer. */
struct measure_weights {
    const struct matrix_source *slice; /* n_slices of one shape */
    size_t n_slices;
    double scale;        /* on eigenvalues */
    bool wide;           /* more than 32 bits each */
    bool lines_are_rows; /* the sources' lines are the rows of the matrix as stored */
    struct spectrum_options spectrum;
};

/* What measures give besides columns. */
struct measure_more {
    double *null; /* MEASURE_RANDOM: the in->n eigenvalues of the weights as they are shuffled
                   * first, ascending; zero when there are none. The caller's room */
    struct trap trap[TRAPS_MAX]; /* MEASURE_TRAPS: the largest, descending, in the eigenvalues'
                                  * units */
    size_t n_traps;
};

/* The same for measures that need them. ERR_NOMEM, and errors of reading. */
int measure_weights(enum measure m, const struct measure_input *in, const struct measure_weights *w,
                    struct measure_more *more, struct measure_result *out, struct err *err);

/* Operations and bytes of memory that it takes on n_slices matrices, for the scheduler. */
struct measure_cost {
    double flops, bytes;
};
struct measure_cost measure_cost(enum measure m, const struct measure_options *opt, size_t n_long,
                                 size_t n_short, size_t n_slices);

#endif
