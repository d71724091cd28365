/* wait.c: see wait.h.
 *
 * An active job is watched. One that still waits in the store cannot be; it is looked at once a
 * second until it becomes active. Everything happens on the loop thread, so between a look at an
 * active job and the start of its watch nothing can change.
 */
#include "api/wait.h"

#include "api/job_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S 1000000000LL
#define LOOK_NS  NS_PER_S

struct job_wait {
    struct request *rq;
    struct job_watch *watch; /* NULL: not watched, or ended by itself */
    struct loop_timer *timer;
    int64_t end_ns;
    bool until_final;
    wait_reply_fn *make;
    char id[IDENT_MAX];
};

static void look(struct job_wait *w);

bool wait_is_over(const struct request *rq, const struct job_view *view, bool until_final)
{
    char etag[JOB_ETAG_MAX];

    if (job_state_final(view->job->state))
        return true;
    job_json_etag(view, etag);
    return !until_final && !request_has_etag(rq, etag);
}

void wait_cancel(struct job_wait *w)
{
    if (!w)
        return;
    if (w->watch)
        service_job_unwatch(w->rq->api->svc, w->watch);
    if (w->timer)
        loop_cancel(w->rq->api->loop, w->timer);
    w->rq->wait = NULL;
    free(w);
}

static void finish(struct job_wait *w, struct reply *reply)
{
    struct request *rq = w->rq;

    wait_cancel(w);
    if (!reply_is_suspend(reply)) /* what it started ends in request_finish() */
        request_finish(rq, reply);
}

/* --- an active job --------------------------------------------------------------------------- */

static void on_change(void *arg, const struct err *err, const struct job_view *view)
{
    struct job_wait *w = arg;

    if (err || job_state_final(view->job->state))
        w->watch = NULL; /* this was its last call */
    if (err)
        finish(w, reply_err(err));
    else if (wait_is_over(w->rq, view, w->until_final))
        finish(w, w->make(w->rq, view));
}

static void on_timeout(void *arg)
{
    struct job_wait *w = arg;
    struct job_view buf;
    const struct job_view *view = service_job_live(w->rq->api->svc, w->id, &buf);

    w->timer = NULL;
    if (view)
        finish(w, w->make(w->rq, view));
    else
        look(w);
}

/* --- a job in the store ---------------------------------------------------------------------- */

static void on_look(void *arg)
{
    struct job_wait *w = arg;
    struct request *rq = w->rq;
    struct job_view buf;
    const struct job_view *view;

    w->timer = NULL;
    w->watch = service_job_watch(rq->api->svc, w->id, on_change, w);
    if (!w->watch) {
        look(w);
        return;
    }
    /* It became active since it was last looked at, which may be what is waited for. */
    view = rq->suspended ? service_job_live(rq->api->svc, w->id, &buf) : NULL;
    if (view && wait_is_over(rq, view, w->until_final))
        finish(w, w->make(rq, view));
    else
        w->timer = loop_after(rq->api->loop, w->end_ns - mono_ns(), on_timeout, w);
}

static void on_looked(void *arg, const struct err *err, const struct job_view *view)
{
    struct request *rq = ticket_redeem(arg);
    struct job_wait *w = rq ? rq->wait : NULL;
    int64_t left;

    if (!w)
        return;
    left = w->end_ns - mono_ns();
    if (err)
        finish(w, reply_err(err));
    else if (left <= 0 || wait_is_over(rq, view, w->until_final))
        finish(w, w->make(rq, view));
    else
        w->timer = loop_after(rq->api->loop, left < LOOK_NS ? left : LOOK_NS, on_look, w);
}

static void look(struct job_wait *w)
{
    service_job_get(w->rq->api->svc, w->id, on_looked, request_ticket(w->rq));
}

void wait_job(struct request *rq, const char *id, unsigned seconds, bool until_final,
              wait_reply_fn *make)
{
    struct job_wait *w = xcalloc(1, sizeof *w);

    *w = (struct job_wait){.rq = rq, .until_final = until_final, .make = make};
    w->end_ns = mono_ns() + (int64_t)seconds * NS_PER_S;
    snprintf(w->id, sizeof w->id, "%s", id);
    rq->wait = w;
    on_look(w);
}

/* --- no wait --------------------------------------------------------------------------------- */

struct fetch {
    struct ticket *ticket;
    wait_reply_fn *make;
};

static void on_fetched(void *arg, const struct err *err, const struct job_view *view)
{
    struct fetch *f = arg;
    struct request *rq = ticket_redeem(f->ticket);

    if (rq)
        request_finish(rq, err ? reply_err(err) : f->make(rq, view));
    free(f);
}

void wait_fetch(struct request *rq, const char *id, wait_reply_fn *make)
{
    struct fetch *f = xmalloc(sizeof *f);

    *f = (struct fetch){.ticket = request_ticket(rq), .make = make};
    service_job_get(rq->api->svc, id, on_fetched, f);
}
