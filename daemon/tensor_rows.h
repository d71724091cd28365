/* tensor_rows.h: where the tensors of a model are kept: rows of the cache (store_rows_put()), one a
 * tensor, in natural order of names, under a key that follows from the model's id.
 *
 * A model is its content: the same tensors cut into other files are the same model, so a row says
 * nothing of files and offsets.
 */
#ifndef SPECTRALD_TENSOR_ROWS_H
#define SPECTRALD_TENSOR_ROWS_H

#include "common/digest.h"

void tensor_rows_key(const char *model_id, struct digest *out);

#endif
