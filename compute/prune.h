/* prune.h: the mask of one matrix: which of its weights go.
 *
 * W has `rows` outputs and `cols` inputs, y = W x. Every method scores weights (prune_score.h) and
 * takes the lowest (prune_select.h): of each row, of the whole matrix, or of every m in a row. With
 * TRIM (trim.h) rows get counts of their own; DSnoT (dsnot.h) improves the mask of each row, or of
 * each m in it. SparseGPT, which also changes weights, is in
 * sparsegpt.h.
 */
#ifndef SPECTRALD_PRUNE_H
#define SPECTRALD_PRUNE_H

#include "compute/dsnot.h"
#include "compute/trim.h"

enum prune_method {
    PRUNE_MAGNITUDE = 0,
    PRUNE_WANDA,
    PRUNE_WANDA_VARIANT, /* equal shares of each row's score; select must be PRUNE_PER_TENSOR */
    PRUNE_RIA,
    PRUNE_EXTERNAL, /* scores come from outside */
    PRUNE_METHOD_COUNT
};

/* Its scores take the inputs' norms. */
static inline bool prune_is_active(enum prune_method m)
{
    return m == PRUNE_WANDA || m == PRUNE_WANDA_VARIANT || m == PRUNE_RIA;
}

enum prune_selection { PRUNE_PER_ROW = 0, PRUNE_PER_TENSOR, PRUNE_N_OF_M };

/* Rows [first, first + count) of a matrix, row-major, to `out`. NaN or infinite elements: an error.
 * Each call may repeat rows read before. */
typedef int prune_read(void *arg, size_t first, size_t count, float *out, struct err *err);

struct prune_input {
    size_t rows, cols;
    prune_read *weights, *scores; /* scores: PRUNE_EXTERNAL only; larger = keep */
    /* With TRIM: the weights of a row in so many columns. */
    int (*pick)(void *arg, size_t row, const uint32_t *col, size_t count, float *w,
                struct err *err);
    void *arg;                       /* of all; borrowed */
    const float *activity;           /* cols: Wanda's sqrt(q), RIA's q^(a/2); NULL for the others */
    const struct trim_input *trim;   /* rows, cols and what reads are filled in here; or NULL */
    const struct dsnot_input *dsnot; /* not with PRUNE_PER_TENSOR; or NULL */
};

struct prune_options {
    enum prune_method method;
    enum prune_selection selection;
    double sparsity; /* 0 ... 1 */
    bool exact;      /* per row: floor(rows * cols * sparsity) in all, not floor(cols * s) each */
    unsigned m, pruned;       /* PRUNE_N_OF_M */
    struct trim_options trim; /* its target is ignored: it is `sparsity` */
};

struct prune_result {
    uint64_t pruned;
    struct trim_result trim;
    struct dsnot_result dsnot;
};

/* Fill the mask: rows x prune_mask_bytes(cols), zero before; rows begin on a byte. Per tensor, ties
 * go in order of rows, then columns. ERR_NOMEM, ERR_INVALID, and what `read` returns. */
int prune_mask(const struct prune_input *in, const struct prune_options *opt, uint8_t *mask,
               struct prune_result *out, struct err *err);

#endif
