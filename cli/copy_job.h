/* copy_job.h: a job that writes a copy of a model, from its request to what is said of the
 * artifact.
 */
#ifndef SPECTRALCTL_COPY_JOB_H
#define SPECTRALCTL_COPY_JOB_H

#include "cli/commands.h"
#include "cli/submit.h"

struct copy_job {
    const char *path; /* of the model */
    json_t *body;     /* of the request; borrowed */
    const struct submit_settings *submit;
    const struct output_form *form; /* json and quiet */
    bool detach;
    void (*print)(const json_t *report); /* for people */
};

/* The exit status. */
int copy_job_run(struct context *cx, const struct copy_job *c);

/* Print where the artifact is. */
void copy_job_place(const json_t *report);

#endif
