/* metric_rows_cache.c: see metric_rows.h: the sets of rows that were used last. */
#include "daemon/metric_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_SETS 32
#define CACHE_ROWS 65536 /* of all sets together: about a kilobyte each */

struct metric_rows_cache {
    unsigned refs;
    size_t n; /* rows of all sets */
    struct cached {
        char analysis[IDENT_MAX];
        struct metric_rows *rows;
        uint64_t used;
    } set[CACHE_SETS];
    uint64_t clock;
};

struct metric_rows_cache *metric_rows_cache_new(void)
{
    struct metric_rows_cache *c = xcalloc(1, sizeof *c);

    c->refs = 1;
    return c;
}

struct metric_rows_cache *metric_rows_cache_ref(struct metric_rows_cache *c)
{
    c->refs++;
    return c;
}

void metric_rows_cache_unref(struct metric_rows_cache *c)
{
    if (!c || --c->refs > 0)
        return;
    for (size_t i = 0; i < CACHE_SETS; i++)
        metric_rows_unref(c->set[i].rows);
    free(c);
}

struct metric_rows *metric_rows_find(struct metric_rows_cache *c, const char *analysis,
                                     const char *metric)
{
    for (size_t i = 0; i < CACHE_SETS; i++) {
        struct cached *s = &c->set[i];

        if (s->rows && strcmp(s->analysis, analysis) == 0 && strcmp(s->rows->metric, metric) == 0) {
            s->used = ++c->clock;
            return s->rows;
        }
    }
    return NULL;
}

static void drop(struct metric_rows_cache *c, struct cached *s)
{
    if (s->rows)
        c->n -= s->rows->n;
    metric_rows_unref(s->rows);
    *s = (struct cached){.used = 0};
}

/* Not used for longest; an empty one first, if those count. */
static struct cached *oldest(struct metric_rows_cache *c, bool or_empty)
{
    struct cached *best = NULL;

    for (size_t i = 0; i < CACHE_SETS; i++)
        if ((c->set[i].rows || or_empty) && (!best || c->set[i].used < best->used))
            best = &c->set[i];
    return best;
}

void metric_rows_keep(struct metric_rows_cache *c, const char *analysis, struct metric_rows *m)
{
    struct cached *s;

    if (m->n > CACHE_ROWS || metric_rows_find(c, analysis, m->metric))
        return;
    while (c->n + m->n > CACHE_ROWS)
        drop(c, oldest(c, false));
    s = oldest(c, true);
    drop(c, s);
    s->rows = metric_rows_ref(m);
    s->used = ++c->clock;
    snprintf(s->analysis, sizeof s->analysis, "%s", analysis);
    c->n += m->n;
}
