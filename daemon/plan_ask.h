/* plan_ask.h: the body of POST /v1/plans, or the parameters of a job of kind `plan`, checked, with
 * defaults filled in.
 *
 * A plan is a pure function of what is asked: the canonical text names everything that decides it,
 * and can be parsed again to the same.
 */
#ifndef SPECTRALD_PLAN_ASK_H
#define SPECTRALD_PLAN_ASK_H

#include "compute/allocate.h"
#include "compute/bits.h"
#include "daemon/metric_rows.h"

#define PLAN_EXCLUDE_MAX 10000 /* names in a list */
#define PLAN_N_OF_M_MAX  64

const char *plan_method_name(enum allocate_method m);   /* "alphapruning", … */
const char *plan_mapping_name(enum allocate_mapping m); /* "block_wise", … */

/* Whole channels and heads instead of single weights. */
struct plan_structure {
    uint64_t multiple; /* widths are multiples of it; 0 = single weights */
    uint64_t head_dim; /* 0 = not known: attention stays */
};

struct plan_ask {
    char analysis[IDENT_MAX]; /* or "": then `tensors`, or a job's rows */
    struct allocate_options opt;
    char metric[METRIC_NAME_MAX + 1]; /* "" = the method needs none */
    bool peak_linear;                 /* alpha_peak means alpha_peak_linear */
    double min, max;                  /* limits of every tensor */
    unsigned m;                       /* N:M plan, or 0 */
    struct plan_structure structure;
    bool alphaq; /* bit widths by `bits` instead of sparsities by `opt` */
    struct bits_rule bits;
    json_t *body;             /* canonical; owns what follows */
    const json_t *tensors;    /* "metrics", or NULL */
    const json_t *stats;      /* {tensor: number}, or NULL */
    const json_t *stats_file; /* {"path" | "upload"}: to be measured first; or NULL */
    double outlier_factor;    /* with it, in owl: an outlier is above so many means */
    const json_t *exclude;    /* a string (regular expression), a list of names, or NULL */
    const json_t *own_limits; /* {tensor: {min, max}}, or NULL */
};

/* "alphapruning", …, "alphaq". */
const char *plan_ask_method(const struct plan_ask *a);

/* Which member of the rows is the metric: "" for none. */
const char *plan_ask_column(const struct plan_ask *a);

/* The method looks at weights (plan_weights.h). */
bool plan_ask_weighs(const struct plan_ask *a);

/* ERR_INVALID, ERR_LIMIT or ERR_UNSUPPORTED, naming the field. The body stays the caller's. */
int plan_ask_parse(const json_t *body, struct plan_ask *out, struct err *err);

/* The parameters of a job, whose source says which tensors are meant: no `metrics`, and no
 * `analysis` unless plan_ask_weighs(): then the plan is of that, and the source has its weights. A
 * member `analyze` is left to the caller. */
int plan_ask_parse_job(const json_t *params, struct plan_ask *out, struct err *err);

/* From now on as if this analysis had been asked for: the job made it. */
void plan_ask_bind(struct plan_ask *a, const char *analysis);

/* Does the metric come from a spectrum? If not, names and shapes are enough. */
bool plan_ask_needs_spectra(const struct plan_ask *a);

/* The numbers that were measured with `stats_file` (taken): from now on as if they had been sent.
 */
void plan_ask_give_stats(struct plan_ask *a, json_t *numbers);

void plan_ask_done(struct plan_ask *a);

/* The canonical text; the caller frees it. */
char *plan_ask_text(const struct plan_ask *a);

#endif
