/* ep_jobs.c: /v1/jobs. */
#include "api/ep.h"
#include "api/idempotency.h"
#include "api/job_json.h"
#include "api/label_change.h"
#include "api/list.h"
#include "api/wait.h"
#include "daemon/labels.h"
#include "daemon/member.h"

#include <string.h>

/* --- one job as a reply ------------------------------------------------------------------------
 */

/* What this request does with a job: GET may answer 304; POST tells whether it is over. */
static struct reply *job_reply(struct request *rq, const struct job_view *view)
{
    bool post = strcmp(rq->method, "POST") == 0, patch = strcmp(rq->method, "PATCH") == 0;
    bool final = job_state_final(view->job->state);
    struct buf body = BUF_INIT;
    char etag[JOB_ETAG_MAX];
    struct reply *r;

    job_json_etag(view, etag);
    if (!post && !patch && request_has_etag(rq, etag)) {
        r = reply_empty(304);
    } else {
        job_json_write(&body, view);
        r = reply_json_take(!post || final ? 200 : 202, &body);
    }
    reply_header(r, "ETag", "%s", etag);
    if (!final)
        reply_header(r, "Retry-After", "1");
    if (rq->prefer.async)
        reply_header(r, "Preference-Applied", "respond-async");
    else if (rq->prefer.has_wait)
        reply_header(r, "Preference-Applied", "wait=%u", rq->prefer.wait_s);
    return r;
}

static struct reply *created_reply(struct request *rq, const struct job_view *view)
{
    struct reply *r = job_reply(rq, view);

    if (rq->replayed)
        reply_header(r, "Idempotency-Replayed", "true");
    return reply_header(r, "Location", "/v1/jobs/%s", view->job->id);
}

/* The id in the path, or NULL when there can be no such job. */
static const char *job_id(const struct request *rq)
{
    return ident_valid(rq->match.arg[0], "job_") ? rq->match.arg[0] : NULL;
}

static struct reply *no_such_job(void)
{
    return reply_problem(ERR_NOT_FOUND, "no such job");
}

/* --- POST /v1/jobs -----------------------------------------------------------------------------
 */

static const json_t *member(const json_t *body, const char *name)
{
    const json_t *v = json_object_get(body, name);

    return json_is_null(v) ? NULL : v;
}

static int check_object(const json_t *v, const char *pointer, bool required, struct err *err)
{
    if (!v && required)
        return err_set_at(err, ERR_INVALID, pointer, "this member is required");
    if (v && !json_is_object(v))
        return err_set_at(err, ERR_INVALID, pointer, "expected an object");
    return 0;
}

static int parse_job(const json_t *body, struct job_request *out, struct err *err)
{
    static const char *const members[] = {"kind", "source", "params", "labels"};
    struct job_request q = {.owner = "local"};
    int r = member_check(body, members, ARRAY_LEN(members), err);

    if (r < 0)
        return r;
    q.kind = json_string_value(member(body, "kind"));
    if (!q.kind)
        return err_set_at(err, ERR_INVALID, "/kind", "expected the kind of job, a string");
    q.source = member(body, "source");
    q.params = member(body, "params");
    q.labels = member(body, "labels");
    r = check_object(q.source, "/source", true, err);
    if (r == 0)
        r = check_object(q.params, "/params", false, err);
    if (r == 0 && q.labels)
        r = labels_check(q.labels, err);
    if (r < 0)
        return r;
    *out = q;
    return 0;
}

static void on_created(void *arg, const struct err *err, const struct job_view *view)
{
    struct request *rq = ticket_redeem(arg);
    unsigned wait_s;
    struct reply *r;

    if (!rq)
        return; /* the job is stored and goes on; only its client is gone */
    if (err) {
        request_finish(rq, reply_err(err));
        return;
    }
    rq->replayed = view->replayed;
    wait_s = prefer_wait(&rq->prefer);
    if (wait_s > 0 && !job_state_final(view->job->state)) {
        wait_job(rq, view->job->id, wait_s, true, created_reply);
        return;
    }
    r = created_reply(rq, view);
    if (view->job->state == JOB_SUCCEEDED && !rq->replayed)
        reply_header(r, "Cache-Status", "spectrald; hit");
    request_finish(rq, r);
}

struct reply *ep_jobs_create(struct request *rq)
{
    char key[IDEMPOTENCY_KEY_MAX + 1];
    struct job_request q;
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0 || idempotency_key(rq, key, &err) < 0 ||
        parse_job(rq->json, &q, &err) < 0)
        return reply_err(&err);
    q.key = *key ? key : NULL;
    q.trace_id = rq->trace_id;
    service_job_submit(rq->api->svc, &q, on_created, request_ticket(rq));
    return reply_suspend();
}

