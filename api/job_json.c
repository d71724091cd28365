/* job_json.c: see job_json.h. */
#include "api/job_json.h"

#include "api/problem.h"
#include "common/json_out.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void job_json_stored(const struct job_record *job, struct job_view *out)
{
    *out = (struct job_view){.job = job, .eta_s = -1, .message = ""};
    if (job->layers_total)
        out->fraction = (double)job->layers_done / (double)job->layers_total;
    if (job->state == JOB_SUCCEEDED) {
        out->fraction = 1;
        out->eta_s = 0;
    }
}

/* What is known only while a job runs is gone once it is read back from the store, so a final
 * job's tag must not depend on it. */
void job_json_etag(const struct job_view *view, char out[JOB_ETAG_MAX])
{
    const struct job_record *job = view->job;
    uint64_t change = job_state_final(job->state) ? 0 : view->change;

    snprintf(out, JOB_ETAG_MAX, "\"%" PRIu32 ".%" PRIu64 ".%s.%" PRIu64 "\"", job->attempt,
             job->version, job_state_name(job->state), change);
}

static void write_progress(struct buf *b, const struct job_view *view)
{
    json_text_key(b, "progress");
    buf_printf(b, "{");
    json_text_key_int(b, "layers_done", (int64_t)view->job->layers_done);
    json_text_key_int(b, "layers_total", (int64_t)view->job->layers_total);
    json_text_key_real(b, "fraction", view->fraction);
    json_out_text(b, "message", view->message ? view->message : "");
    json_text_key_real(b, "eta_s", view->eta_s < 0 ? NAN : view->eta_s);
    buf_printf(b, "}");
}

/* As a problem document has it. */
static void write_field(struct buf *b, const json_t *e)
{
    const char *pointer = json_string_value(json_object_get(e, "pointer"));
    const char *detail = json_string_value(json_object_get(e, "detail"));
    AUTO(freep) char *fragment = NULL;

    if (!pointer)
        return;
    fragment = xasprintf("#%s", pointer);
    json_text_key(b, "errors");
    buf_printf(b, "[{");
    json_text_key_string(b, "pointer", fragment);
    json_text_key_string(b, "detail", detail ? detail : "");
    buf_printf(b, "}]");
}

/* The stored error is {"code", "detail"}, and "pointer" where a field is at fault; clients get it
 * with the type and title that the same code has in an HTTP error. */
static void write_error(struct buf *b, const char *stored)
{
    json_t *e = stored && *stored ? json_loads(stored, 0, NULL) : NULL;
    const char *code = json_string_value(json_object_get(e, "code"));
    const char *detail = json_string_value(json_object_get(e, "detail"));
    const struct problem_type *t = problem_type_named(code ? code : "");

    if (!e) {
        json_out_raw(b, "error", NULL);
        return;
    }
    json_text_key(b, "error");
    buf_printf(b, "{");
    json_text_key_string(b, "type", t->uri);
    json_text_key_string(b, "title", t->title);
    json_text_key_string(b, "code", code ? code : t->name);
    json_text_key_string(b, "detail", detail ? detail : t->title);
    write_field(b, e);
    buf_printf(b, "}");
    json_decref(e);
}

static void write_links(struct buf *b, const struct job_record *job)
{
    json_t *result = job->result && *job->result ? json_loads(job->result, 0, NULL) : NULL;
    const char *analysis = json_string_value(json_object_get(result, "analysis"));
    const char *plan = json_string_value(json_object_get(result, "plan"));
    const char *artifact = json_string_value(json_object_get(result, "artifact"));
    const char *distances = json_string_value(json_object_get(result, "distances"));

    json_text_key(b, "links");
    buf_printf(b,
               "{\"self\":\"/v1/jobs/%s\",\"cancel\":\"/v1/jobs/%s:cancel\",\"result\":", job->id,
               job->id);
    if (artifact && ident_valid(artifact, "art_"))
        buf_printf(b, "\"/v1/artifacts/%s\"}", artifact);
    else if (distances && ident_valid(distances, "dst_"))
        buf_printf(b, "\"/v1/distances/%s\"}", distances);
    else if (plan && ident_valid(plan, "pln_"))
        buf_printf(b, "\"/v1/plans/%s\"}", plan);
    else if (analysis && ident_valid(analysis, "ana_"))
        buf_printf(b, "\"/v1/analyses/%s\"}", analysis);
    else
        buf_printf(b, "null}");
    json_decref(result);
}

void job_json_write(struct buf *b, const struct job_view *view)
{
    const struct job_record *job = view->job;

    buf_printf(b, "{");
    json_text_key_string(b, "id", job->id);
    json_text_key_string(b, "kind", job->kind);
    json_text_key_string(b, "state", job_state_name(job->state));
    json_text_key_string(b, "reason", job->reason);
    json_out_raw(b, "source", job->source);
    json_out_raw(b, "params", job->params);
    json_out_raw(b, "labels", job->labels);
    write_progress(b, view);
    json_text_key(b, "cache");
    buf_printf(b, "{\"hits\":%" PRIu64 ",\"misses\":%" PRIu64 "}", job->hits, job->misses);
    json_out_raw(b, "result", job->result);
    write_error(b, job->error);
    json_out_time(b, "created_at", job->created_ms);
    json_out_time(b, "started_at", job->started_ms);
    json_out_time(b, "finished_at", job->finished_ms);
    json_text_key_string(b, "trace_id", *job->trace_id ? job->trace_id : NULL);
    json_text_key_int(b, "attempt", job->attempt);
    json_text_key_int(b, "version", (int64_t)job->version);
    write_links(b, job);
    buf_printf(b, "}");
}
