/* analyze_reshape.h: a prune job that leaves out whole experts or neurons: what its files share.
 * Private to analyze_reshape*.c and analyze_prune*.c.
 *
 *   analyze_reshape.c          its steps: find, score, cut
 *   analyze_reshape_experts.c  which experts go
 *   analyze_reshape_width.c    which neurons go
 *   analyze_reshape_config.c   what config.json says, and will say
 *   analyze_reshape_write.c    tensors of the output -> files
 *   analyze_reshape_report.c   what the artifact says of itself
 *
 * Bytes are only left out or copied, so that elements of any type stay what they are. What is cut
 * of a tensor are whole slices along one of its dimensions.
 */
#ifndef SPECTRALD_ANALYZE_RESHAPE_H
#define SPECTRALD_ANALYZE_RESHAPE_H

#include "daemon/analyze_prune.h"
#include "daemon/squares_task.h"
#include "models/feed_forward.h"
#include "models/moe.h"

/* A tensor of the output. */
struct reshape_tensor {
    const struct tensor *from;
    char *name;          /* owned; NULL: as before */
    const uint8_t *keep; /* one for each slice along `dim`; NULL: all of it stays */
    uint32_t dim;
    uint64_t kept;   /* of them */
    uint64_t nbytes; /* of what stays */
    int64_t part;    /* that it belongs to, or -1 */
};

/* The tensors of a file, in the order of their data. */
struct reshape_shard {
    struct reshape_tensor *tensor;
    size_t count, next; /* written so far */
    size_t done;        /* the same, as the loop thread knows it */
    struct buf header;  /* with the length before it */
    uint64_t at;        /* where the next one goes */
};

/* One layer of experts, or one feed-forward part, for the report. */
struct reshape_part {
    char *name, *block;
    uint8_t *keep;        /* `of` of them */
    double kept_share;    /* of the sum of the scores */
    double before, after; /* weights in it */
};

/* A number in config.json that changes. */
struct reshape_edit {
    const char *object; /* "text_config", or NULL: the outermost */
    const char *key;
};
#define RESHAPE_EDITS_MAX 32

struct reshape_task {
    size_t part;
    enum feed_forward_part which;
    struct squares_task task;
    double *sum; /* once it is done */
};

struct reshape {
    struct buf config; /* config.json, NUL-terminated; empty when there is none */
    json_t *config_json;
    struct reshape_edit edit[RESHAPE_EDITS_MAX];
    size_t n_edits;
    uint64_t of, kept; /* experts of a layer, or neurons of a part: the same in all */
    uint64_t multiple; /* that the width was rounded to; 0 = not rounded */
    enum reshape_rank rank;
    struct moe moe;
    struct feed_forward *ff;
    struct reshape_part *part;
    size_t n_parts;
    struct reshape_task *task;
    size_t n_tasks;
    uint8_t *doubled;            /* of fused parts: 2 * of for each part */
    struct reshape_shard *shard; /* one for each file */
    size_t n_shards, n_tensors;
    double before, after; /* weights of the model */
};

/* --- analyze_reshape.c: on the way between statistics and files ------------------------------- */

struct reshape *analyze_reshape_new(void);
void analyze_reshape_free(struct reshape *r);

/* What of the model goes, as far as it can be said without reading weights. ERR_INVALID,
 * ERR_UNSUPPORTED, ERR_LIMIT with the pointer of the field. File thread. */
int analyze_reshape_find(struct analyze *a, struct err *err);

/* Score where weights are needed for that, choose, and write: analyze_prune_write(). */
void analyze_reshape_cut(struct analyze *a);

/* n numbers of the statistics, to be freed. ERR_INVALID at /params/stats: there are none of that
 * name, or not n, or they are not finite. ERR_NOT_FOUND when `optional` and there are none. File
 * thread. */
int analyze_reshape_vector(const struct analyze *a, const char *module, const char *kind, size_t n,
                           bool optional, double **out, struct err *err);

/* --- analyze_reshape_experts.c, analyze_reshape_width.c --------------------------------------- */

int analyze_reshape_experts(struct analyze *a, struct err *err);
/* What stays of a tensor: false when nothing. Sets name, keep and dim. */
bool analyze_reshape_expert_tensor(const struct reshape *r, uint32_t file, uint32_t index,
                                   struct reshape_tensor *t);

int analyze_reshape_width(struct analyze *a, struct err *err);
/* When the tasks are done. */
int analyze_reshape_choose(struct analyze *a, struct err *err);
/* Set keep, dim and part of the tensors that are cut. */
void analyze_reshape_width_tensors(const struct analyze *a);

/* Room for n parts, and for what stays of each. */
void analyze_reshape_parts(struct reshape *r, size_t n);
/* `keep` of part i is there: the share of the scores that stays. */
void analyze_reshape_share(struct reshape *r, size_t i, const double *score);

/* --- analyze_reshape_config.c ----------------------------------------------------------------- */

/* Read config.json, if there is one. ERR_FORMAT, ERR_LIMIT. */
int analyze_reshape_config_read(struct analyze *a, struct err *err);
/* The first of `keys` (ended by NULL) that is a whole number; 0 when none is. */
uint64_t analyze_reshape_config_number(const struct reshape *r, const char *const *keys);
/* These `keys`, where they are `value`, will be what is kept. ERR_UNSUPPORTED when none is. */
int analyze_reshape_config_edit(struct reshape *r, const char *const *keys, uint64_t value,
                                struct err *err);
/* config.json as it will be. */
int analyze_reshape_config_text(const struct reshape *r, struct buf *out, struct err *err);

/* --- analyze_reshape_write.c ------------------------------------------------------------------ */

/* Lay out the files: w->shard[] and r->shard[]. ERR_LIMIT. */
int analyze_reshape_files(struct analyze *a, struct err *err);
/* Create the file, or go on with it: some of its tensors. 1 when there are more. So many tensors
 * and bytes of it are written then. Writing thread. */
int analyze_reshape_write_some(struct analyze *a, size_t file, uint64_t *n_tensors,
                               uint64_t *nbytes, struct err *err);
/* Tell how many tensors are written. */
void analyze_reshape_progress(struct analyze *a);
/* The other text of a file beside the weights: 1, or 0: it is copied. */
int analyze_reshape_side_file(const struct analyze *a, const struct source_file *f, struct buf *out,
                              struct err *err);

/* --- analyze_reshape_report.c ----------------------------------------------------------------- */

void analyze_reshape_report(const struct analyze *a, struct buf *out);

#endif