/* --- GET /v1/jobs/{job} ------------------------------------------------------------------------
 */

/* With If-None-Match, a wait ends with the first change; without, when the job is over. */
static struct reply *get_or_wait(struct request *rq, const char *id)
{
    struct job_view buf;
    const struct job_view *live = service_job_live(rq->api->svc, id, &buf);
    bool until_final = !request_header(rq, "If-None-Match");
    unsigned wait_s = prefer_wait(&rq->prefer);

    if (live && (wait_s == 0 || wait_is_over(rq, live, until_final)))
        return job_reply(rq, live);
    if (wait_s > 0)
        wait_job(rq, id, wait_s, until_final, job_reply);
    else
        wait_fetch(rq, id, job_reply);
    return reply_suspend();
}

struct reply *ep_jobs_get(struct request *rq)
{
    const char *id = job_id(rq);
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    return id ? get_or_wait(rq, id) : no_such_job();
}

/* --- POST /v1/jobs/{job}:cancel, DELETE --------------------------------------------------------
 */

static void on_cancelled(void *arg, const struct err *err, const struct job_view *view)
{
    struct request *rq = ticket_redeem(arg);

    if (rq && !err && prefer_wait(&rq->prefer) > 0 && !job_state_final(view->job->state))
        wait_job(rq, view->job->id, prefer_wait(&rq->prefer), true, job_reply);
    else if (rq)
        request_finish(rq, err ? reply_err(err) : job_reply(rq, view));
}

struct reply *ep_jobs_cancel(struct request *rq)
{
    const char *id = job_id(rq);
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    if (!id)
        return no_such_job();
    service_job_cancel(rq->api->svc, id, on_cancelled, request_ticket(rq));
    return reply_suspend();
}

static void on_deleted(void *arg, const struct err *err, const struct job_view *view)
{
    struct request *rq = ticket_redeem(arg);

    (void)view;
    if (rq)
        request_finish(rq, err ? reply_err(err) : reply_empty(204));
}

struct reply *ep_jobs_delete(struct request *rq)
{
    const char *id = job_id(rq);
    struct err err;

    if (query_check_unused(&rq->query, &err) < 0)
        return reply_err(&err);
    if (!id)
        return no_such_job();
    service_job_delete(rq->api->svc, id, on_deleted, request_ticket(rq));
    return reply_suspend();
}

/* --- PATCH /v1/jobs/{job} ------------------------------------------------------------------------
 */

static bool job_matches(const char *if_match, const struct job_view *view)
{
    char etag[JOB_ETAG_MAX];

    job_json_etag(view, etag);
    return etag_listed(if_match, etag, false);
}

static void on_labelled(void *arg, const struct err *err, const struct job_view *view)
{
    struct request *rq = ticket_redeem(arg);

    if (rq)
        request_finish(rq, err ? reply_err(err) : job_reply(rq, view));
}

struct reply *ep_jobs_patch(struct request *rq)
{
    const char *id = job_id(rq);
    struct label_change change;
    struct reply *no = label_change_read(rq, &change);

    if (no)
        return no;
    if (!id)
        return no_such_job();
    service_job_label(rq->api->svc, id, change.patch, change.if_match, job_matches, on_labelled,
                      request_ticket(rq));
    return reply_suspend();
}

/* --- GET /v1/jobs ------------------------------------------------------------------------------
 */

static int find_jobs(struct store *st, const struct list_query *q, struct list_page *page,
                     struct err *err)
{
    struct job_query jobs = {.state = q->state,
                             .kind = q->kind,
                             .labels = q->page.labels,
                             .before_ms = q->page.before_ms,
                             .limit = q->page.limit};
    struct job_list found = {0};
    int r;

    memcpy(jobs.before_id, q->page.before_id, sizeof jobs.before_id);
    r = store_job_list(st, &jobs, &found, err);
    for (size_t i = 0; i < found.count; i++) {
        struct buf *b = list_entry(page, found.job[i].created_ms, found.job[i].id);
        struct job_view view;

        if (!b)
            continue;
        job_json_stored(&found.job[i], &view);
        job_json_write(b, &view);
    }
    job_list_done(&found);
    return r;
}

struct reply *ep_jobs_list(struct request *rq)
{
    static const struct list_kind kind = {"jobs", LIST_BY_STATE | LIST_BY_KIND | LIST_BY_LABEL,
                                          find_jobs};

    return list_handle(rq, &kind);
}
