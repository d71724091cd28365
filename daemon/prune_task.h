/* prune_task.h: pruning one matrix, on the way to a compute worker and back.
 *
 *   prune   task                                  fd: model file, statistics file
 *   reply   a result record                       fd: the matrix's bytes, as stored, pruned;
 *                                                     or what `form` says
 *
 * The statistics are ranges of a file, as the control process found and checked them.
 */
#ifndef SPECTRALD_PRUNE_TASK_H
#define SPECTRALD_PRUNE_TASK_H

#include "compute/admm.h"
#include "compute/alps.h"
#include "compute/prune.h"
#include "compute/sparsegpt.h"
#include "daemon/smooth_task.h"
#include "models/dtype.h"

/* What is known of a matrix's inputs. */
enum prune_statistic {
    STAT_SUMSQ = 0, /* cols: sum of x^2 */
    STAT_XLAST,     /* tokens x cols */
    STAT_GRAM,      /* cols x cols: sum of x x^T; or its upper triangle, row by row */
    STAT_SCORE,     /* rows x cols: larger = keep */
    STAT_SEEN,      /* 2: tokens, sequences */
    STAT_SUM,       /* cols: sum of x */
    STAT_COUNT
};

/* What a worker sends back. */
enum prune_form {
    PRUNE_DENSE = 0,  /* the matrix, as stored */
    PRUNE_MASK,       /* the mask of its elements that are not zero (compute/bitmask.h) */
    PRUNE_COMPRESSED, /* offsets of rows, those elements, and the mask */
    PRUNE_FORM_COUNT
};

struct prune_range {
    bool present;
    enum dtype dtype;
    uint64_t offset, count; /* first byte; elements */
};

/* Methods that change the weights that stay. */
enum prune_update { UPDATE_NONE = 0, UPDATE_SPARSEGPT, UPDATE_ADMM, UPDATE_ALPS, UPDATE_COUNT };

struct prune_task {
    struct wire_matrix m; /* one slice; rows are outputs */
    enum prune_form form;
    enum prune_update update; /* instead of opt.method */
    bool use_trim;
    bool use_dsnot;
    struct prune_options opt;
    double ria_power; /* of sqrt(q) */
    double damping;   /* SparseGPT, ALPS */
    uint32_t block;
    double n_sequences; /* > 0: the statistics are sums over so many; STAT_SEEN knows better */
    struct prune_range stat[STAT_COUNT];
};

#define PRUNE_TOKENS_MAX 65536

struct prune_outcome {
    uint64_t n_nonfinite; /* weights that are NaN or infinite: then nothing else is set */
    uint64_t pruned;      /* weights that the method took */
    uint64_t zeros;       /* elements that are 0 now, whatever they were before */
    uint64_t zeros_before;
    bool has_error;
    double error; /* of an update: 1/2 tr(D H D^T) */
    double damping;
    uint32_t iterations; /* ADMM, ALPS */
    double rho;
    uint64_t n_dead; /* inputs that were always 0 */
    uint64_t tokens; /* that the statistics are of; 0 = not known */
    bool has_trim;
    struct trim_result trim;
    bool has_dsnot;
    struct dsnot_result dsnot;
    bool has_smooth; /* of a job of kind smooth: nothing else is set */
    struct smooth_outcome smooth;
};

/* Floating-point operations and bytes of memory, for the scheduler. */
double prune_task_flops(const struct prune_task *t);
double prune_task_bytes(const struct prune_task *t);

void prune_task_put(struct buf *b, const struct prune_task *t);
/* ERR_INTERNAL when it cannot be done. */
int prune_task_get(struct reader *r, struct prune_task *out, struct err *err);

void prune_outcome_write(const struct prune_outcome *o, struct buf *out);
/* From a worker: hostile. ERR_CRASHED. */
int prune_outcome_parse(const struct prune_task *t, const void *bytes, size_t len,
                        struct prune_outcome *out, struct err *err);

struct wire_reply; /* daemon/worker.h */

/* The worker's side. */
int role_prune(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
               struct err *err);

#endif
