/* cmd_decode.c: spectralctl decode MODEL: a sparse-bitmask checkpoint made dense */
#include "cli/body.h"
#include "cli/copy_job.h"

struct decode_settings {
    bool detach;
    struct output_form form;
    const char *out;
    struct arg_list labels;
    struct submit_settings submit;
};

#define AT(field) offsetof(struct decode_settings, field)
static const struct arg_option options[] = {
    {"out", ARG_TEXT, AT(out), "DIR",
     "where the copy goes: a new directory under the server's\noutput root (without: kept for "
     "artifact get)"},
    {"label", ARG_LIST, AT(labels), "KEY=VALUE", "a label of the job; may be repeated"},
    {"detach", ARG_FLAG, AT(detach), NULL, "print the job's id and leave"},
    {"json", ARG_FLAG, AT(form.json), NULL, "print the report as JSON"},
    {"quiet", ARG_FLAG, AT(form.quiet), NULL,
     "print only the artifact's id (the job's with\n--detach), and no progress"},
    SUBMIT_OPTIONS(AT(submit)),
};
#undef AT

static const struct arg_command args = {
    .name = "decode",
    .operands = "PATH",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Make a sparse-bitmask model dense.",
    .notes = "PATH is taken as by analyze: where the server can see it, else uploaded. Made by\n"
             "prune --format sparse-bitmask, or by compressed-tensors 0.9.0 to 0.14.0.1.\n\n"
             "Example:\n"
             "  spectralctl decode manlm-sparse --out manlm-dense\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

static json_t *body_of(const struct decode_settings *s)
{
    json_t *body = json_pack("{s:s}", "kind", "decode");

    if (s->out)
        (void)json_object_set_new(body, "params", json_pack("{s:{s:s}}", "output", "path", s->out));
    if (body_labels(body, &s->labels))
        return body;
    json_decref(body);
    return NULL;
}

static void print_report(const json_t *report)
{
    printf("%zu tensors were made dense\n", json_array_size(json_object_get(report, "tensors")));
    copy_job_place(report);
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct decode_settings *s = settings;
    json_auto_t *body = NULL;

    if (!output_form_valid(&s->form) || !submit_valid(&s->submit))
        return EXIT_USAGE;
    body = body_of(s);
    if (!body)
        return EXIT_USAGE;
    const struct copy_job c = {operands->value[0], body,      &s->submit,
                               &s->form,           s->detach, print_report};

    return copy_job_run(cx, &c);
}

const struct command command_decode = {&args, sizeof(struct decode_settings), run};
