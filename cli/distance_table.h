/* distance_table.h: layers of two models, those that are farthest apart first. */
#ifndef SPECTRALCTL_DISTANCE_TABLE_H
#define SPECTRALCTL_DISTANCE_TABLE_H

#include "cli/commands.h"

/* The first `most` of `layers`: objects with a longname, numbers that may be missing (relative,
 * cosine, cka, raw, bias), identical, and a reason where nothing was measured. */
void distance_table_print(const struct context *cx, const json_t *layers, size_t most);

#endif
