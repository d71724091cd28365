/* plan_job.h: parameters of a job of kind `plan`: a plan request without its origin, and under
 * `analyze` the parameters of the analysis that comes first where the metric needs one.
 */
#ifndef SPECTRALD_PLAN_JOB_H
#define SPECTRALD_PLAN_JOB_H

#include "daemon/analyze_params.h"
#include "daemon/config.h"
#include "daemon/plan_ask.h"

struct plan_job {
    struct plan_ask ask;
    struct analyze_params analyze; /* a metric of windows has asked for windows */
};

/* Parse and check `params` (NULL = none). ERR_INVALID, ERR_LIMIT or ERR_UNSUPPORTED with the
 * pointer of the field ("/params/sparsity", "/params/analyze/min_evals"). */
int plan_job_parse(const json_t *params, struct plan_job *out, struct err *err);
void plan_job_done(struct plan_job *p);

/* What takes time: regular expressions; and the file of statistics, which is looked at. File
 * thread. */
int plan_job_check(const struct plan_job *p, const struct config *c, struct err *err);

/* The same with every default filled in; the caller frees it. */
char *plan_job_text(const struct plan_job *p);

/* What plan_make() complains about, as a field of the job: "/sparsity" becomes "/params/sparsity",
 * and what concerns the rows as a whole "/source". Returns err->code. */
int plan_job_fault(struct err *err);

/* What is wrong with the parameters of a job of kind plan is wrong with the plan in those of
 * another: "/params/sparsity" becomes "/params/plan/sparsity". */
void plan_job_within(struct err *err);

#endif
