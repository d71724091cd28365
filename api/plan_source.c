/* plan_source.c: see plan_source.h. */
#include "api/plan_source.h"

#include "api/job_first.h"
#include "api/plans.h"
#include "api/problem.h"
#include "daemon/plan_ask.h"

#include <stdio.h>
#include <string.h>

/* In the words of the job, whose fault it is the request's, too. */
static struct reply *refusal(const struct request *rq, const struct job_view *view)
{
    json_auto_t *error = json_loads(view->job->error ? view->job->error : "{}", 0, NULL);
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *detail = json_string_value(json_object_get(error, "detail"));
    const char *pointer = json_string_value(json_object_get(error, "pointer"));
    struct err err = {0};

    if (view->job->state == JOB_CANCELLED)
        return reply_problem(ERR_CONFLICT, "job %s, which made the plan, was cancelled",
                             view->job->id);
    (void)err_set_at(&err, problem_type_named(code ? code : "")->code, pointer ? pointer : "",
                     "%s (job %s)", detail ? detail : "the job failed", view->job->id);
    job_first_fault(rq, &err);
    return reply_err(&err);
}

static struct reply *after_job(struct request *rq, const struct job_view *view)
{
    json_auto_t *result = NULL;
    const char *plan;

    if (view->job->state != JOB_SUCCEEDED)
        return refusal(rq, view);
    result = json_loads(view->job->result ? view->job->result : "{}", 0, NULL);
    plan = json_string_value(json_object_get(result, "plan"));
    if (!plan || !ident_valid(plan, "pln_"))
        return reply_problem(ERR_INTERNAL, "job %s has no plan", view->job->id);
    return plans_fetch(rq, plan, view->job->id);
}

/* Before a job is made: what is wrong has the place it has in the body. */
static int check(const json_t *params, struct err *err)
{
    struct plan_ask ask;
    int r = plan_ask_parse_job(params, &ask, err);

    if (r == 0)
        plan_ask_done(&ask);
    return r;
}

struct reply *plan_from_source(struct request *rq)
{
    json_auto_t *params = json_copy(rq->json);
    struct err err;
    int r;

    (void)json_object_del(params, "source");
    (void)json_object_del(params, "labels");
    r = check(params, &err);
    if (r == 0)
        r = job_first(rq, "plan", rq->json, params, 0, after_job, &err);
    return r < 0 ? reply_err(&err) : reply_suspend();
}

struct reply *plan_from_weights(struct request *rq, const char *source, const json_t *ask)
{
    json_auto_t *body = json_object();
    struct err err;
    int r;

    (void)json_object_set_new(body, "source", json_loads(source, 0, NULL));
    r = job_first(rq, "plan", body, ask, 0, after_job, &err);
    return r < 0 ? reply_err(&err) : reply_suspend();
}
