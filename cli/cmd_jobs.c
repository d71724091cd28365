/* cmd_jobs.c: spectralctl jobs, show, cancel */
#include "cli/commands.h"
#include "cli/distance_report.h"
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
    struct output_form form;
};

static const struct arg_option jobs_options[] = {
    {"state", ARG_TEXT, offsetof(struct jobs_settings, state),
     "queued|running|cancelling|succeeded|failed|cancelled", "only jobs in this state"},
    {"label", ARG_TEXT, offsetof(struct jobs_settings, label), "KEY:VALUE",
     "only jobs with this label"},
    {"limit", ARG_COUNT, offsetof(struct jobs_settings, limit), "N",
     "at most that many; 0 = all (50)"},
    {"json", ARG_FLAG, offsetof(struct jobs_settings, form.json), NULL, "print JSON"},
    {"csv", ARG_FLAG, offsetof(struct jobs_settings, form.csv), NULL, "print CSV"},
    {"quiet", ARG_FLAG, offsetof(struct jobs_settings, form.quiet), NULL, "print only ids"},
};
static const struct arg_command jobs_args = {
    .name = "jobs",
    .operands = "",
    .summary = "List the newest jobs.",
    .notes = "Examples:\n"
             "  spectralctl jobs --state failed\n"
             "  spectralctl jobs --label run:a --limit 0 --csv\n",
    .options = jobs_options,
    .n_options = ARRAY_LEN(jobs_options),
};

static enum colour state_colour(const char *state)
{
    if (strcmp(state, "succeeded") == 0)
        return COLOUR_GREEN;
    return strcmp(state, "failed") == 0 ? COLOUR_RED : COLOUR_NONE;
}

/* What a job reads: a path, or the id of an upload or model. */
static const char *source_text(const json_t *job)
{
    const json_t *value;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)json_object_get(job, "source"), key, value)
    {
        if (json_is_string(value))
            return json_string_value(value);
    }
    return "";
}

static void print_jobs(const struct context *cx, const json_t *jobs, bool csv)
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
        table_cell(t, COLOUR_NONE, "%lld/%lld", field_count(p, "layers_done"),
                   field_count(p, "layers_total"));
        table_cell(t, COLOUR_NONE, "%s", source_text(job));
        table_cell(t, COLOUR_DIM, "%.*s", csv ? 40 : 19, field_text(job, "created_at"));
        table_cell(t, COLOUR_RED, "%s", field_text(job, "reason"));
    }
    if (csv)
        table_print_csv(t, stdout);
    else if (json_array_size(jobs))
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
    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    jobs = pages_fetch(cx, path, "jobs", limit ? (size_t)limit : SIZE_MAX, &more, &status);
    if (!jobs)
        return status;
    if (s->form.json)
        command_print_json(jobs);
    else if (s->form.quiet)
        pages_print_ids(jobs);
    else
        print_jobs(cx, jobs, s->form.csv);
    if (more && !s->form.quiet)
        fprintf(stderr, "there are more: --limit 0 lists all\n");
    return EXIT_DONE;
}

const struct command command_jobs = {&jobs_args, sizeof(struct jobs_settings), run_jobs};

/* --- show ---------------------------------------------------------------------------------- */

struct show_settings {
    struct output_form form;
    const char *columns;
};

#define SHOW(field) offsetof(struct show_settings, field)
static const struct arg_option show_options[] = {
    {"json", ARG_FLAG, SHOW(form.json), NULL, "print JSON"},
    {"csv", ARG_FLAG, SHOW(form.csv), NULL, "print the layers as CSV"},
    {"quiet", ARG_FLAG, SHOW(form.quiet), NULL, "print only the id of what came of it"},
    {"columns", ARG_TEXT, SHOW(columns), "A,B,...", "columns to print, of those the server has"},
};
static const struct arg_command show_args = {
    .name = "show",
    .operands = "JOB|ANALYSIS|DISTANCES",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show a job, or the analysis or the distances that came of it.",
    .notes =
        "A job is named by its id (job_...), an analysis by its (ana_...), distances by\n"
        "theirs (dst_...). --json prints {\"job\", \"analysis\" or \"distances\", \"layers\"},\n"
        "less what there is not.\n\n"
        "Example:\n"
        "  spectralctl show job_01K... --columns longname,alpha,num_evals\n",
    .options = show_options,
    .n_options = ARRAY_LEN(show_options),
};

static void print_labels(const json_t *job)
{
    const char *key, *lead = "labels  ";
    json_t *value;

    json_object_foreach(json_object_get(job, "labels"), key, value)
    {
        AUTO(freep) char *k = text_clean(key);
        AUTO(freep) char *v = text_clean(json_string_value(value) ? json_string_value(value) : "");

        printf("%s %s=%s", lead, k, v);
        lead = "";
    }
    if (!*lead)
        printf("\n");
}

static void print_job(const json_t *job)
{
    const json_t *p = json_object_get(job, "progress"), *error = json_object_get(job, "error");
    AUTO(freep) char *source = text_clean(source_text(job));
    AUTO(freep) char *detail = text_clean(field_text(error, "detail"));
    AUTO(freep) char *message = text_clean(field_text(p, "message"));

    printf("job      %s\nstate    %s%s%s\nsource   %s\ncreated  %s\nlayers   %lld of %lld done\n",
           field_text(job, "id"), field_text(job, "state"), *field_text(job, "reason") ? ", " : "",
           field_text(job, "reason"), source, field_text(job, "created_at"),
           (long long)json_integer_value(json_object_get(p, "layers_done")),
           (long long)json_integer_value(json_object_get(p, "layers_total")));
    print_labels(job);
    if (*message)
        printf("now      %s\n", message);
    if (*detail)
        printf("error    %s\n", detail);
}

static int run_show(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct show_settings *s = settings;
    const char *id = operands->value[0], *analysis, *distances;
    AUTO(freep) char *escaped = http_escape(id);
    AUTO(freep) char *path = xasprintf("/v1/jobs/%s", escaped);
    bool plain = !s->form.json && !s->form.csv && !s->form.quiet;
    json_auto_t *job = NULL;
    int status = EXIT_DONE;

    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    if (command_id_is(id, "ana_"))
        return report_analysis(cx, escaped, NULL, &s->form, s->columns);
    if (command_id_is(id, "dst_"))
        return distance_report(cx, id, NULL, &s->form, s->columns, DISTANCE_REPORT_LAYERS);
    if (!command_call(cx, "GET", path, &job, &status))
        return status;
    analysis = field_text(json_object_get(job, "result"), "analysis");
    distances = field_text(json_object_get(job, "result"), "distances");
    if (plain)
        print_job(job);
    if (plain && (*analysis || *distances))
        printf("\n");
    if (*analysis)
        return report_analysis(cx, analysis, job, &s->form, s->columns);
    if (*distances)
        return distance_report(cx, distances, job, &s->form, s->columns, DISTANCE_REPORT_LAYERS);
    if (s->form.json) {
        json_auto_t *all = json_pack("{s:O}", "job", job);

        command_print_json(all);
    }
    return EXIT_DONE;
}

const struct command command_show = {&show_args, sizeof(struct show_settings), run_show};

/* --- cancel -------------------------------------------------------------------------------- */

static const struct arg_command cancel_args = {
    .name = "cancel",
    .operands = "JOB",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Stop a job.",
    .notes = "Spectra that are already computed stay in the cache.\n\n"
             "Example:\n  spectralctl cancel job_01K...\n",
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
