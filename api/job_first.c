/* job_first.c: see job_first.h. */
#include "api/job_first.h"

#include "api/idempotency.h"
#include "api/job_json.h"
#include "api/wait.h"
#include "daemon/labels.h"

#include <string.h>

struct reply *job_first_headers(const struct request *rq, struct reply *r)
{
    if (rq->replayed)
        reply_header(r, "Idempotency-Replayed", "true");
    if (rq->prefer.async)
        reply_header(r, "Preference-Applied", "respond-async");
    else if (rq->prefer.has_wait)
        reply_header(r, "Preference-Applied", "wait=%u", rq->prefer.wait_s);
    return r;
}

void job_first_fault(const struct request *rq, struct err *err)
{
    static const char above[] = "/params";
    size_t n = sizeof above - 1;

    if (rq->flat && strncmp(err->pointer, above, n) == 0)
        memmove(err->pointer, err->pointer + n, strlen(err->pointer + n) + 1);
}

/* For wait_job(). */
static struct reply *as_it_stands(struct request *rq, const struct job_view *view)
{
    struct buf body = BUF_INIT;
    struct reply *r;

    if (job_state_final(view->job->state))
        return rq->then(rq, view);
    job_json_write(&body, view);
    r = job_first_headers(rq, reply_json_take(202, &body));
    reply_header(r, "Retry-After", "1");
    return reply_header(r, "Location", "/v1/jobs/%s", view->job->id);
}

static void on_created(void *arg, const struct err *err, const struct job_view *view)
{
    struct request *rq = ticket_redeem(arg);
    struct reply *r;

    if (!rq)
        return; /* the job goes on; only its client is gone */
    if (err) {
        struct err here = *err;

        job_first_fault(rq, &here);
        request_finish(rq, reply_err(&here));
        return;
    }
    rq->replayed = view->replayed;
    if (rq->patience_s > 0 && !job_state_final(view->job->state)) {
        wait_job(rq, view->job->id, rq->patience_s, true, as_it_stands);
        return;
    }
    r = as_it_stands(rq, view);
    if (!reply_is_suspend(r))
        request_finish(rq, r);
}

int job_first(struct request *rq, const char *kind, const json_t *body, const json_t *params,
              unsigned wait_s, job_then_fn *then, struct err *err)
{
    char key[IDEMPOTENCY_KEY_MAX + 1];
    struct job_request q = {.owner = "local", .kind = kind, .trace_id = rq->trace_id};
    int r = idempotency_key(rq, key, err);

    q.source = json_object_get(body, "source");
    q.labels = json_object_get(body, "labels");
    q.params = params;
    if (r == 0 && !json_is_object(q.source))
        r = err_set_at(err, ERR_INVALID, "/source", "expected an object");
    if (r == 0 && q.params && !json_is_object(q.params))
        r = err_set_at(err, ERR_INVALID, "/params", "expected an object");
    if (r == 0 && q.labels)
        r = labels_check(q.labels, err);
    if (r < 0)
        return r;
    q.key = *key ? key : NULL;
    rq->then = then;
    rq->flat = params != json_object_get(body, "params");
    rq->patience_s = rq->prefer.async ? 0 : rq->prefer.has_wait ? rq->prefer.wait_s : wait_s;
    service_job_submit(rq->api->svc, &q, on_created, request_ticket(rq));
    return 0;
}
