/* analyze_products.h: rows that are products of neighbouring matrices. */
#ifndef SPECTRALD_ANALYZE_PRODUCTS_H
#define SPECTRALD_ANALYZE_PRODUCTS_H

#include "daemon/analyze.h"

/* Once it is known which rows are analysed: at the end, a row for each two of them that follow one
 * another and share a dimension. ERR_LIMIT in a->err. File thread. */
int analyze_product_rows(struct analyze *a);

#endif
