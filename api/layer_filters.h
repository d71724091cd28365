/* layer_filters.h: by what tables of layers are filtered. */
#ifndef SPECTRALD_LAYER_FILTERS_H
#define SPECTRALD_LAYER_FILTERS_H

#include "api/table.h"

/* status, layer_type, role, block, and name, a part of longname. */
#define LAYER_FILTERS 5
extern const struct table_filter layer_filters[LAYER_FILTERS];

#endif
