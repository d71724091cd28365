/* prune_form.h: a pruned matrix in the form that the output wants it.
 *
 * Rows and columns are those of the file here, which for a transposed matrix are not those that
 * are pruned.
 */
#ifndef SPECTRALD_PRUNE_FORM_H
#define SPECTRALD_PRUNE_FORM_H

#include "daemon/prune_task.h"

uint64_t prune_form_rows(const struct wire_matrix *m);
uint64_t prune_form_cols(const struct wire_matrix *m);

/* Bytes of a mask. */
uint64_t prune_form_mask(const struct wire_matrix *m);

/* The most bytes that a worker may send for t->form. */
uint64_t prune_form_most(const struct prune_task *t);

/* Parts of what a worker sends for an outcome, one after another: the matrix; the mask; or offsets
 * of rows, elements and mask. Returns how many. */
#define PRUNE_PARTS 3
unsigned prune_form_parts(const struct prune_task *t, const struct prune_outcome *o,
                          uint64_t len[PRUNE_PARTS]);

/* False when the matrix has holes, or its form is none. */
bool prune_form_fits(const struct prune_task *t);

/* The worker's side: `bytes` (the matrix, as stored, pruned, with `zeros` elements that are zero)
 * as t->form in a memory file. */
int prune_form_encode(const struct prune_task *t, const void *bytes, uint64_t zeros, int *fd,
                      struct err *err);

#endif
