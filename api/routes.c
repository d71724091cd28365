/* routes.c: the table. openapi.yaml says the same; a test compares them both ways. */
#include "api/ep.h"
#include "api/route.h"

const struct route *api_routes(size_t *n)
{
    static const struct route table[] = {
        {"createJob", "POST", "/v1/jobs", ep_jobs_create, BODY_JSON, ACCESS_CALLER},
        {"listJobs", "GET", "/v1/jobs", ep_jobs_list, BODY_NONE, ACCESS_CALLER},
        {"getJob", "GET", "/v1/jobs/{job}", ep_jobs_get, BODY_NONE, ACCESS_CALLER},
        {"patchJob", "PATCH", "/v1/jobs/{job}", ep_jobs_patch, BODY_JSON, ACCESS_CALLER},
        {"cancelJob", "POST", "/v1/jobs/{job}:cancel", ep_jobs_cancel, BODY_NONE, ACCESS_CALLER},
        {"deleteJob", "DELETE", "/v1/jobs/{job}", ep_jobs_delete, BODY_NONE, ACCESS_CALLER},
        {"createUpload", "POST", "/v1/uploads", ep_uploads_create, BODY_STREAM, ACCESS_CALLER},
        {"listUploads", "GET", "/v1/uploads", ep_uploads_list, BODY_NONE, ACCESS_CALLER},
        {"getUpload", "GET", "/v1/uploads/{upload}", ep_uploads_get, BODY_NONE, ACCESS_CALLER},
        {"deleteUpload", "DELETE", "/v1/uploads/{upload}", ep_uploads_delete, BODY_NONE,
         ACCESS_CALLER},
        {"listArtifacts", "GET", "/v1/artifacts", ep_artifacts_list, BODY_NONE, ACCESS_CALLER},
        {"getArtifact", "GET", "/v1/artifacts/{artifact}", ep_artifacts_get, BODY_NONE,
         ACCESS_CALLER},
        {"deleteArtifact", "DELETE", "/v1/artifacts/{artifact}", ep_artifacts_delete, BODY_NONE,
         ACCESS_CALLER},
        {"getArtifactFile", "GET", "/v1/artifacts/{artifact}/files/{name}", ep_artifact_file,
         BODY_NONE, ACCESS_CALLER},
        {"getArtifactTar", "GET", "/v1/artifacts/{artifact}/tar", ep_artifact_tar, BODY_NONE,
         ACCESS_CALLER},
        {"listModels", "GET", "/v1/models", ep_models_list, BODY_NONE, ACCESS_CALLER},
        {"getModel", "GET", "/v1/models/{model}", ep_models_get, BODY_NONE, ACCESS_CALLER},
        {"listTensors", "GET", "/v1/models/{model}/tensors", ep_tensors_list, BODY_NONE,
         ACCESS_CALLER},
        {"listAnalyses", "GET", "/v1/analyses", ep_analyses_list, BODY_NONE, ACCESS_CALLER},
        {"getAnalysis", "GET", "/v1/analyses/{analysis}", ep_analyses_get, BODY_NONE,
         ACCESS_CALLER},
        {"patchAnalysis", "PATCH", "/v1/analyses/{analysis}", ep_analyses_patch, BODY_JSON,
         ACCESS_CALLER},
        {"getAnalysisPlot", "GET", "/v1/analyses/{analysis}/plot.svg", ep_analyses_plot, BODY_NONE,
         ACCESS_CALLER},
        {"listLayers", "GET", "/v1/analyses/{analysis}/layers", ep_layers_list, BODY_NONE,
         ACCESS_CALLER},
        {"getLayer", "GET", "/v1/analyses/{analysis}/layers/{layer}", ep_layers_get, BODY_NONE,
         ACCESS_CALLER},
        {"getEsd", "GET", "/v1/analyses/{analysis}/layers/{layer}/esd", ep_layers_esd, BODY_NONE,
         ACCESS_CALLER},
        {"getLayerPlot", "GET", "/v1/analyses/{analysis}/layers/{layer}/plot.svg", ep_layers_plot,
         BODY_NONE, ACCESS_CALLER},
        {"getSeries", "GET", "/v1/series", ep_series_get, BODY_NONE, ACCESS_CALLER},
        {"createSchedule", "POST", "/v1/schedules", ep_schedules_create, BODY_JSON, ACCESS_CALLER},
        {"allocateExperts", "POST", "/v1/experts", ep_experts_create, BODY_JSON, ACCESS_CALLER},
        {"createPlan", "POST", "/v1/plans", ep_plans_create, BODY_JSON, ACCESS_CALLER},
        {"comparePlans", "POST", "/v1/plans:compare", ep_plans_compare, BODY_JSON, ACCESS_CALLER},
        {"getPlan", "GET", "/v1/plans/{plan}", ep_plans_get, BODY_NONE, ACCESS_CALLER},
        {"diagnoseSimpson", "POST", "/v1/diagnostics/simpson", ep_diagnostics_simpson, BODY_JSON,
         ACCESS_CALLER},
        {"getLiveness", "GET", "/livez", ep_ops_live, BODY_NONE, ACCESS_OPEN},
        {"getReadiness", "GET", "/readyz", ep_ops_ready, BODY_NONE, ACCESS_OPEN},
        {"getMetrics", "GET", "/metrics", ep_ops_metrics, BODY_NONE, ACCESS_CALLER},
        {"getOpenapi", "GET", "/openapi.yaml", ep_ops_openapi, BODY_NONE, ACCESS_CALLER},
    };

    *n = ARRAY_LEN(table);
    return table;
}
