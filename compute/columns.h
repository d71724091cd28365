/* columns.h: the result columns of one layer, with WeightWatcher's names and meanings.
 *
 * The order is fixed and append-only: values are cached as arrays indexed by `enum column`.
 */
#ifndef SPECTRALD_COLUMNS_H
#define SPECTRALD_COLUMNS_H

#include "common/base.h"

enum column {
    COL_D = 0,
    COL_M,
    COL_N,
    COL_Q,
    COL_ALPHA,
    COL_ALPHA_WEIGHTED,
    COL_ENTROPY,
    COL_LAMBDA_MAX,
    COL_LOG_ALPHA_NORM,
    COL_LOG_NORM,
    COL_LOG_SPECTRAL_NORM,
    COL_MATRIX_RANK,
    COL_NORM,
    COL_NUM_EVALS,
    COL_NUM_PL_SPIKES,
    COL_RANK_LOSS,
    COL_RF,
    COL_SIGMA,
    COL_SPECTRAL_NORM,
    COL_STABLE_RANK,
    COL_SV_MAX,
    COL_SV_MIN,
    COL_WEAK_RANK_LOSS,
    COL_XMAX,
    COL_XMIN,
    COL_ALPHA_MID,
    COL_ALPHA_PEAK,
    COL_ALPHA_PEAK_LINEAR,
    COL_WEIGHT_MEAN,
    COL_WEIGHT_VAR,
    COL_TPL_RATE,
    COL_NUM_FINGERS,
    COL_RAW_ALPHA,
    COLUMN_COUNT
};

struct column_info {
    const char *name;    /* JSON key, as WeightWatcher names it */
    bool integer;        /* printed without a fraction */
    const char *meaning; /* one line, with unit, for documentation */
};

/* Description of a column; borrowed, static. */
const struct column_info *column_info(enum column c);

/* The column of that name, or -1. */
int column_find(const char *name);

#endif
