/* plan_memo.h: what the cache remembers of a plan: the request it can be made from again, or, where
 * its rows are in no analysis, its text. Store thread.
 */
#ifndef SPECTRALD_PLAN_MEMO_H
#define SPECTRALD_PLAN_MEMO_H

#include "storage/store.h"

/* More are not kept: those not used for longest go. */
#define PLAN_MEMOS_MAX 10000

enum plan_memo { PLAN_MEMO_ASK = 0, PLAN_MEMO_TEXT };

/* Unless the plan is known already. A store's error. */
int plan_memo_put(struct store *st, const char *id, enum plan_memo what, const void *text,
                  size_t len, struct err *err);
/* ERR_NOT_FOUND. The caller frees *text. */
int plan_memo_find(struct store *st, const char *id, enum plan_memo *what, struct buf *text,
                   struct err *err);

#endif
