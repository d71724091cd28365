/* layer_analysis.h: an analysis whose layer rows are wanted. */
#ifndef SPECTRALD_LAYER_ANALYSIS_H
#define SPECTRALD_LAYER_ANALYSIS_H

#include "storage/store.h"

/* The analysis, whose rows must be there: ERR_GONE when the cache lost them, ERR_NOT_FOUND. On the
 * store thread. */
int layer_analysis(struct store *st, const char *id, struct analysis_record *out, struct err *err);

#endif
