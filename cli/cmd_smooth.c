/* cmd_smooth.c: spectralctl smooth MODEL: a copy of lower rank, or without its largest singular
 * values */
#include "cli/body.h"
#include "cli/copy_job.h"
#include "cli/field.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

#define COMPAT "weightwatcher-0.7.5.5"

struct smooth_settings {
    bool detach, compat;
    struct output_form form;
    const char *out, *method, *percent, *k, *include, *exclude;
    struct arg_list labels, layers, types;
    struct submit_settings submit;
};

#define AT(field) offsetof(struct smooth_settings, field)
static const struct arg_option options[] = {
    {"method", ARG_TEXT, AT(method), "svd|detX|alpha_min|rmt|sharpness",
     "how many singular values stay, or with sharpness go\n(detX)"},
    {"percent", ARG_TEXT, AT(percent), "SHARE",
     "with svd: this share stays; below 0, it is removed, the\nlargest first (0.8)"},
    {"k", ARG_TEXT, AT(k), "NUMBER", "with svd, instead: so many stay; below 0, are removed"},
    {"layers", ARG_LIST, AT(layers), "ID|NAME", "only this layer; may be repeated"},
    {"types", ARG_LIST, AT(types), "TYPE",
     "only layers of this type: dense, embedding, conv1d or\nconv2d; may be repeated"},
    {"include", ARG_TEXT, AT(include), "REGEX", "only layers whose name matches"},
    {"exclude", ARG_TEXT, AT(exclude), "REGEX", "no layers whose name matches"},
    {"compat", ARG_FLAG, AT(compat), NULL,
     "numbers as WeightWatcher 0.7.5.5 has them, where the\ndefault differs"},
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
    .name = "smooth",
    .operands = "PATH",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Write a copy of a model of lower rank, or without its largest singular values.",
    .notes = "PATH is taken as by analyze: where the server can see it, else uploaded. Embeddings\n"
             "stay unless --layers or --types name them; norms and biases always do.\n"
             "\n"
             "Example:\n"
             "  spectralctl smooth ./llama-7b --method detX --include mlp --out llama-7b-smooth\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

/* --- the request ----------------------------------------------------------------------------- */

/* A whole number is sent as one. */
static bool put_k(json_t *params, const char *k)
{
    char *end = NULL;
    long long n = k ? strtoll(k, &end, 10) : 0;

    if (!k)
        return true;
    if (!*k || *end)
        return command_misused("--k: expected a whole number") == EXIT_DONE;
    (void)json_object_set_new(params, "k", json_integer(n));
    return true;
}

static json_t *body_of(const struct smooth_settings *s)
{
    json_t *params = json_pack("{s:s}", "method", s->method ? s->method : "detX");
    json_t *body = json_pack("{s:s,s:o}", "kind", "smooth", "params", params);

    body_text(params, "include", s->include);
    body_text(params, "exclude", s->exclude);
    body_list(params, "types", &s->types);
    body_layers(params, "layers", &s->layers);
    if (s->compat)
        (void)json_object_set_new(params, "compat", json_string(COMPAT));
    if (s->out)
        (void)json_object_set_new(params, "output", json_pack("{s:s}", "path", s->out));
    if (body_number(params, "percent", "percent", s->percent) && put_k(params, s->k) &&
        body_labels(body, &s->labels))
        return body;
    json_decref(body);
    return NULL;
}

/* --- the report ------------------------------------------------------------------------------ */

static void print_layer(const json_t *layer)
{
    AUTO(freep) char *name = text_clean(field_text(layer, "name"));
    AUTO(freep) char *reason = text_clean(field_text(layer, "reason"));

    if (*reason)
        printf("%-44s as it was: %s\n", name, reason);
    else
        printf("%-44s %5lld of %5lld singular values, changed by %.3g\n", name,
               (long long)json_integer_value(json_object_get(layer, "kept")),
               (long long)json_integer_value(json_object_get(layer, "rank_before")),
               json_number_value(json_object_get(layer, "relative_error_stored")));
}

static void print_report(const json_t *report)
{
    const json_t *layers = json_object_get(report, "layers"), *layer;
    size_t i;

    json_array_foreach(layers, i, layer)
    {
        if (strcmp(field_text(layer, "reason"), "filtered") != 0)
            print_layer(layer);
    }
    printf("%lld layers were smoothed\n",
           (long long)json_integer_value(json_object_get(report, "n_smoothed")));
    copy_job_place(report);
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct smooth_settings *s = settings;
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

const struct command command_smooth = {&args, sizeof(struct smooth_settings), run};
