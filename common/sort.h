/* sort.h: sorting numbers. */
#ifndef SPECTRALD_SORT_H
#define SPECTRALD_SORT_H

#include <stddef.h>

/* x[0] <= x[1] <= ... of n numbers, none of them NaN. */
void sort_ascending(double *x, size_t n);

#endif
