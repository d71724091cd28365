/* cmd_analyze.c: spectralctl analyze PATH */
#include "cli/commands.h"

#include <stdlib.h>
#include <string.h>

struct analyze_settings {
    bool wait, detach, json, compat, integers;
    const char *precision, *include, *exclude;
    struct arg_list labels, layers, types;
    int64_t min_evals, max_evals, max_n;
};

#define AT(field) offsetof(struct analyze_settings, field)
static const struct arg_option options[] = {
    {"wait", ARG_FLAG, AT(wait), NULL, "wait for the result and print it (the default)"},
    {"detach", ARG_FLAG, AT(detach), NULL, "print the job's id and leave"},
    {"json", ARG_FLAG, AT(json), NULL, "print analysis and layers as one JSON object"},
    {"precision", ARG_TEXT, AT(precision), "P", "double (the default) or single"},
    {"compat", ARG_FLAG, AT(compat), NULL,
     "WeightWatcher 0.7.5.5's values where the default differs"},
    {"label", ARG_LIST, AT(labels), "KEY=VALUE", "a label of the job; may be repeated"},
    {"layers", ARG_LIST, AT(layers), "ID|NAME", "only this layer; may be repeated"},
    {"types", ARG_LIST, AT(types), "TYPE",
     "only dense, embedding, conv1d or conv2d; may be repeated"},
    {"include", ARG_TEXT, AT(include), "REGEX", "only layers whose name matches"},
    {"exclude", ARG_TEXT, AT(exclude), "REGEX", "no layers whose name matches"},
    {"min-evals", ARG_COUNT, AT(min_evals), "N", "skip layers with fewer eigenvalues (10)"},
    {"max-evals", ARG_COUNT, AT(max_evals), "N", "skip layers with more; 0 = no limit (0)"},
    {"max-N", ARG_COUNT, AT(max_n), "N", "skip layers with a longer side; 0 = no limit (0)"},
    {"integers", ARG_FLAG, AT(integers), NULL, "take integer tensors as numbers"},
};

static const struct arg_command args = {
    .name = "analyze",
    .operands = "PATH",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Analyse a safetensors file or a Hugging Face model directory.",
    .notes =
        "PATH must lie under one of the server's model roots. A path that exists here is made\n"
        "absolute; any other is taken relative to a model root.\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

static json_t *params_of(const struct analyze_settings *s)
{
    json_t *p = json_object(), *a;

    if (s->precision)
        json_object_set_new(p, "precision", json_string(s->precision));
    if (s->compat)
        json_object_set_new(p, "compat", json_string("weightwatcher-0.7.5.5"));
    if (s->integers)
        json_object_set_new(p, "integers", json_true());
    if (s->include)
        json_object_set_new(p, "include", json_string(s->include));
    if (s->exclude)
        json_object_set_new(p, "exclude", json_string(s->exclude));
    if (s->min_evals > 0)
        json_object_set_new(p, "min_evals", json_integer(s->min_evals));
    if (s->max_evals > 0)
        json_object_set_new(p, "max_evals", json_integer(s->max_evals));
    if (s->max_n > 0)
        json_object_set_new(p, "max_N", json_integer(s->max_n));
    if (s->types.count) {
        a = json_array();
        for (size_t i = 0; i < s->types.count; i++)
            json_array_append_new(a, json_string(s->types.value[i]));
        json_object_set_new(p, "types", a);
    }
    if (s->layers.count) {
        a = json_array();
        for (size_t i = 0; i < s->layers.count; i++) {
            const char *v = s->layers.value[i];
            bool id = *v && strlen(v) < 10 && v[strspn(v, "0123456789")] == '\0';

            json_array_append_new(a, id ? json_integer(atoll(v)) : json_string(v));
        }
        json_object_set_new(p, "layers", a);
    }
    return p;
}

static json_t *labels_of(const struct analyze_settings *s, struct err *err)
{
    json_t *o = json_object();

    for (size_t i = 0; i < s->labels.count; i++) {
        const char *eq = strchr(s->labels.value[i], '=');

        if (!eq || eq == s->labels.value[i]) {
            err_set(err, ERR_INVALID, "--label wants KEY=VALUE, not \"%s\"", s->labels.value[i]);
            json_decref(o);
            return NULL;
        }
        AUTO(freep)
        char *key = xasprintf("%.*s", (int)(eq - s->labels.value[i]), s->labels.value[i]);
        json_object_set_new(o, key, json_string(eq + 1));
    }
    return o;
}

static int submit(struct context *cx, const struct analyze_settings *s, const char *path,
                  json_t **job)
{
    AUTO(freep) char *real = realpath(path, NULL);
    struct http_reply reply = HTTP_REPLY_INIT;
    struct err err = {0};
    json_t *labels = labels_of(s, &err), *body;
    struct http_request rq = {.method = "POST", .path = "/v1/jobs", .wait_s = s->detach ? 0 : 1};
    int r;

    if (!labels) {
        fprintf(stderr, "spectralctl: %s\n", err.text);
        return EXIT_USAGE;
    }
    body = json_pack("{s:s,s:{s:s},s:o,s:o}", "kind", "analyze", "source", "path",
                     real ? real : path, "params", params_of(s), "labels", labels);
    if (!body) {
        fprintf(stderr, "spectralctl: arguments must be UTF-8\n");
        return EXIT_USAGE;
    }
    rq.body = body;
    r = http_call(cx->http, &rq, &reply, &err);
    json_decref(body);
    if (r < 0)
        return command_failed(cx, &err);
    *job = reply.body;
    reply.body = NULL;
    http_reply_done(&reply);
    return *job ? EXIT_DONE : EXIT_INTERRUPTED;
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct analyze_settings *s = settings;
    json_t *job = NULL;
    int status = submit(cx, s, operands->value[0], &job);

    if (status != EXIT_DONE)
        return status;
    if (s->detach) {
        if (s->json)
            json_dumpf(job, stdout, JSON_INDENT(1));
        printf("%s\n", s->json ? "" : json_string_value(json_object_get(job, "id")));
        json_decref(job);
        return EXIT_DONE;
    }
    status = follow_job(cx, &job);
    if (status == EXIT_DONE) {
        const json_t *result = json_object_get(job, "result");

        status = report_analysis(cx, json_string_value(json_object_get(result, "analysis")), job,
                                 s->json);
    }
    json_decref(job);
    return status;
}

const struct command command_analyze = {&args, sizeof(struct analyze_settings), run};
