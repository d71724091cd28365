/* plan_compare.h: the plans of several methods side by side: POST /v1/plans:compare.
 *
 * All plans are for the same tensors and the same target, so they have the same blocks.
 */
#ifndef SPECTRALD_PLAN_COMPARE_H
#define SPECTRALD_PLAN_COMPARE_H

#include "daemon/plan.h"

#define PLANS_COMPARED_MAX 8
#define PLAN_NAME_MAX      100

/* Blocks that a picture can show. */
#define PLAN_PICTURE_MAX 5000

struct compare_ask {
    bool usual; /* no methods were named: those that cannot be had are left out */
    size_t n;
    struct plan_ask plan[PLANS_COMPARED_MAX];
    char name[PLANS_COMPARED_MAX][PLAN_NAME_MAX + 1]; /* no two the same */
};

/* From the body of the request, which stays the caller's. Errors name the field. */
int compare_ask_parse(const json_t *body, struct compare_ask *out, struct err *err);
void compare_ask_done(struct compare_ask *a);

/* The member of the body that entry i came from: "/plans/3". */
void compare_ask_pointer(size_t i, char out[ERR_POINTER_MAX]);

struct comparison {
    const struct compare_ask *ask; /* borrowed, as the rows are */
    size_t next;                   /* of the ask: plans before it are made */
    struct plan_weights *weights;  /* that its plan wants loaded, or NULL */
    size_t n, n_blocks;
    struct plan plan[PLANS_COMPARED_MAX];
    size_t of[PLANS_COMPARED_MAX];     /* which of the ask */
    double *ratio[PLANS_COMPARED_MAX]; /* n_blocks each: share of the block's weights */
    size_t n_left_out;
    struct {
        size_t of;
        char why[ERR_TEXT_MAX];
    } left_out[PLANS_COMPARED_MAX];
};

/* Make the plans. `rows`: for each plan of the ask; *c has been zeroed but for the ask. Takes time.
 * 1: weights are wanted; load them and call it again. ERR_INVALID, ERR_LIMIT with the field. Also
 * then *c is to be freed. */
int comparison_make(struct comparison *c, struct metric_rows *const *rows, struct err *err);
void comparison_done(struct comparison *c);

/* A JSON object; ERR_NOMEM. */
int comparison_write(const struct comparison *c, struct buf *out, struct err *err);

/* A picture: ratio against block, a line for each plan. ERR_LIMIT: too many blocks. */
int comparison_draw(const struct comparison *c, struct buf *out, struct err *err);

#endif
