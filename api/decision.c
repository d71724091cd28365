/* decision.c: see decision.h. */
#include "api/decision.h"

#include "api/gate.h"
#include "api/idempotency.h"
#include "api/job_first.h"
#include "api/rows_get.h"
#include "api/spectra_sent.h"
#include "common/json_text.h"
#include "daemon/layer_analysis.h"
#include "daemon/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
    const struct decision *kind;
    struct ticket *ticket;
    struct api *api;   /* there as long as the request is */
    struct gate *gate; /* that it is inside of, or NULL */
    json_t *body;      /* a reference of our own */
    char analysis[IDENT_MAX], job[IDENT_MAX];
    const char *metric;       /* borrowed from the body, or static; NULL: the first usual one */
    struct metric_rows *rows; /* a reference */
    struct fit_ask fit;       /* of eigenvalues sent along */
    struct err err;           /* code 0 = fine */
    struct buf out;
};

static void work_free(void *arg)
{
    struct work *w = arg;

    if (!w)
        return;
    if (w->gate)
        gate_leave(w->gate);
    json_decref(w->body);
    metric_rows_unref(w->rows);
    buf_done(&w->out);
    free(w);
}

/* --- writing ------------------------------------------------------------------------------- */

/* What was sent along; rows of an analysis are there already. */
static int take_sent(struct work *w)
{
    const json_t *metrics = json_object_get(w->body, "metrics"),
                 *layers = json_object_get(w->body, "layers");

    return metrics  ? measured_take(metrics, json_object_get(w->body, "metric"), &w->rows, &w->err)
           : layers ? spectra_take(layers, w->metric, &w->fit, &w->rows, &w->err)
                    : 0;
}

static void write_run(void *arg, void *state)
{
    struct work *w = arg;
    bool sent = !w->rows;
    int r = take_sent(w);

    (void)state;
    buf_printf(&w->out, "{");
    if (*w->analysis)
        json_text_key_string(&w->out, "analysis", w->analysis);
    if (*w->job)
        json_text_key_string(&w->out, "job", w->job);
    if (r == 0 && w->rows->n > MEASURED_MAX)
        r = err_set_at(&w->err, ERR_LIMIT, "/analysis", "the model has more than %d layers",
                       MEASURED_MAX);
    if (r == 0) {
        json_text_key_string(&w->out, "metric", w->rows->metric);
        r = w->kind->write(w->body, w->rows, &w->out, &w->err);
    }
    buf_printf(&w->out, "}");
    if (r < 0)
        w->err.code = r;
    /* Both may be large: not for the loop thread. */
    if (sent)
        metric_rows_unref(TAKE(w->rows));
    json_decref(TAKE(w->body));
}

static void write_done(void *arg, const struct err *group_err)
{
    struct work *w = arg;
    struct request *rq = ticket_redeem(w->ticket);

    (void)group_err;
    if (rq && w->err.code)
        request_finish(rq, reply_err(&w->err));
    else if (rq && *w->job)
        request_finish(rq, job_first_headers(rq, reply_json_take(200, &w->out)));
    else if (rq)
        request_finish(rq, reply_json_take(200, &w->out));
    work_free(w);
}

/* --- rows of an analysis --------------------------------------------------------------------- */

static void have_rows(struct work *w, struct metric_rows *rows)
{
    w->rows = metric_rows_ref(rows);
    actor_send(w->api->writer, write_run, write_done, w);
}

/* Where no row has the usual metric, because they were written before it was computed: alpha. */
static bool falls_back(const struct work *w, const struct metric_rows *rows)
{
    return !rows->usable && strcmp(w->metric, MEASURED_FALLBACK) != 0 &&
           !json_object_get(w->body, "metric");
}

static void got_rows(void *arg, struct request *rq, struct metric_rows *rows, const struct err *err)
{
    struct work *w = arg;

    if (rq && rows && falls_back(w, rows)) {
        w->metric = MEASURED_FALLBACK;
        rows_get(rq, w->analysis, w->metric, got_rows, w);
    } else if (rq && rows) {
        w->ticket = request_ticket(rq);
        have_rows(w, rows);
    } else {
        if (rq)
            request_finish(rq, reply_err(err));
        work_free(w);
    }
}

static void find_rows(struct request *rq, struct work *w)
{
    struct metric_rows *rows = rows_known(rq, w->analysis, w->metric);

    if (rows && falls_back(w, rows)) {
        w->metric = MEASURED_FALLBACK;
        rows = rows_known(rq, w->analysis, w->metric);
    }
    if (!rows) {
        rows_get(rq, w->analysis, w->metric, got_rows, w);
        return;
    }
    w->ticket = request_ticket(rq);
    have_rows(w, rows);
}

/* Work on it: NULL, or a refusal, and then `w` is freed. */
static struct reply *start(struct request *rq, struct work *w)
{
    bool fits = json_object_get(w->body, "layers") != NULL;
    struct gate *gate = fits ? rq->api->fits : rq->api->decisions;
    struct err err;

    if (gate_enter(gate, &err) < 0) {
        work_free(w);
        return reply_err(&err);
    }
    w->gate = gate;
    if (*w->analysis) {
        find_rows(rq, w);
        return NULL;
    }
    w->ticket = request_ticket(rq);
    actor_send(fits ? w->api->fitter : w->api->writer, write_run, write_done, w);
    return NULL;
}

/* --- a source: the job first ----------------------------------------------------------------- */

static struct reply *job_refusal(const struct job_view *view)
{
    json_auto_t *error = json_loads(view->job->error ? view->job->error : "{}", 0, NULL);
    const char *detail = json_string_value(json_object_get(error, "detail"));

