/* rows_get.c: see rows_get.h. */
#include "api/rows_get.h"

#include "api/plans.h"

#include <stdio.h>
#include <stdlib.h>

struct getting {
    struct ticket *ticket;
    struct service *svc;
    struct metric_rows_cache *memory; /* a reference */
    char analysis[IDENT_MAX], metric[METRIC_NAME_MAX + 1];
    struct metric_rows *rows;
    int more; /* of the last step, or an error in err */
    struct err err;
    rows_then *then;
    void *arg;
};

struct metric_rows *rows_known(const struct request *rq, const char *analysis, const char *metric)
{
    return metric_rows_find(rq->api->plans->rows, analysis, metric);
}

static void read_run(void *arg, struct store *st)
{
    struct getting *g = arg;

    g->more = metric_rows_read_some(st, g->analysis, g->metric, &g->rows, &g->err);
}

static void read_done(void *arg)
{
    struct getting *g = arg;
    struct request *rq = ticket_redeem(g->ticket);

    if (rq && g->more > 0) {
        g->ticket = request_ticket(rq);
        service_store_call(g->svc, read_run, read_done, g);
        return;
    }
    if (g->more == 0)
        metric_rows_keep(g->memory, g->analysis, g->rows);
    g->then(g->arg, rq, g->more == 0 ? g->rows : NULL, &g->err);
    metric_rows_unref(g->rows);
    metric_rows_cache_unref(g->memory);
    free(g);
}

void rows_get(struct request *rq, const char *analysis, const char *metric, rows_then *then,
              void *arg)
{
    struct getting *g = xcalloc(1, sizeof *g);

    *g = (struct getting){.ticket = request_ticket(rq),
                          .svc = rq->api->svc,
                          .memory = metric_rows_cache_ref(rq->api->plans->rows),
                          .then = then,
                          .arg = arg};
    snprintf(g->analysis, sizeof g->analysis, "%s", analysis);
    snprintf(g->metric, sizeof g->metric, "%s", metric);
    service_store_call(g->svc, read_run, read_done, g);
}
