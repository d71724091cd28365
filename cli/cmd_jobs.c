/* cmd_jobs.c: spectralctl jobs, show, cancel, rm */
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/pages.h"
#include "cli/table.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

#define JOBS_SHOWN 50

/* --- jobs ---------------------------------------------------------------------------------- */

struct jobs_settings {
    const char *state, *label;
    struct arg_count limit;
    bool json;
};

static const struct arg_option jobs_options[] = {
    {"state", ARG_TEXT, offsetof(struct jobs_settings, state), "STATE",
     "queued, running, cancelling, succeeded, failed or cancelled"},
    {"label", ARG_TEXT, offsetof(struct jobs_settings, label), "KEY:VALUE",
     "only jobs with this label"},
    {"limit", ARG_COUNT, offsetof(struct jobs_settings, limit), "N",
     "at most that many; 0 = all (50)"},
    {"json", ARG_FLAG, offsetof(struct jobs_settings, json), NULL, "print JSON"},
};
static const struct arg_command jobs_args = {
    .name = "jobs",
    .operands = "",
    .summary = "List the newest jobs.",
    .notes = "",
    .options = jobs_options,
    .n_options = ARRAY_LEN(jobs_options),
};

static enum colour state_colour(const char *state)
{
    if (strcmp(state, "succeeded") == 0)
        return COLOUR_GREEN;
    return strcmp(state, "failed") == 0 ? COLOUR_RED : COLOUR_NONE;
}

static void print_jobs(const struct context *cx, const json_t *jobs)
{
    static const struct table_column columns[] = {
        {"job", false, false, 0},   {"state", false, false, 0},   {"layers", true, false, 1},
        {"source", false, true, 0}, {"created", false, false, 2}, {"reason", false, false, 1},
    };
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *job;
    size_t i;

    json_array_foreach(jobs, i, job)
    {
        const json_t *p = json_object_get(job, "progress");
        const char *state = field_text(job, "state");

        table_cell(t, COLOUR_NONE, "%s", field_text(job, "id"));
        table_cell(t, state_colour(state), "%s", state);
        table_cell(t, COLOUR_NONE, "%lld/%lld",
                   (long long)json_integer_value(json_object_get(p, "layers_done")),
                   (long long)json_integer_value(json_object_get(p, "layers_total")));
        table_cell(t, COLOUR_NONE, "%s", field_text(json_object_get(job, "source"), "path"));
        table_cell(t, COLOUR_DIM, "%.19s", field_text(job, "created_at"));
        table_cell(t, COLOUR_RED, "%s", field_text(job, "reason"));
    }
    if (json_array_size(jobs))
        table_print(t, &cx->out);
    else
        printf("no jobs\n");
}

static int run_jobs(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct jobs_settings *s = settings;
    AUTO(freep) char *state = http_escape(s->state ? s->state : "");
    AUTO(freep) char *label = http_escape(s->label ? s->label : "");
    AUTO(freep)
    char *path = xasprintf("/v1/jobs?%s%s&%s%s", *state ? "state=" : "", state,
                           *label ? "label=" : "", label);
    int64_t limit = s->limit.given ? s->limit.value : JOBS_SHOWN;
    json_auto_t *jobs = NULL;
    int status = EXIT_DONE;
    bool more = false;

    (void)operands;
    jobs = pages_fetch(cx, path, "jobs", limit ? (size_t)limit : SIZE_MAX, &more, &status);
    if (!jobs)
        return status;
    if (s->json)
        command_print_json(jobs);
    else
        print_jobs(cx, jobs);
    if (more)
        fprintf(stderr, "there are more: --limit 0 lists all\n");
    return EXIT_DONE;
}

const struct command command_jobs = {&jobs_args, sizeof(struct jobs_settings), run_jobs};

/* --- show ---------------------------------------------------------------------------------- */

struct show_settings {
    bool json;
};

static const struct arg_option show_options[] = {
    {"json", ARG_FLAG, offsetof(struct show_settings, json), NULL, "print JSON"},
};
static const struct arg_command show_args = {
    .name = "show",
    .operands = "ID",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show a job, or the analysis that came of it.",
    .notes = "ID is a job (job_...) or an analysis (ana_...).\n"
             "--json prints {\"job\", \"analysis\", \"layers\"}, less what there is not.\n",
    .options = show_options,
    .n_options = ARRAY_LEN(show_options),
};

static void print_job(const json_t *job)
{
    const json_t *p = json_object_get(job, "progress"), *error = json_object_get(job, "error");
    AUTO(freep) char *source = text_clean(field_text(json_object_get(job, "source"), "path"));
    AUTO(freep) char *detail = text_clean(field_text(error, "detail"));
    AUTO(freep) char *message = text_clean(field_text(p, "message"));

    printf("job      %s\nstate    %s%s%s\nsource   %s\ncreated  %s\nlayers   %lld of %lld done\n",
           field_text(job, "id"), field_text(job, "state"), *field_text(job, "reason") ? ", " : "",
           field_text(job, "reason"), source, field_text(job, "created_at"),
           (long long)json_integer_value(json_object_get(p, "layers_done")),
           (long long)json_integer_value(json_object_get(p, "layers_total")));
    if (*message)
        printf("now      %s\n", message);
    if (*detail)
        printf("error    %s\n", detail);
}

static int run_show(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct show_settings *s = settings;
    const char *id = operands->value[0], *analysis;
    AUTO(freep) char *escaped = http_escape(id);
    AUTO(freep) char *path = xasprintf("/v1/jobs/%s", escaped);
    json_t *job = NULL;
    int status = EXIT_DONE;

    if (strncmp(id, "ana_", 4) == 0)
        return report_analysis(cx, escaped, NULL, s->json);
    if (!command_call(cx, "GET", path, &job, &status))
        return status;
    analysis = field_text(json_object_get(job, "result"), "analysis");
    if (!s->json)
        print_job(job);
    if (*analysis) {
        if (!s->json)
            printf("\n");
        status = report_analysis(cx, analysis, job, s->json);
    } else if (s->json) {
        json_auto_t *all = json_pack("{s:O}", "job", job);

        command_print_json(all);
    }
    json_decref(job);
    return status;
}

const struct command command_show = {&show_args, sizeof(struct show_settings), run_show};

/* --- cancel, rm ---------------------------------------------------------------------------- */

static const struct arg_command cancel_args = {
    .name = "cancel",
    .operands = "JOB",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Stop a job.",
    .notes = "Spectra that are already computed stay in the cache.\n",
};

static int run_cancel(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    AUTO(freep) char *id = http_escape(operands->value[0]);
    AUTO(freep) char *path = xasprintf("/v1/jobs/%s:cancel", id);
    json_t *job = NULL;
    int status = EXIT_DONE;

    (void)settings;
    if (!command_call(cx, "POST", path, &job, &status))
        return status;
    printf("%s %s\n", field_text(job, "id"), field_text(job, "state"));
    json_decref(job);
    return EXIT_DONE;
}

const struct command command_cancel = {&cancel_args, 0, run_cancel};

static const struct arg_command rm_args = {
    .name = "rm",
    .operands = "JOB",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Delete the record of a finished job.",
    .notes = "Its analysis and the cache stay.\n",
};

static int run_rm(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    AUTO(freep) char *id = http_escape(operands->value[0]);
    AUTO(freep) char *path = xasprintf("/v1/jobs/%s", id);
    int status = EXIT_DONE;

    (void)settings;
    return command_call(cx, "DELETE", path, NULL, &status) ? EXIT_DONE : status;
}

const struct command command_rm = {&rm_args, 0, run_rm};
