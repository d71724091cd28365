/* plan_text.h: what the texts of plans of all kinds have. Between plan_*.c. */
#ifndef SPECTRALD_PLAN_TEXT_H
#define SPECTRALD_PLAN_TEXT_H

#include "daemon/plan.h"

/* The member "warnings". */
void plan_text_warnings(const struct plan *p, struct buf *b);
/* The member "block" of block number `block`; null for a tensor in none. */
void plan_text_block(const struct plan *p, size_t block, struct buf *b);
/* The member "links". */
void plan_text_links(const struct plan *p, struct buf *b);

#endif
