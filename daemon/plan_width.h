/* plan_width.h: plans that remove whole channels and heads instead of single weights.
 *
 * Groups are found by names: in a block (or under one parent) the matrices up and down, with gate
 * where there is one, and q, k, v and o. What belongs to no group takes no part: fused matrices,
 * experts, convolutions, and attention when the size of a head is not known.
 */
#ifndef SPECTRALD_PLAN_WIDTH_H
#define SPECTRALD_PLAN_WIDTH_H

#include "daemon/plan.h"

#define PLAN_WIDTH_MAX 65536 /* of `multiple` and `head_dim` */

/* The member "structure" {kind, multiple, head_dim}; `v` is not NULL. ERR_INVALID. */
int plan_width_parse(const json_t *v, struct plan_structure *out, struct err *err);
/* The same with defaults filled in; the caller's. */
json_t *plan_width_json(const struct plan_structure *s);

/* Find the groups of the chosen rows and drop the rows that are in none. ERR_INVALID. */
int plan_width_choose(struct plan *p, struct err *err);

/* From the tensors' sparsities to widths, and back: all tensors of a group get the same. */
int plan_width_solve(struct plan *p, struct err *err);

/* The members "groups", and "width" of a tensor. */
void plan_width_write(const struct plan *p, struct buf *b);
void plan_width_write_tensor(const struct plan *p, size_t i, struct buf *b);
/* Do groups of the shape of the first have different widths? */
bool plan_width_varies(const struct plan *p);

#endif
