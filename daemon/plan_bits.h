/* plan_bits.h: plans that give each tensor a bit width instead of a sparsity (method alphaq). */
#ifndef SPECTRALD_PLAN_BITS_H
#define SPECTRALD_PLAN_BITS_H

#include "daemon/plan.h"

/* The member "bits" {candidates, average, gamma, over}; NULL is an error. ERR_INVALID. */
int plan_bits_parse(const json_t *v, struct bits_rule *out, struct err *err);
/* The same with defaults filled in; the caller's. */
json_t *plan_bits_json(const struct bits_rule *rule);

/* Fill p->bits, p->loss and p->bits_summary from units and rows. ERR_INVALID. */
int plan_bits_solve(struct plan *p, struct err *err);

/* As plan_write(). */
void plan_bits_write(const struct plan *p, struct buf *out);

#endif
