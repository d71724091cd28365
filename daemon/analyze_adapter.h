/* analyze_adapter.h: rows of low-rank adapters, in a job of kind analyze. */
#ifndef SPECTRALD_ANALYZE_ADAPTER_H
#define SPECTRALD_ANALYZE_ADAPTER_H

#include "daemon/analyze.h"

/* Before rows are filtered: the two matrices of every adapter become one row, as
 * a->params.adapter says. ERR_INVALID, ERR_FORMAT, … in a->err. File thread. */
int analyze_adapter_rows(struct analyze *a);

#endif
