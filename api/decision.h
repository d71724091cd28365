/* decision.h: POST calls that turn measured layers into a decision: schedules, expert counts.
 *
 * The body names its layers by one of
 *   analysis   the rows of a finished analysis, from memory or the store (rows_get.h)
 *   metrics    numbers sent along
 *   layers     eigenvalues sent along: exponents are fitted on the fitter thread
 *   source     a checkpoint: an analyze job is made (with `params` and `labels` of the body) and
 *              waited for; 202 with the job when it takes longer than the client waits
 * and the decision is written on the writer thread (the fitter's for layers).
 */
#ifndef SPECTRALD_DECISION_H
#define SPECTRALD_DECISION_H

#include "api/measured.h"
#include "api/request.h"

/* Seconds that a call with a source waits without Prefer: wait=N. */
#define DECISION_WAIT_S 30

#define DECISIONS_AT_ONCE 64 /* being made; one of 50000 layers takes 40 MB */
#define FITS_AT_ONCE      4  /* of them, those that fit eigenvalues sent along */

struct decision {
    /* The members this kind of decision knows, besides those every kind has: analysis, metrics,
     * layers, source, params, labels, metric, fit. */
    const char *const *member;
    size_t n_members;
    /* Check these. Loop thread. */
    int (*check)(const json_t *body, struct err *err);
    /* Write the reply, a JSON object whose first members are there already. Writer thread. */
    int (*write)(const json_t *body, const struct metric_rows *m, struct buf *out, struct err *err);
};

/* Answer `rq`. Returns a refusal, or reply_suspend(). */
struct reply *decision_make(struct request *rq, const struct decision *kind);

#endif
