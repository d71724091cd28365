/* ep.h: the handlers, one file per resource (ep_*.c). Each takes a complete request and returns
 * its reply, or reply_suspend() and calls request_finish() later. */
#ifndef SPECTRALD_EP_H
#define SPECTRALD_EP_H

struct reply;
struct request;

struct reply *ep_jobs_create(struct request *rq);
struct reply *ep_jobs_list(struct request *rq);
struct reply *ep_jobs_get(struct request *rq);
struct reply *ep_jobs_patch(struct request *rq);
struct reply *ep_jobs_cancel(struct request *rq);
struct reply *ep_jobs_delete(struct request *rq);

/* At the headers: a refusal, or NULL after request_stream(). */
struct reply *ep_uploads_create(struct request *rq);
struct reply *ep_uploads_list(struct request *rq);
struct reply *ep_uploads_get(struct request *rq);
struct reply *ep_uploads_delete(struct request *rq);

struct reply *ep_artifacts_list(struct request *rq);
struct reply *ep_artifacts_get(struct request *rq);
struct reply *ep_artifacts_delete(struct request *rq);
struct reply *ep_artifact_file(struct request *rq);
struct reply *ep_artifact_tar(struct request *rq);

struct reply *ep_models_list(struct request *rq);
struct reply *ep_models_get(struct request *rq);
struct reply *ep_tensors_list(struct request *rq);

struct reply *ep_analyses_list(struct request *rq);
struct reply *ep_analyses_get(struct request *rq);
struct reply *ep_analyses_patch(struct request *rq);

struct reply *ep_distances_get(struct request *rq);
struct reply *ep_distances_layers(struct request *rq);

struct reply *ep_layers_list(struct request *rq);
struct reply *ep_layers_get(struct request *rq);
struct reply *ep_layers_esd(struct request *rq);
struct reply *ep_layers_plot(struct request *rq);
struct reply *ep_layers_traps(struct request *rq);
struct reply *ep_analyses_plot(struct request *rq);

struct reply *ep_series_get(struct request *rq);

struct reply *ep_comparisons_get(struct request *rq);
struct reply *ep_comparisons_plot(struct request *rq);

struct reply *ep_schedules_create(struct request *rq);
struct reply *ep_experts_create(struct request *rq);
struct reply *ep_diagnostics_simpson(struct request *rq);
struct reply *ep_plans_create(struct request *rq);
struct reply *ep_plans_get(struct request *rq);
struct reply *ep_plans_compare(struct request *rq);

struct reply *ep_ops_live(struct request *rq);
struct reply *ep_ops_ready(struct request *rq);
struct reply *ep_ops_metrics(struct request *rq);
struct reply *ep_ops_openapi(struct request *rq);

#endif
