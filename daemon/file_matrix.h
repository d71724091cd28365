/* file_matrix.h: a layer's matrix as the numerical code wants it, read from a file descriptor.
 *
 * Plain 2-D matrices are streamed; a convolution's interleaved slices are loaded once and
 * gathered from memory.
 */
#ifndef SPECTRALD_FILE_MATRIX_H
#define SPECTRALD_FILE_MATRIX_H

#include "compute/matrix.h"
#include "daemon/wire.h"

struct file_matrix; /* owns its scratch memory, borrows the descriptor */

/* ERR_NOMEM, or ERR_CHANGED when the file became shorter. */
int file_matrix_open(int fd, const struct wire_matrix *m, struct file_matrix **out,
                     struct err *err);
void file_matrix_free(struct file_matrix *fm);
DEFINE_AUTO(struct file_matrix, file_matrix_free)

/* Source for slice `slice`; valid until the matrix is freed or another slice is asked for. */
const struct matrix_source *file_matrix_slice(struct file_matrix *fm, uint64_t slice);

/* A rectangle of one slice. */
struct matrix_box {
    uint64_t slice, row, n_rows, col, n_cols;
};

/* Elements of a box inside the matrix as stored, row by row, to `out`. Adds NaN and infinite ones
 * to *n_nonfinite. ERR_CHANGED when the file became shorter. */
int file_matrix_box(struct file_matrix *fm, const struct matrix_box *box, enum precision p,
                    void *out, uint64_t *n_nonfinite, struct err *err);

/* Whether a matrix of this layout is loaded whole (then it costs nbytes of memory). */
bool file_matrix_loads(const struct wire_matrix *m);

#endif
