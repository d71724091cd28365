/* magnitude.h: histograms of |w| over raw weights, and a compact form of them.
 *
 * Without its sign bit a binary float, read as an integer, orders as |w| does: its "magnitude
 * bits", 15 of f16 and bf16, 31 of f32, 63 of f64. Histograms are taken in levels:
 *
 *   level 0        the top 15 bits of every weight: exact for f16 and bf16
 *   level k >= 1   the next 16 bits of those weights whose first 15 + 16 (k - 1) bits are a given
 *                  prefix: exact for f32 at level 1, for f64 at level 3
 *
 * A bin that is not exact also has the sum of w^2 of its weights, in double. NaN and infinities
 * are counted apart, at level 0 only. Weights are little-endian and need no alignment.
 */
#ifndef SPECTRALD_MAGNITUDE_H
#define SPECTRALD_MAGNITUDE_H

#include "common/buf.h"
#include "common/err.h"

enum magnitude_format {
    MAGNITUDE_F16 = 0,
    MAGNITUDE_BF16,
    MAGNITUDE_F32,
    MAGNITUDE_F64,
    MAGNITUDE_FORMAT_COUNT
};

#define MAGNITUDE_TOP_BITS   15
#define MAGNITUDE_NEXT_BITS  16
#define MAGNITUDE_LEVELS_MAX 4
/* Prefixes of one counter. */
#define MAGNITUDE_SLOTS_MAX 16

size_t magnitude_width(enum magnitude_format f);    /* bytes of one weight */
unsigned magnitude_levels(enum magnitude_format f); /* 1, 2 or 4: how many until bins are exact */
bool magnitude_exact(enum magnitude_format f, unsigned level);
/* First value of the top 15 bits that stands for infinity or NaN. */
uint32_t magnitude_top_end(enum magnitude_format f);
/* |w| of magnitude bits: exact in double. */
double magnitude_value(enum magnitude_format f, uint64_t bits);
/* Smallest and largest |w| of the bin whose first 15 + 16 level bits are `prefix`. */
double magnitude_low(enum magnitude_format f, unsigned level, uint64_t prefix);
double magnitude_high(enum magnitude_format f, unsigned level, uint64_t prefix);

struct magnitude_bin {
    uint32_t index; /* level 0: the top 15 bits; else the 16 bits that follow the prefix */
    uint64_t count; /* > 0 */
    double squares; /* sum of w^2; +infinity when it overflows */
};

struct magnitudes {
    enum magnitude_format format;
    unsigned level;
    uint64_t prefix;           /* 0 at level 0 */
    uint64_t n_nonfinite;      /* 0 at the other levels */
    uint64_t n_weights;        /* the sum of all counts */
    struct magnitude_bin *bin; /* ascending; owned */
    size_t n_bins;
};
#define MAGNITUDES_INIT                                                                            \
    {                                                                                              \
        MAGNITUDE_F16, 0, 0, 0, 0, NULL, 0                                                         \
    }

void magnitudes_done(struct magnitudes *m);

/* --- counting -------------------------------------------------------------------------------- */

struct magnitude_counter;

/* A counter for level 0 (`prefix` NULL, n = 1), or for `n` (at most MAGNITUDE_SLOTS_MAX) distinct
 * prefixes of one level in one pass. About 0.5 MB, or up to 1 MB for each prefix.
 * ERR_INVALID: there is no such level, or such a prefix; ERR_NOMEM. */
int magnitude_counter_new(enum magnitude_format f, unsigned level, const uint64_t *prefix, size_t n,
                          struct magnitude_counter **out, struct err *err);
void magnitude_counter_free(struct magnitude_counter *c);
DEFINE_AUTO(struct magnitude_counter, magnitude_counter_free)

/* Count `n` weights. O(n); the result depends on the order of weights only through the rounding of
 * sums of squares, and not on how they are cut into calls if all but the last take a multiple of 4.
 */
void magnitude_count(struct magnitude_counter *c, const void *weights, size_t n);

/* What was counted for prefix `slot`, owned by the caller; that slot starts again from nothing. At
 * level 0 squares of exact bins are filled in, too. ERR_NOMEM. */
int magnitude_take(struct magnitude_counter *c, size_t slot, struct magnitudes *out,
                   struct err *err);

/* --- together, and as bytes ------------------------------------------------------------------ */

/* a += b, both of the same format, level and prefix (ERR_INVALID). ERR_NOMEM. */
int magnitudes_add(struct magnitudes *a, const struct magnitudes *b, struct err *err);

/* Append: version, header, bins as pairs (distance, count) of variable length, then squares of bins
 * that are not exact. Typically 3 bytes for each bin that is not empty. */
void magnitudes_write(const struct magnitudes *m, struct buf *out);

/* Bytes from anywhere: checks everything, uses all of `len`, allocates no more than 24 bytes for
 * each byte of input. ERR_FORMAT, ERR_NOMEM. */
int magnitudes_parse(const void *bytes, size_t len, struct magnitudes *out, struct err *err);

/* The most bytes that magnitudes_write() makes of one histogram. */
#define MAGNITUDES_BYTES_MAX (64 + 65536 * (3 + 10 + 8))

#endif
