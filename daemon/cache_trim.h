/* cache_trim.h: the cache kept below its limit: what was not used for longest goes first, a little
 * at a time. Private to daemon/; loop thread only.
 *
 * What an active job may have seen stays: while there are jobs, only what was last used a while
 * before the oldest of them began is removed. Layer rows and tensor tables stay, so an analysis
 * keeps its table; its spectra are computed again when somebody submits the job again.
 */
#ifndef SPECTRALD_CACHE_TRIM_H
#define SPECTRALD_CACHE_TRIM_H

struct cache_trim;
struct service;

struct cache_trim *cache_trim_new(struct service *s);
void cache_trim_free(struct cache_trim *t); /* NULL is fine; the store thread has ended */

/* Look whether there is too much, and begin when there is. */
void cache_trim_tick(struct cache_trim *t);

#endif
