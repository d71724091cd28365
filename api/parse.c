/* parse.c: see parse.h. */
#include "api/parse.h"

#include "api/body.h"

#include <stdlib.h>

struct parse {
    struct ticket *ticket;
    struct buf body;
    json_t *json;
    struct err err;
    void (*then)(struct request *rq, const struct err *err);
};

static void parse_run(void *arg, void *state)
{
    struct parse *p = arg;

    (void)state;
    (void)body_parse(&p->body, &p->json, &p->err);
    buf_done(&p->body);
}

static void parse_done(void *arg, const struct err *group_err)
{
    struct parse *p = arg;
    struct request *rq = ticket_redeem(p->ticket);

    (void)group_err;
    if (rq) {
        rq->json = p->json;
        p->then(rq, p->err.code ? &p->err : NULL);
    } else {
        json_decref(p->json);
    }
    free(p);
}

void parse_later(struct request *rq, void (*then)(struct request *rq, const struct err *err))
{
    struct parse *p = xcalloc(1, sizeof *p);

    *p = (struct parse){.ticket = request_ticket(rq), .body = rq->body, .then = then};
    rq->body = (struct buf)BUF_INIT;
    actor_send(rq->api->parser, parse_run, parse_done, p);
}

static void free_run(void *arg, void *state)
{
    (void)state;
    json_decref(arg);
}

void parse_free(struct api *api, json_t *json)
{
    actor_send(api->parser, free_run, NULL, json);
}
