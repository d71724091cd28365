/* prune_params.h: parameters of a job of kind `prune`. */
#ifndef SPECTRALD_PRUNE_PARAMS_H
#define SPECTRALD_PRUNE_PARAMS_H

#include "daemon/locate.h"
#include "daemon/plan_job.h"
#include "daemon/prune_blocks.h"
#include "daemon/prune_task.h"
#include "daemon/reshape_params.h"
#include "daemon/smooth_params.h"

#define PRUNE_BLOCK_MAX 4096

/* What is written. */
enum prune_format {
    FORMAT_DENSE = 0,     /* the model's files, with zeros */
    FORMAT_MASKS,         /* masks of the pruned tensors */
    FORMAT_TENSORS,       /* the pruned tensors */
    FORMAT_SPARSE_BITMASK /* of compressed-tensors 0.9 to 0.14 */
};
const char *prune_format_name(enum prune_format f);

struct prune_params {
    char plan[IDENT_MAX];          /* a plan made before, or "" */
    bool has_job;                  /* `job` is made first */
    struct plan_job job;           /* `plan` as an object, or uniform at `sparsity` */
    struct prune_task task;        /* method and options; no matrix, no statistics */
    struct reshape_params reshape; /* instead of `task`: RESHAPE_NONE, or whole parts go */
    struct source_ref stats;       /* calibration statistics, when has_stats */
    bool has_stats;
    char *output; /* path as sent, or NULL: the state directory */
    enum prune_format format;
    bool decode;                 /* a job of kind decode: an output, and nothing else */
    struct smooth_params smooth; /* of a job of kind smooth: and an output */
    struct prune_blocks blocks;  /* of the plan's, those that are pruned */
    json_t *body;                /* canonical */
};

/* Parse and check `params`. ERR_INVALID, ERR_LIMIT or ERR_UNSUPPORTED with the pointer of the
 * field.
 */
int prune_params_parse(const json_t *params, struct prune_params *out, struct err *err);
/* The same for a job of kind decode. */
int prune_params_parse_decode(const json_t *params, struct prune_params *out, struct err *err);
/* The same for a job of kind smooth; *layers gets the filters, the caller frees it. */
int prune_params_parse_smooth(const json_t *params, struct prune_params *out,
                              struct analyze_params *layers, struct err *err);
void prune_params_done(struct prune_params *p);

/* What takes time: regular expressions, the place for the output, and that of the statistics, which
 * are looked at. ERR_CONFLICT when there is something of the output's name; ERR_NOT_FOUND,
 * ERR_FORBIDDEN for the statistics. File thread. */
int prune_params_check(const struct prune_params *p, const struct config *c, struct err *err);

/* The same with every default filled in; the caller frees it. */
char *prune_params_text(const struct prune_params *p);

/* Where the output will be: a path in the output root, absolute, or NULL: in the state directory.
 * ERR_FORBIDDEN, ERR_INVALID, ERR_NOT_FOUND (its parent). The caller frees it. File thread. */
int prune_output_path(const struct prune_params *p, const struct config *c, char **out,
                      struct err *err);

const char *prune_method_name(const struct prune_task *t);

#endif