    return reply_problem(view->job->state == JOB_CANCELLED ? ERR_CONFLICT : ERR_UNSUPPORTED,
                         "job %s, which analysed the source, %s%s%s", view->job->id,
                         job_state_name(view->job->state), detail ? ": " : "",
                         detail ? detail : "");
}

static struct reply *after_job(struct request *rq, const struct job_view *view)
{
    json_auto_t *result = NULL;
    struct reply *r;
    struct work *w;

    if (view->job->state != JOB_SUCCEEDED)
        return job_refusal(view);
    w = TAKE(rq->kept);
    result = json_loads(view->job->result ? view->job->result : "{}", 0, NULL);
    snprintf(w->analysis, sizeof w->analysis, "%s",
             json_string_value(json_object_get(result, "analysis"))
                 ? json_string_value(json_object_get(result, "analysis"))
                 : "");
    snprintf(w->job, sizeof w->job, "%s", view->job->id);
    r = start(rq, w);
    return r ? r : reply_suspend();
}

static int submit(struct request *rq, struct work *w, struct err *err)
{
    int r = job_first(rq, "analyze", w->body, json_object_get(w->body, "params"), DECISION_WAIT_S,
                      after_job, err);

    if (r < 0)
        return r;
    rq->kept = w;
    rq->kept_free = work_free;
    return 0;
}

/* --- the question -------------------------------------------------------------------------- */

static int check_members(const json_t *body, const struct decision *kind, struct err *err)
{
    static const char *const shared[] = {"analysis", "metrics", "layers", "source",
                                         "params",   "labels",  "metric", "fit"};
    const char *known[32];
    size_t n = 0;

    ASSERT(ARRAY_LEN(shared) + kind->n_members <= ARRAY_LEN(known));
    for (size_t i = 0; i < ARRAY_LEN(shared); i++)
        known[n++] = shared[i];
    for (size_t i = 0; i < kind->n_members; i++)
        known[n++] = kind->member[i];
    return member_check(body, known, n, err);
}

static int check_analysis(struct work *w, const char *member, const json_t *id, struct err *err)
{
    char pointer[ERR_POINTER_MAX];

    err_pointer(pointer, "", member);
    if (!json_is_string(id) || !ident_valid(json_string_value(id), "ana_"))
        return err_set_at(err, ERR_INVALID, pointer, "expected the id of an analysis");
    snprintf(w->analysis, sizeof w->analysis, "%s", json_string_value(id));
    return 0;
}

/* Where the layers are. With freeze_from the scores stay those of an earlier analysis, whatever
 * else the body names: there is nothing to compute for a source. */
static int check_place(struct work *w, struct err *err)
{
    const json_t *analysis = json_object_get(w->body, "analysis"),
                 *metrics = json_object_get(w->body, "metrics"),
                 *layers = json_object_get(w->body, "layers"),
                 *source = json_object_get(w->body, "source"),
                 *frozen = json_object_get(w->body, "freeze_from");
    int r = 0;

    if ((analysis != NULL) + (metrics != NULL) + (layers != NULL) + (source != NULL) != 1)
        return err_set(
            err, ERR_INVALID,
            "exactly one of analysis, metrics, layers and source says which layers are meant");
    if (!source && (json_object_get(w->body, "params") || json_object_get(w->body, "labels")))
        return err_set_at(err, ERR_INVALID,
                          json_object_get(w->body, "params") ? "/params" : "/labels",
                          "only with a source, which is analysed first");
    if (analysis)
        r = check_analysis(w, "analysis", analysis, err);
    if (r == 0 && frozen && !json_is_null(frozen) && !analysis && !source)
        r = err_set_at(err, ERR_INVALID, "/freeze_from", "only with an analysis or a source");
    if (r == 0 && frozen && !json_is_null(frozen))
        r = check_analysis(w, "freeze_from", frozen, err);
    return r;
}

static int check_layers(struct work *w, struct err *err)
{
    const json_t *metric = json_object_get(w->body, "metric"),
                 *metrics = json_object_get(w->body, "metrics"),
                 *layers = json_object_get(w->body, "layers");
    int r = check_place(w, err);

    if (r < 0)
        return r;
    if (metrics && (!json_is_object(metrics) || json_object_size(metrics) == 0))
        return err_set_at(err, ERR_INVALID, "/metrics",
                          "expected an object with the numbers of at least one tensor");
    if (layers && (!json_is_array(layers) || json_array_size(layers) == 0))
        return err_set_at(err, ERR_INVALID, "/layers", "expected at least one layer");
    r = fit_ask_read(w->body, &w->fit, err);
    if (r < 0 || metrics)
        return r;
    return layers ? spectra_metric(metric, &w->metric, err)
                  : measured_column(metric, &w->metric, err);
}

struct reply *decision_make(struct request *rq, const struct decision *kind)
{
    struct work *w = xcalloc(1, sizeof *w);
    struct reply *no;
    struct err err;
    char key[IDEMPOTENCY_KEY_MAX + 1]; /* of a job; without one, only checked */
    int r = query_check_unused(&rq->query, &err);

    *w = (struct work){.kind = kind, .api = rq->api, .body = json_incref(rq->json)};
    if (r == 0)
        r = idempotency_key(rq, key, &err);
    if (r == 0)
        r = check_members(w->body, kind, &err);
    if (r == 0)
        r = check_layers(w, &err);
    if (r == 0)
        r = kind->check(w->body, &err);
    if (r == 0 && json_object_get(w->body, "source") && !*w->analysis) {
        r = submit(rq, w, &err);
        if (r == 0)
            return reply_suspend();
    }
    if (r < 0) {
        work_free(w);
        return reply_err(&err);
    }
    no = start(rq, w);
    return no ? no : reply_suspend();
}
