/* analyze_prune.h: what the files of a prune job share. Private to analyze_prune*.c.
 *
 *   analyze_prune.c         its life; statistics, matrices
 *   analyze_prune_plan.c    the plan
 *   analyze_prune_rows.c    plan and model -> one task for each matrix
 *   analyze_prune_layout.c  what is where in files that are no copies of the model's
 *   analyze_prune_write.c   tasks -> files
 *   analyze_prune_config.c  index and configuration beside them
 *   analyze_prune_report.c  outcomes -> what the artifact says of itself
 *   analyze_smooth.c        layers -> rows of lower rank, instead of a plan
 *   analyze_decode.c        sparse-bitmask -> rows and tasks, instead of a plan
 *   analyze_reshape*.c      where whole experts or neurons go: instead of rows and tasks
 *
 * Matrices are pruned by compute workers, a few at a time, and written by a thread of their own
 * into a copy of the model's files, which others hash meanwhile. A file that is complete is noted
 * beside it, so that a job that is begun again after a crash does not write it twice.
 */
#ifndef SPECTRALD_ANALYZE_PRUNE_H
#define SPECTRALD_ANALYZE_PRUNE_H

#include "daemon/analyze.h"
#include "daemon/analyze_stats.h"
#include "daemon/decode_task.h"
#include "daemon/plan.h"
#include "daemon/plan_weights.h"
#include "daemon/prune_form.h"
#include "daemon/prune_params.h"
#include "storage/artifact_files.h"

/* One matrix. */
struct prune_row {
    size_t layer;
    double target; /* sparsity */
    struct prune_task task;
    struct prune_outcome outcome;
    /* What the worker sends, one part after another, and where in the output it goes. */
    uint64_t at[PRUNE_PARTS], len[PRUNE_PARTS];
    unsigned n_parts;
    int fd;           /* of a worker, while the row's place is not known; else -1 */
    bool there, done; /* its outcome; its bytes */
};

/* A tensor of an output file. */
struct prune_tensor {
    struct tensor t; /* its name is owned; offset: in the output file */
    enum prune_fill {
        FILL_ROWS,  /* with what workers send */
        FILL_COPY,  /* with the model's bytes at `from`; and then rows, if any */
        FILL_ONES,  /* a mask of a stack of which not every matrix is pruned; and then rows */
        FILL_SHAPE, /* with the shape of `row` */
    } fill;
    uint64_t from;
    size_t row, n_rows; /* its matrices that are pruned */
    bool is_values;     /* the elements that its matrix keeps */
};

/* A file of the output that is no shard. */
struct prune_file {
    char *name;
    uint64_t nbytes;
    struct digest digest;
};

/* One file of the model. */
struct prune_shard {
    size_t first, count; /* of the rows */
    size_t next, front;  /* row: to be pruned next; the first that is not written */
    int fd;              /* the copy, once it was created */
    struct digest key;   /* what decides its bytes */
    struct hasher *hasher;
    uint64_t there;          /* without rows: bytes that are written */
    uint64_t hashed, nbytes; /* of these bytes, so many; of all */
    struct digest digest;    /* of its bytes */
    bool hashing, complete;
    /* unless it is a copy of the model's */
    struct prune_tensor *tensor; /* in the order of their data */
    size_t n_tensors;
    uint64_t reserve;   /* bytes for the header */
    size_t placed;      /* row: the first whose place is not known */
    size_t next_values; /* tensor: the elements that the next row keeps */
    bool absent;        /* there is no such file */
    bool sealed;        /* sizes are known, the header is written */
};

/* A matrix that a decode job makes dense, beside its row. */
struct decode_row {
    struct decode_task task;
    size_t file[DECODE_PARTS];
};

struct reshape; /* analyze_reshape.h */

struct prune_work {
    struct prune_params params;
    struct reshape *reshape;   /* where whole parts go; NULL: single weights */
    struct decode_row *decode; /* one for each row of a decode job, else NULL */
    /* the plan */
    struct buf plan_text;
    struct plan_ask ask; /* while its rows are read */
    bool have_ask;
    struct metric_rows *rows;
    struct plan_weights *weights; /* where its method looks at them */
    int more;
    char *plan_id;
    unsigned plan_m; /* of an N:M plan, or 0 */
    /* the statistics */
    struct stats_file stats;
    /* the matrices, by file and place in it */
    struct prune_row *row;
    size_t n_rows;
    struct prune_shard *shard; /* one for each file */
    size_t next_shard;
    size_t under_way; /* tasks and messages, those that hash among them */
    size_t n_hashing;
    /* the output */
    char artifact_id[IDENT_MAX];
    char *path;
    bool ours; /* in the state directory */
    struct artifact_writer *writer;
    struct prune_file *side; /* what was copied beside the weights */
    size_t n_side;
    struct buf manifest;
    uint64_t nbytes, n_files;
};

