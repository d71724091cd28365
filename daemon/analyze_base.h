/* analyze_base.h: a job's second model, whose tensors are taken with those of the same name.
 *
 * a->params.base names it. Its files are opened after the model's, their tables and units follow
 * the model's own in a->table and a->unit, and are cached and hashed as any model's.
 */
#ifndef SPECTRALD_ANALYZE_BASE_H
#define SPECTRALD_ANALYZE_BASE_H

#include "daemon/analyze.h"
#include "models/tensor_names.h"

void analyze_base_free(struct analyze *a);

bool analyze_is_base_file(const struct analyze *a, const struct source_file *f);

/* Its tensors and how much they are, from the tables. Error in a->err. File thread. */
int analyze_base_layers(struct analyze *a);

/* Every row that is to be analysed becomes the difference from the base's tensor of the same name,
 * or is skipped with a reason: its weights themselves are never taken for it. File thread. */
int analyze_base_match(struct analyze *a);

/* The base's tensor for row `l`, laid out as the row is: true, with *out; or why not (SKIP_NO_BASE,
 * SKIP_BASE_SHAPE, SKIP_BASE_DTYPE). `names`: the base's tensors. */
enum skip_reason analyze_base_part(const struct analyze *a, const struct tensor_names *names,
                                   const struct layer *l, struct layer_part *out);

/* Numbers that can be calculated with. */
bool analyze_base_usable(const struct analyze *a, enum dtype d);

/* The unit of such a tensor. */
const struct unit *analyze_part_unit(const struct analyze *a, const struct layer_part *p);

#endif
