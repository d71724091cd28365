/* row_matrix.h: a row's matrix as the numerical code wants it, whatever tensors it is made of: one
 * source, read from file descriptors.
 */
#ifndef SPECTRALD_ROW_MATRIX_H
#define SPECTRALD_ROW_MATRIX_H

#include "compute/spectrum.h"
#include "daemon/file_matrix.h"
#include "daemon/weights.h"

struct row_matrix;

/* `fd`: a file for each tensor, borrowed. ERR_NOMEM, ERR_CHANGED when a file became shorter. */
int row_matrix_open(const int *fd, const struct weights *w, struct row_matrix **out,
                    struct err *err);
void row_matrix_free(struct row_matrix *m);
DEFINE_AUTO(struct row_matrix, row_matrix_free)

/* The spectrum of a product, unscaled by anything but its own factor: as many values as are not
 * zero because of its shape, ascending; *n of them, the caller's to free. With n_nonfinite > 0 in
 * *info there is none. ERR_NOMEM, ERR_LIMIT, ERR_NUMERIC. */
int row_matrix_product(struct row_matrix *m, double **lambda, size_t *n, struct spectrum_info *info,
                       struct err *err);

/* The others: source for slice `slice`; valid until the matrix is freed or another slice is asked
 * for. */
const struct matrix_source *row_matrix_slice(struct row_matrix *m, uint64_t slice);

/* Elements of a box, as file_matrix_box() gives them. */
int row_matrix_box(struct row_matrix *m, const struct matrix_box *box, enum precision p, void *out,
                   uint64_t *n_nonfinite, struct err *err);

#endif
