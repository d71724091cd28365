/* cmd_distances.c: spectralctl distances MODEL BASE: how far the weights of two models are apart,
 * layer by layer */
#include "cli/body.h"
#include "cli/commands.h"
#include "cli/distance_report.h"
#include "cli/field.h"
#include "cli/submit.h"

struct distances_settings {
    bool detach, no_cka;
    struct output_form form;
    const char *include, *exclude;
    struct arg_count top;
    struct arg_list labels, layers, types;
    struct submit_settings submit;
};

#define AT(field) offsetof(struct distances_settings, field)
static const struct arg_option options[] = {
    {"no-cka", ARG_FLAG, AT(no_cka), NULL,
     "leave out the similarity CKA, which costs products of\nmatrices; the rest costs reading "
     "them"},
    {"layers", ARG_LIST, AT(layers), "ID|NAME", "only this layer; may be repeated"},
    {"types", ARG_LIST, AT(types), "TYPE",
     "only layers of this type: dense, embedding, conv1d or\nconv2d; may be repeated"},
    {"include", ARG_TEXT, AT(include), "REGEX", "only layers whose name matches"},
    {"exclude", ARG_TEXT, AT(exclude), "REGEX", "no layers whose name matches"},
    {"top", ARG_COUNT, AT(top), "N", "layers in the table, the farthest first; 0 = all (20)"},
    {"label", ARG_LIST, AT(labels), "KEY=VALUE", "a label of the job; may be repeated"},
    {"detach", ARG_FLAG, AT(detach), NULL, "print the job's id and leave"},
    {"json", ARG_FLAG, AT(form.json), NULL, "print job, totals and layers as one JSON object"},
    {"csv", ARG_FLAG, AT(form.csv), NULL, "print the layers as CSV"},
    {"quiet", ARG_FLAG, AT(form.quiet), NULL,
     "print only the id of the distances (the job's with\n--detach), and no progress"},
    SUBMIT_OPTIONS(AT(submit)),
};
#undef AT

static const struct arg_command args = {
    .name = "distances",
    .operands = "PATH BASE",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Measure how far the weights of two models are apart, layer by layer.",
    .notes = "Both are taken as by analyze: where the server can see them, else uploaded. Tensors\n"
             "are matched by their names; relative is to the norm in BASE. What was measured is\n"
             "remembered by content, and shown by: spectralctl compare --distances\n"
             "\n"
             "Examples:\n"
             "  spectralctl distances ./step-2000 ./step-1000\n"
             "  spectralctl distances ./llama-7b-chat ./llama-7b --include mlp --csv > mlp.csv\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

static json_t *body_of(const struct distances_settings *s)
{
    json_t *params = json_object();
    json_t *body = json_pack("{s:s,s:o}", "kind", "distances", "params", params);

    body_text(params, "include", s->include);
    body_text(params, "exclude", s->exclude);
    body_list(params, "types", &s->types);
    body_layers(params, "layers", &s->layers);
    if (s->no_cka)
        (void)json_object_set_new(params, "cka", json_false());
    if (body_labels(body, &s->labels))
        return body;
    json_decref(body);
    return NULL;
}

/* --- the command ----------------------------------------------------------------------------- */

static size_t layers_shown(const struct distances_settings *s)
{
    if (!s->top.given)
        return DISTANCE_REPORT_LAYERS;
    return s->top.value ? (size_t)s->top.value : SIZE_MAX;
}

static int print_result(struct context *cx, const json_t *job, const struct distances_settings *s)
{
    const char *id = field_text(json_object_get(job, "result"), "distances");

    if (s->detach && s->form.json)
        command_print_json(job);
    else if (s->detach)
        printf("%s\n", field_text(job, "id"));
    else
        return distance_report(cx, id, job, &s->form, NULL, layers_shown(s));
    return EXIT_DONE;
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct distances_settings *s = settings;
    struct submit_settings how = s->submit;
    json_auto_t *body = NULL, *job = NULL;
    int status;

    if (!output_form_valid(&s->form) || !submit_valid(&how))
        return EXIT_USAGE;
    body = body_of(s);
    if (!body)
        return EXIT_USAGE;
    how.quiet = s->form.quiet;
    how.keep_upload |= s->detach;
    struct submit_file file[] = {SUBMIT_SOURCE(operands->value[0], body),
                                 {.path = operands->value[1],
                                  .in = json_object_get(body, "params"),
                                  .key = "base",
                                  .pointer = "#/params/base"}};
    status = submit_files(cx, &how, body, file, ARRAY_LEN(file), &job);
    if (status == EXIT_DONE && !s->detach)
        status = follow_job(cx, &job, s->form.quiet);
    submit_end(cx, &how, file, ARRAY_LEN(file), job);
    return status == EXIT_DONE ? print_result(cx, job, s) : status;
}

const struct command command_distances = {&args, sizeof(struct distances_settings), run};
