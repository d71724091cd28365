/* flights.h: which results are being computed right now, and which were since others looked.
 *
 * Two jobs that want the same new spectrum find nothing in the cache, both. With this the second
 * to come waits for the first, or learns that the answer has arrived meanwhile. Loop thread only.
 */
#ifndef SPECTRALD_FLIGHTS_H
#define SPECTRALD_FLIGHTS_H

#include "common/digest.h"

struct flights;

struct flights *flights_new(void);
void flights_free(struct flights *f);

/* `who` computes `key` from now on. Repeating it changes nothing. */
void flights_begin(struct flights *f, const struct digest *key, const void *who);
/* Somebody other than `who` computes it. */
bool flights_busy(const struct flights *f, const struct digest *key, const void *who);
/* `who` is done with `key`. True when it was under way. */
bool flights_end(struct flights *f, const struct digest *key, const void *who);
/* `who` is gone. True when anything was under way. */
bool flights_leave(struct flights *f, const void *who);

/* Remember that the result of `key` is in the cache; at most FLIGHTS_LANDED_MAX are remembered. */
#define FLIGHTS_LANDED_MAX 200000
void flights_land(struct flights *f, const struct digest *key);
bool flights_landed(const struct flights *f, const struct digest *key);
/* Forget all of those: nobody is left who looked before. */
void flights_clear_landed(struct flights *f);

#endif
