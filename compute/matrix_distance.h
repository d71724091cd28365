/* matrix_distance.h: how far apart two matrices of one shape are, read block by block.
 *
 * WeightWatcher 0.7.5.5 distances(): `raw` and `euclidean` are the Frobenius norm of the
 * difference; `cka` is |A'B|_F / sqrt(|A'A|_F |B'B|_F), not centred, of the matrices as stored
 * (rows x cols).
 */
#ifndef SPECTRALD_MATRIX_DISTANCE_H
#define SPECTRALD_MATRIX_DISTANCE_H

#include "compute/matrix.h"

/* Part of every cache key: raise it when any result may differ in a bit. */
#define MATRIX_DISTANCE_VERSION 1

struct matrix_distance {
    double euclidean;      /* |A - B|_F */
    double norm_a, norm_b; /* |A|_F, |B|_F */
    double relative;       /* euclidean / norm_a; NaN when that is 0 */
    double cosine;         /* <A, B> / (|A| |B|); NaN when either is 0 */
    double cka;            /* NaN without CKA, and when A or B is 0 */
};

/* Distances of two sources of one shape whose lines mean the same. `lines_are_rows`: as stored
 * (true when rows >= cols), because CKA depends on it: it compares rows x rows relations, the same
 * for A Q and B Q' with any rotations Q, Q' of the columns. Without `with_cka` one pass and blocks
 * only; with it 4 n_long n_short^2 flops in three passes more and 8 n_short^2 bytes; when lines are
 * columns, half the flops in two passes and twice the bytes. ERR_INVALID: shapes differ. ERR_LIMIT:
 * SPECTRUM_N_MAX with CKA. ERR_NUMERIC: elements not finite. ERR_NOMEM. */
int matrix_distance(const struct matrix_source *a, const struct matrix_source *b,
                    bool lines_are_rows, bool with_cka, struct matrix_distance *out,
                    struct err *err);

#endif
