/* cache_trim.c: see cache_trim.h. */
#include "daemon/cache_trim.h"

#include "daemon/config.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/metrics.h"

#include <stdlib.h>

#define AT_ONCE   64       /* results removed in one turn on the store thread: some milliseconds */
#define PAUSE_NS  50000000 /* between turns: others come first */
#define MARGIN_MS 120000   /* a use is noted a minute late at most (sqlite_cache.c) */
#define LOW_SHARE 0.9      /* of the limit: where removing ends */

struct cache_trim {
    struct service *svc;
    struct loop_timer *pause;
    struct metric *m_bytes, *m_results;
    bool busy;     /* a turn is under way */
    bool trimming; /* above the low mark since the limit was passed */
    /* Of the turn under way. */
    int64_t before_ms;
    uint64_t used, bytes;
    size_t count;
    struct err err;
};

struct cache_trim *cache_trim_new(struct service *s)
{
    struct cache_trim *t = xcalloc(1, sizeof *t);

    t->svc = s;
    t->m_bytes = metrics_add(s->metrics, METRIC_COUNTER, "spectrald_cache_evicted_bytes_total", "",
                             "Bytes of results removed to keep the cache below its limit.");
    t->m_results = metrics_add(s->metrics, METRIC_COUNTER, "spectrald_cache_evicted_total", "",
                               "Results removed to keep the cache below its limit.");
    metric_inc(t->m_bytes, "", 0);
    metric_inc(t->m_results, "", 0);
    return t;
}

void cache_trim_free(struct cache_trim *t)
{
    if (t && t->pause)
        loop_cancel(t->svc->loop, t->pause);
    free(t);
}

/* Results used at this time or later stay. */
static int64_t oldest_needed(const struct service *s)
{
    int64_t oldest = INT64_MAX;

    for (const struct job *j = s->jobs; j; j = j->next) {
        int64_t began = j->rec.started_ms ? j->rec.started_ms : j->rec.created_ms;

        oldest = began < oldest ? began : oldest;
    }
    return oldest == INT64_MAX ? oldest : oldest - MARGIN_MS;
}

static void trim_run(void *arg, void *state)
{
    struct cache_trim *t = arg;
    struct store *st = job_store(state);
    uint64_t limit = t->svc->config->cache_max_bytes, low = (uint64_t)(LOW_SHARE * (double)limit);
    int r = store_cache_used(st, &t->used, &t->err);

    t->bytes = 0;
    t->count = 0;
    if (r == 0 && t->used > (t->trimming ? low : limit))
        r = store_cache_evict(st, t->before_ms, t->used - low, AT_ONCE, &t->count, &t->bytes,
                              &t->err);
    t->err.code = r;
}

static void begin(struct cache_trim *t);

static void after_pause(void *arg)
{
    struct cache_trim *t = arg;

    t->pause = NULL;
    begin(t);
}

static void trim_done(void *arg, const struct err *group_err)
{
    struct cache_trim *t = arg;
    bool fine = !group_err && t->err.code == 0;

    t->busy = false;
    if (fine && t->count > 0 && !t->trimming)
        log_info("the cache holds %llu MB: removing what was not used for longest",
                 (unsigned long long)(t->used >> 20));
    t->trimming = fine && t->count > 0;
    if (!t->trimming)
        return;
    metric_inc(t->m_bytes, "", (double)t->bytes);
    metric_inc(t->m_results, "", (double)t->count);
    t->pause = loop_after(t->svc->loop, PAUSE_NS, after_pause, t);
}

static void begin(struct cache_trim *t)
{
    t->busy = true;
    t->before_ms = oldest_needed(t->svc);
    actor_send(t->svc->store_actor, trim_run, trim_done, t);
}

void cache_trim_tick(struct cache_trim *t)
{
    if (t->svc->config->cache_max_bytes > 0 && !t->busy && !t->pause && !t->svc->draining)
        begin(t);
}
