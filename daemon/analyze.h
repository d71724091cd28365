/* analyze.h: the state of one job of kind `analyze`, `plan` or `prune`, shared by the files that
 * carry it out.
 *
 *   analyze.c          the order of the stages
 *   analyze_inputs.c   files -> tensor tables (cache, or a reader)
 *   analyze_adapter.c  pairs of an adapter's tensors -> rows
 *   analyze_base.c     a base model's files, if its weights are subtracted
 *   analyze_build.c    tables -> rows and content units; model identity
 *   analyze_digest.c   units -> their digests
 *   analyze_histograms.c   histograms of magnitudes, on the way
 *   analyze_compute.c  rows -> cached or computed values
 *   analyze_farms.c    rows -> exponents of windows, if asked for
 *   analyze_measures.c rows -> what else is measured, if asked for
 *   analyze_plan.c     rows -> a plan, in a job of that kind
 *   analyze_weigh.c    what a plan wants to know of weights
 *   analyze_activity.c what a plan wants to know of weights and inputs
 *   analyze_products.c rows that are products of neighbours
 *   analyze_prune*.c   plan and statistics -> a pruned copy, in a job of that kind
 *   analyze_smooth.c   layers -> a smoothed copy, in a job of that kind
 *   analyze_distances*.c   layers, and the base's -> how far they are apart, in a job of that kind
 *   analyze_report.c   values -> stored rows, analysis
 *   analyze_summary.c  values -> what they say together
 *   analyze_tensors.c  tables -> the model's tensors, for people to read
 *
 * Each stage calls analyze_next() when it is done, or fails the job.
 */
#ifndef SPECTRALD_ANALYZE_H
#define SPECTRALD_ANALYZE_H

#include "compute/magnitude.h"
#include "compute/measure.h"
#include "daemon/analyze_params.h"
#include "daemon/job.h"
#include "daemon/records.h"
#include "daemon/weights.h"

/* One file whose table is wanted. */
struct input {
    struct analyze *analyze;
    const struct source_file *file; /* borrowed from the source */
    uint8_t kind;                   /* enum inspect_kind */
    struct buf bytes;               /* what the reader returned, or the cache */
    struct buf digests;             /* of the file's units, from the cache; empty when unknown */
    int reply_fd;                   /* a reader's memory file, until it is absorbed */
    uint64_t reply_len;
    bool found;
    struct err err; /* why it could not be read */
};

/* Units are hashed in leaves, so that several workers can hash one large tensor. */
#define ANALYZE_LEAF_BYTES (64ull << 20)

/* A run of bytes with a digest of its own: a tensor, or one matrix of a 3-D stack. */
struct unit {
    uint32_t file, tensor;
    uint32_t rank;
    uint64_t dims[TENSOR_RANK_MAX];
    enum dtype dtype;
    uint64_t offset, nbytes;
    size_t first_leaf, n_leaves;
    struct digest digest;
};

enum layer_outcome {
    OUT_SKIPPED = 0,
    OUT_WANTED,    /* not known yet */
    OUT_DONE,      /* values are there (its reason may say that the fit failed) */
    OUT_NONFINITE, /* no spectrum: n_nonfinite weights */
    OUT_FAILED,    /* `err` says why */
};

enum farms_outcome { FARMS_NONE = 0, FARMS_WANTED, FARMS_DONE, FARMS_FAILED };

/* The exponent of a row's windows. */
struct layer_farms {
    enum farms_outcome outcome;
    const char *reason; /* of FARMS_FAILED; a literal */
    struct farms_result result;
};

struct layer_work {
    enum layer_outcome outcome;
    struct digest spectrum_key, fit_key;
    struct digest content;
    int64_t leader;      /* an earlier row with the same fit key, or -1 */
    uint64_t n_led;      /* rows that end with this one, itself included */
    bool hit;            /* no eigen-solve was needed */
    bool unshared;       /* another job's result was promised and not there: compute it here */
    struct buf spectrum; /* cached record, while only the fit is missing */
    struct layer_values values;
    enum spectrum_method method;
    enum precision precision;
    double error_bound;
    uint64_t n_nonfinite;
    char core[32];
    struct err err;
    struct layer_farms farms;
    /* while its Gram matrix is being formed */
    int *gram_fd;
    size_t parts, parts_left;
    bool elsewhere; /* another job has formed the spectrum meanwhile */
    double flops, bytes;
};

/* A second model, whose tensors are taken with those of the same name. Its files' tables and units
 * follow the model's own. */
struct base_model {
    struct source *source;
    struct hf_index index;
    bool have_index;
    struct hf_config config;
    bool have_config;
    struct layer_list layers; /* its tensors, for people to read */
    uint64_t n_tensors, n_params, nbytes;
    struct digest digest;
    char id[IDENT_MAX]; /* "mdl_…", once it is identified */
};

