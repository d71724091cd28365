/* plan.h: a sparsity plan: which tensors of the rows take part, their ratios, and the text that
 * answers POST and GET /v1/plans. */
#ifndef SPECTRALD_PLAN_H
#define SPECTRALD_PLAN_H

#include "daemon/plan_ask.h"
#include "daemon/plan_weights.h"

/* Part of every plan's id: raise it when a plan may differ in a bit. */
#define PLAN_VERSION 5

/* Matrices that lose the same channels together: see plan_width.h. */
struct plan_group {
    bool attention;
    uint64_t of, kept; /* heads (of keys and values), or neurons */
    double cost;       /* weights for each */
    size_t n, tensor[4];
};

struct plan {
    const struct plan_ask *ask; /* borrowed, as the rows are */
    const struct metric_rows *rows;
    char id[IDENT_MAX];
    size_t n, n_blocks;
    struct allocate_unit *unit; /* n, in natural order of names */
    size_t *row;                /* n: which of the rows */
    const char **block;         /* n_blocks, borrowed; a tensor in no block is one by its name */
    bool *own_block;            /* n_blocks: it is such a tensor */
    double *sparsity;           /* n */
    unsigned *pruned;           /* n, of ask->m; or NULL */
    struct plan_group *group;   /* n_groups; or NULL */
    size_t n_groups, *group_of; /* n */
    size_t n_outside;           /* tensors that are in no group */
    unsigned *bits;             /* n: bit widths instead of sparsities; or NULL */
    double *loss;               /* n, with bits */
    struct bits_summary bits_summary;
    struct allocate_info info;
    double threshold;            /* of the method's score; NaN when it has none */
    double params, params_total; /* of the plan, of all rows */
    size_t n_skipped;            /* matrices that the analysis left out */
    bool no_blocks;              /* no tensor is in a block: all matrices take part */
};

/* The plan for `ask` over `rows`, both borrowed for its life. Takes time with many rows or a
 * regular expression: see plan_is_quick(). ERR_INVALID, ERR_LIMIT (infeasible) with the field.
 * Where plan_ask_weighs(): ERR_UNSUPPORTED. */
int plan_make(const struct plan_ask *ask, const struct metric_rows *rows, struct plan *out,
              struct err *err);
/* The same for every method: `weights` are of these rows. 1: more of them are wanted, and there is
 * no plan yet. */
int plan_make_weighed(const struct plan_ask *ask, const struct metric_rows *rows,
                      struct plan_weights *weights, struct plan *out, struct err *err);
void plan_done(struct plan *p);

/* True when making and writing the plan takes less than a millisecond or two. */
bool plan_is_quick(const struct plan_ask *ask, const struct metric_rows *rows);

/* A JSON object. */
void plan_write(const struct plan *p, struct buf *out);

#endif