/* --- analyze_prune.c ------------------------------------------------------------------------- */

/* Go on after the plan is there: statistics, matrices, writing. */
void analyze_prune_stats(struct analyze *a);

/* --- analyze_prune_rows.c ------------------------------------------------------------------- */

/* Fill row[] and shard[] from the plan's text. Takes time. ERR_INVALID, ERR_UNSUPPORTED, with the
 * pointer of the field. */
int analyze_prune_rows(struct analyze *a, struct err *err);
/* row[] is filled: put it in order, by file and place, and fill shard[]. ERR_LIMIT, ERR_FORMAT. */
int analyze_prune_shards(struct analyze *a, struct err *err);

/* --- analyze_prune_layout.c ------------------------------------------------------------------ */

/* What each file will hold, and where rows go as far as that is known. ERR_LIMIT, ERR_FORMAT. */
int analyze_prune_layout(struct analyze *a, struct err *err);
/* A file of tensors that the caller adds, with sizes that are known: one that a row fills, which
 * the caller sets (`name` is taken), or a copy; then where they go. */
struct prune_tensor *analyze_prune_add(struct prune_shard *s, char *name, enum dtype dtype);
void analyze_prune_add_copy(struct prune_shard *s, const struct tensor *t);
int analyze_prune_layout_known(struct prune_work *w, struct prune_shard *s, struct err *err);
void analyze_prune_layout_free(struct prune_shard *s);
/* What is known of a new file before rows come. */
int analyze_prune_fill(const struct analyze *a, struct prune_shard *s, struct err *err);
/* Give places to rows whose outcomes are there, in order, up to the first without: s->placed. */
void analyze_prune_place(struct prune_work *w, struct prune_shard *s);
/* All rows are placed: sizes and places of all tensors; and the header. */
void analyze_prune_sizes(struct prune_shard *s);
int analyze_prune_seal(const struct analyze *a, struct prune_shard *s, struct err *err);

/* --- analyze_decode.c ------------------------------------------------------------------------ */

/* The same for a decode job: rows and files; a row's task; what the artifact says of itself. */
int analyze_decode_rows(struct analyze *a, struct err *err);
void analyze_decode_task(const struct analyze *a, size_t row, struct task *t);
void analyze_decode_report(const struct analyze *a, struct buf *out);

/* --- analyze_smooth.c ------------------------------------------------------------------------ */

/* The same for a smooth job. ERR_INVALID: nothing to do. */
int analyze_smooth_rows(struct analyze *a, struct err *err);
double analyze_smooth_flops(const struct prune_work *w, const struct prune_row *row);
void analyze_smooth_task(const struct analyze *a, const struct prune_row *row, struct task *t);
void analyze_smooth_report(const struct analyze *a, struct buf *out);

/* --- analyze_prune_config.c ------------------------------------------------------------------ */

/* The output cannot be written for a model with this configuration: ERR_UNSUPPORTED. */
int analyze_prune_config_check(const struct analyze *a, struct err *err);
/* What becomes of the model's file `name` of these bytes beside the weights: the same (false), or
 * what is appended to `out`. */
bool analyze_prune_edits(const struct analyze *a, const char *name);
int analyze_prune_edit(const struct analyze *a, const struct buf *text, struct buf *out,
                       struct err *err);
/* The name of the output's own index, or NULL; its text. */
const char *analyze_prune_index_name(const struct analyze *a);
int analyze_prune_index(const struct analyze *a, struct buf *out, struct err *err);

/* --- analyze_prune_write.c ------------------------------------------------------------------- */

/* Prune and write everything; ends with analyze_next(). */
void analyze_prune_write(struct analyze *a);

/* --- analyze_prune_report.c ------------------------------------------------------------------ */

/* What is noted of a complete file: its matrices and their outcomes. JSON text, the caller's. */
char *analyze_prune_note(const struct analyze *a, const struct prune_shard *s);
/* Read it back. False when it is not of these matrices. */
bool analyze_prune_read_note(struct analyze *a, struct prune_shard *s, const char *note);
/* The plan as it was carried out: JSON text. */
void analyze_prune_report(const struct analyze *a, struct buf *out);
/* Zeros among all weights of the model, as far as they were pruned. */
double analyze_prune_model_sparsity(const struct analyze *a);
/* The same with the files. */
void analyze_prune_manifest(const struct analyze *a, const struct buf *report, struct buf *out);

#endif
