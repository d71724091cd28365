/* copy_job.c: see copy_job.h. */
#include "cli/copy_job.h"

#include "cli/field.h"
#include "cli/text.h"

#include <stdlib.h>

void copy_job_place(const json_t *report)
{
    AUTO(freep) char *id = text_clean(field_text(report, "id"));
    AUTO(freep) char *path = text_clean(field_text(report, "path"));

    if (*path)
        printf("%s: in %s\n", id, path);
    else
        printf("%s: kept by the server (spectralctl artifact get %s)\n", id, id);
}

static int report_artifact(struct context *cx, const json_t *job, const struct copy_job *c)
{
    const char *artifact = field_text(json_object_get(job, "result"), "artifact");
    AUTO(freep) char *id = http_escape(artifact);
    AUTO(freep) char *target = xasprintf("/v1/artifacts/%s", id);
    json_auto_t *report = NULL;
    int status = EXIT_DONE;

    if (c->form->quiet) {
        printf("%s\n", artifact);
        return EXIT_DONE;
    }
    if (!command_call(cx, "GET", target, &report, &status))
        return status;
    if (c->form->json)
        command_print_json(report);
    else
        c->print(report);
    return EXIT_DONE;
}

int copy_job_run(struct context *cx, const struct copy_job *c)
{
    struct submit_settings how = *c->submit;
    json_auto_t *job = NULL;
    int status;

    how.quiet = c->form->quiet;
    how.keep_upload |= c->detach;
    struct submit_file file[] = {SUBMIT_SOURCE(c->path, c->body)};
    status = submit_files(cx, &how, c->body, file, 1, &job);
    if (status == EXIT_DONE && !c->detach)
        status = follow_job(cx, &job, c->form->quiet);
    submit_end(cx, &how, file, 1, job);
    if (status != EXIT_DONE)
        return status;
    if (!c->detach)
        return report_artifact(cx, job, c);
    if (c->form->json)
        command_print_json(job);
    else
        printf("%s\n", field_text(job, "id"));
    return EXIT_DONE;
}
