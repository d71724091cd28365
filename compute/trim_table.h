/* trim_table.h: what is left of each row's output after every number of weights removed. Private to
 * compute/trim.c. */
#ifndef SPECTRALD_TRIM_TABLE_H
#define SPECTRALD_TRIM_TABLE_H

#include "compute/trim.h"

struct trim_table;

/* ERR_NOMEM. */
int trim_table_new(const struct trim_input *in, struct trim_table **out, struct err *err);
void trim_table_free(struct trim_table *t);
DEFINE_AUTO(struct trim_table, trim_table_free)

/* |y|^2 of a row, and the largest y^2 (0 with a Gram matrix). */
double trim_table_power(const struct trim_table *t, size_t row);
double trim_table_peak(const struct trim_table *t, size_t row);

/* y.y~ and |y~|^2 of a row without its first k weights in order. */
void trim_table_at(const struct trim_table *t, size_t row, size_t k, double *b, double *c);

#endif