enum stage {
    STAGE_OPEN = 0,
    STAGE_OPEN_BASE,
    STAGE_SIDE_FILES,
    STAGE_SHARDS,
    STAGE_TABLES,
    STAGE_BUILD,
    STAGE_CHECK_PLAN,
    STAGE_DIGEST,
    STAGE_IDENTIFY,
    STAGE_LOOKUP,
    STAGE_COMPUTE,
    STAGE_FARMS,
    STAGE_MEASURES,
    STAGE_PLAN,
    STAGE_PRUNE,
    STAGE_DISTANCES,
    STAGE_DISTANCES_END,
    STAGE_REPORT,
    STAGE_END
};

struct analyze {
    struct job *job;
    struct analyze_params params;
    char *params_text;                /* canonical */
    struct plan_work *plan;           /* analyze_plan.c's own; NULL when no plan is made */
    struct activity_work *activity;   /* analyze_activity.c's own */
    struct prune_work *prune;         /* analyze_prune.h; NULL when nothing is pruned */
    struct distances_work *distances; /* analyze_distances.h; NULL when none are measured */
    struct source *source;
    struct base_model *base; /* NULL when there is none */
    bool adapted;            /* some rows are an adapter's */
    size_t n_products;       /* rows at the end that are products of others */
    enum stage stage;
    struct input
        *input; /* index, configs, the base's index, each when there; then tensors' files */
    size_t n_inputs, n_side, load_first;
    size_t waiting; /* tasks or messages of the stage under way */

    struct hf_index index;
    struct hf_config config;
    bool have_index, have_config;
    struct tensor_table *table; /* one per tensor file: the model's, then the base's */
    size_t n_own, n_tables;     /* the model's; all */
    size_t **unit_of;           /* [file][tensor] -> first unit */
    struct unit *unit;
    size_t n_units;
    struct digest *leaf;
    size_t n_leaves;
    struct unit_histogram *histogram; /* analyze_histograms.c's own; one for each unit, or NULL */
    uint64_t unmapped;                /* tensors that the index does not name */
    struct layer_list layers;
    struct layer_work *lw;
    struct farms_work *farms;    /* analyze_farms.c's own */
    struct measuring *measuring; /* analyze_measures.c's own */
    struct weighing *weighing;   /* analyze_weigh.c's own */
    int64_t hash_start_ms;
    struct digest model;
    uint64_t n_params, nbytes, n_tensors;
    bool need_work; /* a worker was needed */
    struct err err; /* of the message under way */
    char analysis_id[IDENT_MAX], model_id[IDENT_MAX];
    char *summary;
    struct digest rows_key;
    struct job_record final; /* what the store thread writes at the end */
};

/* The stage is complete: go on with the next one. */
void analyze_next(struct analyze *a);

/* False when the job has ended, or ends here because a->err is set; `pointer`: the parameter at
 * fault, or NULL. */
bool analyze_goes_on(struct analyze *a, const char *pointer);

/* A worker is needed: the submitter need not wait for the end. */
void analyze_needs_work(struct analyze *a);

/* --- stages; all asynchronous ---------------------------------------------------------------- */
/* Find out what inputs [first, n_inputs) contain. */
void analyze_load_inputs(struct analyze *a, size_t first);
void analyze_open_base(struct analyze *a);
void analyze_build(struct analyze *a);
void analyze_digest(struct analyze *a);
void analyze_identify(struct analyze *a);
void analyze_lookup(struct analyze *a);
void analyze_compute(struct analyze *a);
void analyze_farms(struct analyze *a);
void analyze_farms_free(struct analyze *a);
void analyze_measures(struct analyze *a);
void analyze_measures_free(struct analyze *a);
/* What cannot be planned, whatever the metric will be, fails before the work. */
void analyze_plan_check(struct analyze *a);
void analyze_plan_make(struct analyze *a);
void analyze_prune(struct analyze *a);
void analyze_report(struct analyze *a);

/* --- a job of kind plan ---------------------------------------------------------------------- */

/* Read the job's parameters into `plan` and `params`. ERR_INVALID, ERR_LIMIT, ERR_UNSUPPORTED. */
int analyze_plan_start(struct analyze *a, const json_t *params, struct err *err);
void analyze_plan_free(struct analyze *a);
/* False: names and shapes are enough, and the job makes no analysis. */
bool analyze_plan_needs_spectra(const struct analyze *a);
/* False: and the weights need not even be hashed. */
bool analyze_plan_needs_digests(const struct analyze *a);
/* "pln_…", once it is made. */
const char *analyze_plan_id(const struct analyze *a);
/* Its text, where it is in no analysis, or is wanted for pruning. */
const struct buf *analyze_plan_text(const struct analyze *a);
/* Remember the plan; on the store thread. Error in a->err. */
int analyze_plan_put(struct analyze *a, struct store *st);

/* --- a job of kind prune --------------------------------------------------------------------- */

