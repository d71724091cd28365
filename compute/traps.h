/* traps.h: correlation traps: what the shuffled matrix still has above the edge of noise, and which
 * weights make it.
 *
 * No correlation survives shuffling. An eigenvalue of the shuffled matrix above the
 * Marchenko-Pastur edge comes from few large weights (a localised trap), or from a mean (a diffuse
 * one). Trap k is the rank-one matrix T = sigma u v' of the shuffled matrix, its elements put back
 * where they came from.
 *
 * Measures and label: WeightWatcher 0.8 analyze_traps() (commit c245b864), mode "fast": of the
 * vectors u and v of the shuffled matrix. There the overlap of a trap is taken with the basis it
 * comes from and always 1; so it is here. There risk is looked at first, and only a diffuseness of
 * 0.55 or more is called diffuse, which a mean reaches far above the edge, so that a mean is called
 * localized_risky; here its vectors tell it (q), unless `compat`.
 */
#ifndef SPECTRALD_TRAPS_H
#define SPECTRALD_TRAPS_H

#include "compute/matrix.h"

/* Part of every cache key: raise it when any result may differ in a bit. */
#define TRAPS_VERSION 1

#define TRAPS_MAX    16 /* traps looked at: the largest */
#define TRAP_ENTRIES 10 /* weights listed for each */

enum trap_label {
    TRAP_MIXED = 0,
    TRAP_LOCALIZED_RISKY = 1, /* risk >= 0.5 */
    TRAP_BENIGN_DIFFUSE = 2,  /* diffuseness >= 0.55 or q < 0.1, risk below 0.5 */
    TRAP_DIFFUSE_RISKY = 3,   /* the same, risk >= 0.5; never with `compat` */
    TRAP_LABEL_COUNT
};
/* "mixed", "localized_risky", "benign_diffuse", "diffuse_risky"; NULL for an unknown value. */
const char *trap_label_name(enum trap_label l);

/* One weight that carries a trap. */
struct trap_entry {
    size_t row, column; /* in the matrix as stored */
    double weight;      /* W there */
    double component;   /* T there; more than the weight where other components cancel it */
    double share;       /* |component| / sum of |T| */
};

/* How spread out a unit vector x is; p = x^2. */
struct trap_vector {
    double ipr;     /* sum p^2: 1 for one element, 3 / (n + 2) for a random vector */
    double q;       /* that, from 0 for a random vector to 1 for one element, clipped */
    double support; /* 1 / (n sum p^2): 1 where all are equal */
    double entropy; /* -sum p ln p / ln n; 0 for n = 1 */
    double top;     /* max |x| / sum |x| */
    double gini;    /* of |x|: 0 where all are equal, 1 - 1/n for one element */
};

struct trap {
    double lambda;      /* sigma^2, in units of W'W */
    double delta;       /* (lambda - bulk_max) / bulk_max, not below 0 */
    double share;       /* lambda / |W|_F^2 */
    double ipr, q;      /* mean of ipr, geometric mean of q, over left and right */
    double top_5_mass;  /* share of sum |T| in the 5 % largest elements, */
    double top_10_mass; /* in the 10 % largest: 0.2 and 0.33 for vectors of noise */
    double diffuseness; /* 0 ... 1: 0.3 (support of u + of v) + 0.2 (entropy of u + of v) - means
                         * over both of 0.3 top + 0.2 gini, - 0.2 */
    double risk;        /* delta (1 - diffuseness), at most 1 */
    enum trap_label label;
    struct trap_vector left, right; /* along rows (length: rows) and along columns */
    size_t n_entries;
    struct trap_entry entry[TRAP_ENTRIES]; /* the largest of |T|, descending */
};

struct traps_options {
    uint64_t seed,
        stream;          /* of the shuffle: replicate r of slice s of randomize.h has stream r 2^32
                          * + s, and the same spectrum */
    enum precision keep; /* of the elements in memory */
    double bulk_max, edge; /* of the fit to the shuffled spectrum (mp_fit.h), in units of W'W */
    size_t max;            /* traps wanted, 1 ... TRAPS_MAX: num_traps of randomize.h, so that no
                            * more vectors are computed than there are traps */
    bool compat;           /* labels as upstream has them */
};

/* The largest traps, descending, into out[opt->max]; *count may be 0. `lines_are_rows`: as stored
 * (true when rows >= cols). Costs a shuffle, gram_vectors() for opt->max vectors and one more pass;
 * and, if there are traps, another shuffle. Memory: the elements as kept and the Gram matrix; after
 * that 4 bytes for each element. ERR_INVALID, ERR_LIMIT (2^32 elements), ERR_NOMEM, ERR_NUMERIC,
 * and errors of reading. */
int traps_find(const struct matrix_source *src, bool lines_are_rows,
               const struct traps_options *opt, struct trap *out, size_t *count, struct err *err);

#endif