/* Read the job's parameters, and those of the plan it makes first, if any. */
int analyze_prune_start(struct analyze *a, const json_t *params, struct err *err);
/* The same of a job of kind decode. */
int analyze_decode_start(struct analyze *a, const json_t *params, struct err *err);
/* The same of a job of kind smooth. */
int analyze_smooth_start(struct analyze *a, const json_t *params, struct err *err);
void analyze_prune_free(struct analyze *a);
/* "art_…" */
const char *analyze_prune_id(const struct analyze *a);
/* Remember the artifact; on the store thread. Error in a->err. */
int analyze_prune_put(struct analyze *a, struct store *st);
/* That is committed. */
void analyze_prune_made(const struct analyze *a);

/* --- a job of kind distances ----------------------------------------------------------------- */

/* Read the job's parameters. */
int analyze_distances_start(struct analyze *a, const json_t *params, struct err *err);
void analyze_distances_free(struct analyze *a);
void analyze_distances(struct analyze *a);
void analyze_distances_end(struct analyze *a);
/* "dst_…" */
const char *analyze_distances_id(const struct analyze *a);
/* Remember rows and summary; on the store thread. Error in a->err. */
int analyze_distances_put(struct analyze *a, struct store *st);

/* True when the job makes an analysis. */
bool analyze_is_analysed(const struct analyze *a);

/* --- shared pieces -----------------------------------------------------------------------------
 */

/* The digest of a unit whose leaves are hashed. */
void analyze_digest_unit(struct hasher *h, const struct analyze *a, struct unit *u);

/* Bytes of a unit's leaf `k`. */
uint64_t analyze_leaf_bytes(const struct unit *u, size_t k);

/* Whether hashing a unit also counts its magnitudes, and as what. */
bool analyze_counts(const struct unit *u, enum magnitude_format *format);

/* Histograms of leaves [first, first + n), one after another in a sealed memory file (taken, or
 * -1), with their lengths (0 = none; taken): checked, added up by unit and stored. Then the digest
 * stage waits for one thing less. */
void analyze_histograms(struct analyze *a, size_t first, size_t n, uint32_t *len, int fd);
void analyze_histograms_free(struct analyze *a);

/* The unit that holds row `l`'s bytes. */
const struct unit *analyze_unit_of(const struct analyze *a, const struct layer *l);

/* The file of table `f`, of the model or of its base. */
const struct source_file *analyze_file(const struct analyze *a, uint32_t f);

/* Files of the tensors that a row is made of, in the order of weights_of_layer(), to a task. */
void analyze_add_files(const struct analyze *a, const struct layer *l, struct task *t);

/* A digest of all that a row's matrix is made of: its unit's, where that is all. */
void analyze_content(struct hasher *h, const struct analyze *a, const struct layer *l,
                     struct digest *out);

/* ERR_CHANGED in a->err when a file is not any more what it was. File thread, store thread. */
int analyze_unchanged(struct analyze *a);

/* Factor on the eigenvalues of a row: pooled conv2d slices are scaled by 1/2 (upstream's
 * conv2d_norm with pool=True). */
double analyze_scale(const struct layer *l);

/* Look row i up, on the store thread: outcome, values, hit, or its spectrum when only the fit is
 * missing. */
void analyze_lookup_row(struct analyze *a, struct store *st, size_t i);

/* What a row keeps of its spectrum. False when it does not fit the row. */
bool analyze_note_spectrum(const struct layer *l, struct layer_work *w,
                           const struct spectrum_record *rec);

/* The row's outcome is set: count it, keep it, show it. `spectrum_fd`: the record in a sealed
 * memory file (taken), or -1. Ends with analyze_row_finished(). */
void analyze_row_done(struct analyze *a, size_t row, int spectrum_fd, size_t spectrum_len);

/* One of the things that the compute stage waits for has ended. */
void analyze_row_finished(struct analyze *a);

/* What was measured of a row that leads itself; NULL: not asked for, or *failed says why not. */
const struct measure_result *analyze_measured(const struct analyze *a, size_t row, enum measure m,
                                              const char **failed);

/* What row i has, be it its leader's. */
const struct layer_work *analyze_work_of(const struct analyze *a, size_t i);

/* True when the row has a fit: status success. */
bool analyze_fit_ok(const struct layer_work *w);

/* Members that name row i, from its id to its dtype. */
void analyze_row_names(size_t i, const struct layer *l, struct buf *out);

/* Rows as JSON text, and the summary; pure functions, for the store thread. The caller frees *out.
 * ERR_NOMEM. */
void analyze_row_json(const struct analyze *a, size_t i, struct buf *out);
int analyze_summary_json(const struct analyze *a, char **out, struct err *err);

/* rows_key, from the rows as they are. */
void analyze_make_rows_key(struct analyze *a);

/* Remember the tensors of a model (tensor_rows.h), unless they are known; on the store thread. */
int analyze_put_tensors(struct analyze *a, struct store *st, const char *model_id,
                        const struct layer_list *layers, uint64_t n_tensors);

#endif
